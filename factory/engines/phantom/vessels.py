"""Great vessels: aorta and iliac arteries, arch branches, caval and iliac veins, portal and splenic vein."""

import numpy as np
from jaxtyping import Float64

from factory.engines.phantom.canvas import SOFT, Canvas
from factory.engines.phantom.chest import LOBES
from factory.engines.phantom.curves import Tube, mirrored
from factory.engines.phantom.pancreas import head_shift, pancreas_rows
from factory.engines.phantom.population import Build
from factory.engines.phantom.shapes import Number

Rows = Float64[np.ndarray, "n 4"]

__all__ = ["aorta_rows", "paint_arteries", "paint_veins", "portal_stem"]

_AORTA = [(4, -54, 158, 15), (-10, -60, 176, 16), (-18, -58, 200, 15.5), (-14, -46, 222, 15), (0, -30, 235, 14),
          (13, -10, 232, 13), (22, 8, 216, 12.7), (25, 16, 190, 12.5), (24, 16, 150, 12), (20, 9, 110, 11.6),
          (14, -3, 70, 11), (9, -10, 30, 10.2), (7, -12.5, 0, 9.6), (6, -18, -50, 8.8), (4, -20, -98, 8.4),
          (3, -21.5, -108, 8.2)]  # fmt: skip
_ILIAC = [(3, -21.5, -106, 6.2), (16, -21, -124, 5.6), (30, -17, -148, 5.4), (46, -12, -172, 5.2), (58, -24, -206, 5.2),
          (72, -48, -244, 5), (80, -55, -276, 5), (84, -52, -310, 4.8), (86, -40, -400, 4.5)]  # fmt: skip
_ILIAC_INNER = [(42, -12, -166, 4.2), (30, 0, -182, 4.0), (31, 26, -204, 3.8), (36, 42, -224, 3.0)]
_CAVA = [(-16, -13, -124, 11), (-18, -17, -98, 11), (-19, -20, -50, 11.2), (-20, -20, 0, 11.5), (-24, -19, 40, 12),
         (-26, -22, 74, 13), (-28, -32, 98, 13.5), (-30, -40, 112, 13)]  # fmt: skip
_ILIAC_VEIN = {
    1.0: [(-16, -14, -124, 8), (4, -5, -137, 6.6), (28, 3, -158, 6.6), (42, 4, -180, 6.6), (52, -14, -212, 6.4),
          (64, -38, -246, 6.2), (70, -46, -278, 6.4), (74, -42, -310, 6), (76, -30, -400, 6)],
    -1.0: [(-16, -14, -122, 8), (-24, -8, -140, 7), (-36, 2, -162, 6.8), (-44, 4, -182, 6.6), (-54, -14, -212, 6.4),
           (-64, -38, -246, 6.2), (-70, -46, -278, 6.4), (-74, -42, -310, 6), (-76, -30, -400, 6)],
}  # fmt: skip
_VEIN_INNER = [(41, 5, -178, 5), (46, 22, -194, 4.6), (46, 44, -216, 4.2)]


def paint_arteries(canvas: Canvas) -> None:
    """Paint arch branches, iliac arteries and the aorta, last and whole."""
    space, build = canvas.space, canvas.space.build
    over = (*SOFT, *LOBES, "heart", "esophagus", "iliopsoas_left", "iliopsoas_right", "pancreas", "duodenum",
            "small_bowel", "liver", "superior_vena_cava", "stomach", "spleen", "kidney_left", "adrenal_gland_left", "pulmonary_vein", "inferior_vena_cava", "iliac_vena_left",
            "iliac_vena_right", "brachiocephalic_vein_left", "brachiocephalic_vein_right")  # fmt: skip
    wide = build.vessel_scale
    branches: dict[str, list[tuple[Number, ...]]] = {
        "brachiocephalic_trunk": [(-14, -44, 226, 7), (-20, -40, 244, 6.5), (-30, -36, 262, 6)],
        "subclavian_artery_right": [(-30, -36, 261, 5), (-46, -30, 276, 4.8), (-72, -32, 276, 4.6), (-110, -30, 272, 4.2)],
        "common_carotid_artery_right": [(-29, -36, 261, 4), (-26, -46, 285, 4), (-26, -42, 330, 4), (-28, -36, 402, 4)],
        "common_carotid_artery_left": [(-4, -34, 234, 4.4), (8, -36, 256, 4), (22, -46, 288, 4), (25, -42, 330, 4), (28, -36, 402, 4)],
        "subclavian_artery_left": [(8, -18, 238, 5.2), (20, -20, 262, 5), (42, -28, 277, 4.8), (72, -32, 276, 4.6), (110, -30, 272, 4.2)],
    }  # fmt: skip
    for name, rows in branches.items():
        canvas.draw(name, [space.tube(rows, wide * build.radius(name))], over)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        name = f"iliac_artery_{side}"
        routes = [space.tube(mirrored(r, sign), wide * build.radius(name)) for r in (_ILIAC, _ILIAC_INNER)]
        canvas.draw(name, routes, over)
    canvas.draw("aorta", [_aorta(canvas)], (*over, "iliac_artery_left", "iliac_artery_right"))


def _aorta(canvas: Canvas) -> Tube:
    """The aorta in the world of a body."""
    return canvas.space.tube(aorta_rows(canvas.space.build))


def aorta_rows(build: Build) -> Rows:
    """Centres and radii in mm of the aorta, of the drawn diameter, more winding with age."""
    t = build.variants.trait
    rows = np.array(_AORTA, float)
    winding = 0.4 + 0.02 * max(build.age_years - 50, 0)
    own = np.array([3 * t("aorta_side"), 2 * t("aorta_front")])
    sway = (build.moved("aorta")[:2] + own) * winding
    rows[8:14, :2] += sway * np.sin(np.linspace(0, np.pi, 6))[:, None] * (1, 0.4)
    rows[12:, :2] += winding * 3 * t("aorta_low") * np.sin(np.linspace(0, np.pi, 4))[:, None] * (1, 0.2)
    rows[:, 3] *= build.aorta_mm / 24.5 * build.radius("aorta") / build.scale
    return rows


def paint_veins(canvas: Canvas) -> None:
    """Paint portal and splenic vein, brachiocephalic and caval veins, iliac veins."""
    space, build = canvas.space, canvas.space.build
    wide = build.vessel_scale
    over = (*SOFT, *LOBES, "heart", "liver", "pancreas", "iliopsoas_left", "iliopsoas_right", "small_bowel",
            "duodenum", "thyroid_gland", "stomach", "kidney_right", "adrenal_gland_right")  # fmt: skip
    portal = [space.tube(rows, wide * build.radius("portal_vein_and_splenic_vein")) for rows in _portal_rows(build)]
    canvas.draw("portal_vein_and_splenic_vein", portal, over)
    right = [(-62, -34, 268, 6), (-46, -42, 258, 6.5), (-36, -48, 236, 7)]
    left = [
        (84, -34, 268, 6),
        (62, -40, 268, 6.5),
        (40, -56, 256, 6.5),
        (8, -66, 244, 7),
        (-20, -62, 234, 7),
        (-35, -50, 228, 7),
    ]
    upper = [(-36, -49, 232, 8.5), (-38, -44, 205, 9.5), (-38, -42, 176, 10), (-36, -44, 150, 11)]
    canvas.draw("brachiocephalic_vein_right", [space.tube(right, wide)], over)
    canvas.draw("brachiocephalic_vein_left", [space.tube(left, wide)], over)
    canvas.draw(
        "superior_vena_cava",
        [space.tube(upper, wide)],
        (*over, *(f"brachiocephalic_vein_{s}" for s in ("left", "right"))),
    )
    for side, sign in (("left", 1.0), ("right", -1.0)):
        inner = mirrored(_VEIN_INNER, sign)
        routes = [space.tube(_ILIAC_VEIN[sign], wide), space.tube(inner, wide)]
        canvas.draw(f"iliac_vena_{side}", routes, over)
    cava = space.tube(_CAVA, wide * build.radius("inferior_vena_cava"), squash_zyx=(1, 1.15, 0.9))
    canvas.draw("inferior_vena_cava", [cava], (*over, "iliac_vena_left", "iliac_vena_right"))


def _portal_rows(build: Build) -> list[Rows]:
    """Splenic vein along the back of the pancreas, superior mesenteric and portal vein, its two branches."""
    gland = pancreas_rows(build)
    splenic = np.column_stack([gland[:2:-1, :3] + np.array((0, 9, 4)), [4.5, 5, 5.2, 5.5, 6]])
    meet = splenic[-1, :3] + np.array((0, 4, 2))
    stem = portal_stem(build)
    hilum = np.array((-42.0, -42, 28)) + 0.3 * (meet - np.array((0, -37, 4)))
    trunk = np.vstack([stem, meet, 0.6 * meet + 0.4 * hilum + np.array((0, 0, 2)), hilum])
    right = hilum + np.array([(0, 0, 0), (-18, 6, 5), (-36, 14, 10)])
    left = hilum + np.array([(0, 0, 0), (9, -14, 7), (31, -26, 11), (46, -34, 14)])
    widths = ((trunk, (5, 5.5, 6.5, 7, 6.5)), (right, (6, 5, 3.5)), (left, (5.5, 5, 4, 3)))
    return [np.vstack([splenic, (*meet, 6.2)]), *(np.column_stack(pair) for pair in widths)]


def portal_stem(build: Build) -> Float64[np.ndarray, "2 3"]:
    """The two points (x, y, z) below the confluence, where the superior mesenteric vein comes in."""
    return np.array([(-7.0, -38, -30), (-6, -38, -16)]) + 0.5 * head_shift(build)
