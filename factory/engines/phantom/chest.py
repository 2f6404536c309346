"""Organs of the chest: five lung lobes, pleural effusion, airways, oesophagus, heart and thyroid."""

import numpy as np
from jaxtyping import Bool, Float32

from factory.engines.phantom.body import Torso
from factory.engines.phantom.canvas import SOFT, Box, Canvas
from factory.engines.phantom.curves import mirrored
from factory.engines.phantom.population import Build
from factory.engines.phantom.shapes import Number, Profile, ellipsoid, smooth_max, smooth_min
from manifests.anatomy import structure

__all__ = ["LOBES", "paint_airways", "paint_effusions", "paint_heart", "paint_lungs"]

Volume = Float32[np.ndarray, "z y x"]
LOBES = (
    "lung_upper_lobe_left", "lung_lower_lobe_left", "lung_upper_lobe_right", "lung_middle_lobe_right",
    "lung_lower_lobe_right",
)  # fmt: skip

# Half breadth of the mediastinum at its front (behind the sternum), middle and back, by height.
_FRONT_WIDTH = Profile({50: 34, 90: 30, 130: 11, 165: 4, 205: 5, 235: 22, 262: 34})
_MIDDLE_WIDTH = Profile({50: 34, 120: 33, 170: 34, 200: 32, 230: 30, 262: 24})
_BACK_WIDTH = Profile({50: 26, 120: 24, 200: 22, 262: 22})


def paint_lungs(canvas: Canvas, torso: Torso) -> None:
    """Paint the lobes: the chest above the diaphragm, outside mediastinum and heart, cut by the fissures.

    The oblique fissures run from the back at T4 down to the front of the diaphragm, the horizontal
    one of the right lung at the height of the fourth rib.
    """
    box = canvas.box((-150, -130, -16), (150, 90, 290))
    if box is None:
        return
    build = canvas.space.build
    shift, tilt = build.moved("lung_fissure"), 0.88 + 0.10 * build.lean["fissure_tilt"]

    def lung(box: Box) -> Volume:
        x, y, z = box.xyz
        room = np.maximum(box.at(torso.cage) + 0.2, 0.2 - box.at(torso.chest))
        room = smooth_max(room, -_mediastinum(build, (x, y, z)), 10.0)
        return smooth_max(room, 2.5 + canvas.levels_mm.get("heart", 0.0) - _heart(canvas, (x, y, z)), 5.0)

    def oblique(box: Box) -> Volume:
        x, y, z = box.xyz
        right = np.clip(0.5 - x / 12, 0, 1)
        height = 160 + shift[2] + right * (10 + 0.6 * shift[1]) + tilt * y + 0.05 * np.minimum(x, 0)
        return np.asarray(z - height + 2.5 * box.at(canvas.space.grain), np.float32)

    def horizontal(box: Box) -> Volume:
        _, y, z = box.xyz
        return np.asarray(
            z - (177 + 0.6 * shift[0] + 0.6 * shift[2] - 0.12 * (y + 60)) + 2 * box.at(canvas.space.grain), np.float32
        )

    inside = (box.evaluate(lung) < 0) & _soft(box)
    left = box.at(canvas.space.coordinates[0]) > 0
    ahead, above = box.evaluate(oblique) > 0, box.evaluate(horizontal) > 0
    choice = {
        "lung_upper_lobe_left": left & ahead,
        "lung_lower_lobe_left": left & ~ahead,
        "lung_upper_lobe_right": ~left & ahead & above,
        "lung_middle_lobe_right": ~left & ahead & ~above,
        "lung_lower_lobe_right": ~left & ~ahead,
    }
    for name, part in choice.items():
        if name not in build.absent:
            box.labels[inside & part] = structure(name).id


def paint_effusions(canvas: Canvas, torso: Torso) -> None:
    """Paint pleural effusions: crescents that lie on the back of the pleural cavity, thickest at its floor."""

    def crescent(box: Box) -> Volume:
        _, y, z = box.xyz
        lowest = np.clip((y + 30) / 85, 0, 1) * np.clip((250 - z) / 190, 0.25, 1)
        return np.asarray(0.5 * (80 * (1 - lowest) - np.minimum(box.at(torso.cage), 0)), np.float32)

    for side, sign in (("left", 1.0), ("right", -1.0)):
        name, low = f"pleural_effusion_{side}", -16.0
        if canvas.space.build.volumes_ml.get(name, 0.0) > 0:
            ends = sorted((sign * 8.0, sign * 150.0))
            box = canvas.box((ends[0], -60, low), (ends[1], 95, 262))
            lobes = [lobe for lobe in LOBES if lobe.endswith(side)]
            canvas.fill(name, box, crescent, lobes)


def _soft(box: Box) -> Bool[np.ndarray, "z y x"]:
    return np.isin(box.labels, [structure(name).id for name in SOFT])


def _mediastinum(build: Build, xyz: tuple[Volume, Volume, Volume]) -> Volume:
    """Distance to the sides of the mediastinum, which is broader with much fat."""
    x, y, z = xyz
    wide = np.float32(1 + 0.10 * build.lean["mediastinum"] + np.clip(0.008 * (build.person.bmi - 25), -0.05, 0.12))
    front, middle, back = _FRONT_WIDTH(z) * wide**2, _MIDDLE_WIDTH(z) * wide, _BACK_WIDTH(z)
    ahead = np.clip((-y - 40) / 45, 0, 1)
    behind = np.clip((y + 5) / 30, 0, 1)
    half = middle + (front - middle) * ahead + (back - middle) * behind
    return np.asarray(np.abs(x - 3 - 4 * build.lean["mediastinum_side"]) - half, np.float32)


def _heart(canvas: Canvas, xyz: tuple[Volume, Volume, Volume]) -> Volume:
    """Ventricles as one egg pointing to the left front, with both atria and the outflow tract.

    Steep and slender hearts, lying and round ones, large and small atria.
    """
    lean = canvas.space.build.lean
    turn, steep, form = np.radians(9 * lean["heart_turn"]), 0.14 * lean["heart_steep"], 0.07 * lean["heart_form"]
    axis = np.array([np.cos(0.72 + turn) * 0.86, -np.sin(0.72 + turn) * 0.86, -0.50 - steep])
    axis /= np.linalg.norm(axis)
    side = np.cross(axis, [0, 0, 1])
    side /= np.linalg.norm(side)
    frame = np.stack([axis, side, np.cross(axis, side)])
    place = canvas.space.build.moved("heart") * (1, 0.5, 0.5)
    atria = 1 + 0.09 * lean["atria"]

    def part(
        centre: tuple[Number, Number, Number], axes: tuple[Number, Number, Number], turned: bool = False
    ) -> Volume:
        x, y, z = np.array(centre) + place
        return ellipsoid(xyz, (x, y, z), axes, frame if turned else None)

    main = part((24, -64, 112), (60 * (1 + form), 44 * (1 - 0.6 * form), 42 * (1 - 0.5 * form)), turned=True)
    right = part((-32, -48, 120), (27 * atria, 33 * atria, 37 * atria))
    left = part((6, -22, 140), (38 * atria, 22 * atria, 24 * atria))
    outflow = part((14, -70, 158), (20, 20, 30))
    return smooth_min(smooth_min(main, right, 18.0), smooth_min(left, outflow, 14.0), 16.0)


def paint_heart(canvas: Canvas, torso: Torso) -> None:
    """Paint the heart on the diaphragm, the pulmonary trunk and the left atrial appendage."""

    def shape(box: Box) -> Volume:
        return np.asarray(_heart(canvas, box.xyz) + box.at(canvas.space.grain))

    def inside(box: Box) -> Bool[np.ndarray, "z y x"]:
        return (box.at(torso.chest) > 0.5) & (box.at(torso.cage) < -6.0)

    canvas.fill("heart", canvas.box((-92, -128, 30), (115, 22, 212)), shape, SOFT, inside)
    space = canvas.space
    trunk = space.tube([(14, -72, 160, 13), (18, -58, 178, 13.5), (20, -38, 188, 13), (22, -22, 188, 11)])
    right = space.tube([(20, -36, 187, 11), (0, -24, 184, 10), (-26, -18, 180, 9.5), (-46, -12, 174, 7)])
    left = space.tube([(20, -34, 188, 11), (34, -12, 190, 10), (50, 4, 182, 8)])
    canvas.draw("heart", [trunk, right, left], (*SOFT, *LOBES))
    appendage = space.tube([(34, -34, 148, 9), (42, -48, 160, 10), (38, -62, 166, 6)])
    canvas.draw("atrial_appendage_left", [appendage], (*SOFT, *LOBES, "heart"))
    over = (*SOFT, *LOBES)
    veins = [
        [(-22, -20, 142, 8), (-42, -16, 150, 7), (-66, -22, 164, 5)], [(-22, -16, 134, 8), (-44, 0, 128, 7), (-62, 10, 118, 5)],
        [(30, -20, 146, 8), (48, -18, 158, 7), (60, -28, 170, 5)], [(30, -14, 136, 8), (48, 4, 130, 7), (62, 14, 120, 5)],
    ]  # fmt: skip
    root = [(-30, -12, 139, 6), (6, -6, 141, 8), (38, -12, 141, 6)]
    canvas.draw("pulmonary_vein", [space.tube(rows) for rows in (root, *veins)], (*over, "heart"))


def paint_airways(canvas: Canvas) -> None:
    """Paint oesophagus, trachea, main and lobar bronchi, and the thyroid before them."""
    space, build = canvas.space, canvas.space.build
    over = (*SOFT, *LOBES, "heart")
    thicker = build.radius("esophagus") * (0.84 if build.female else 0.92)
    gullet = [(0, -12, 402, 7), (0, -24, 340, 7), (3, -20, 305, 7.5), (5, -6, 272, 7.5), (5, 4, 236, 7.5),
              (-1, 8, 205, 7.5), (0, 8, 170, 7.5), (6, 2, 130, 8), (14, -8, 98, 8.5), (22, -18, 76, 9),
              (32, -20, 60, 9.5)]  # fmt: skip
    canvas.draw("esophagus", [space.tube(gullet, thicker, squash_zyx=(1, 1.15, 0.85))], over)
    tilt = build.moved("trachea")
    wide = (0.80 if build.female else 0.92) * build.radius("trachea")
    airway = (*over, "esophagus")
    pipe = [(0, -40, 402, 9), (0, -46, 340, 9), (1, -38, 305, 9.5), (1, -24, 272, 9.5), (-2, -12, 236, 9.5),
            (-4 + tilt[0], -7, 208, 9.5), (-4, -6, 196, 8.5)]  # fmt: skip
    size = (build.volumes_ml["thyroid_gland"] / 20) ** 0.5
    thyroid = [
        space.tube(mirrored([(15, -50, 284, 6), (20, -50, 300, 10), (19, -44, 322, 6)], s), size) for s in (-1.0, 1.0)
    ]
    isthmus = space.tube([(-14, -56, 294, 5), (0, -59, 294, 4.5), (14, -56, 294, 5)])
    canvas.draw("thyroid_gland", [*thyroid, isthmus], SOFT)
    canvas.draw("trachea", [space.tube(pipe, wide)], airway)
    right = [(-5, -6, 197, 7.5), (-22, -3, 183, 7), (-36, 0, 172, 6.5), (-44, 2, 156, 5.5), (-50, 10, 138, 4.5)]
    upper = [(-26, -2, 180, 5.5), (-46, 0, 184, 4.5), (-60, -4, 194, 3.5)]
    middle = [(-43, 2, 158, 4.5), (-56, -18, 148, 3.5)]
    left = [(-3, -6, 197, 7), (18, -2, 184, 6.5), (38, 6, 174, 6), (48, 12, 160, 5), (54, 20, 142, 4.5)]
    lingula = [(42, 8, 172, 5), (58, -2, 178, 4), (68, -16, 180, 3)]
    canvas.draw("bronchus_right", [space.tube(rows, wide) for rows in (right, upper, middle)], airway)
    canvas.draw("bronchus_left", [space.tube(rows, wide) for rows in (left, lingula)], airway)
