"""Solid organs of the abdomen and the stomach, each in its place and of its target volume."""

from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float32, Float64

from factory.engines.phantom.body import Torso
from factory.engines.phantom.canvas import SOFT, Box, Canvas, Mask
from factory.engines.phantom.shapes import Number, capsule, ellipsoid, smooth_max, smooth_min

__all__ = ["paint_abdomen"]

Volume = Float32[np.ndarray, "z y x"]
XYZ = tuple[Volume, Volume, Volume]


def paint_abdomen(canvas: Canvas, torso: Torso) -> None:
    """Paint kidneys, spleen, liver, stomach, gallbladder, pancreas and adrenals, in this order."""
    for side, sign in (("left", 1.0), ("right", -1.0)):
        _paint_kidney(canvas, side, sign)
    _paint_spleen(canvas, torso)
    _paint_liver(canvas, torso)
    _paint_stomach(canvas, torso)
    _paint_gallbladder(canvas, torso)
    _paint_pancreas(canvas)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        _paint_adrenal(canvas, side, sign)


def _turn(yaw: Number, pitch: Number, roll: Number) -> Float64[np.ndarray, "3 3"]:
    """Rotation about z (yaw), x (pitch) and y (roll), in degrees; rows are the turned axes."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_z = np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    about_y = np.array([[np.cos(c), 0, -np.sin(c)], [0, 1, 0], [np.sin(c), 0, np.cos(c)]])
    return np.asarray(about_z @ about_x @ about_y)


def _below(torso: Torso, gap: Number, depth: Number) -> Mask:
    """The cavity under the diaphragm, with a gap to it and to the wall."""

    def inside(box: Box) -> Bool[np.ndarray, "z y x"]:
        return (box.at(torso.above) < -gap) & (box.at(torso.cage) < -depth)

    return inside


def _paint_kidney(canvas: Canvas, side: str, sign: Number) -> None:
    """A bean along the psoas: upper pole towards spine and back, sinus open to the front and midline."""
    name = f"kidney_{side}"
    move = canvas.space.build.moved(name)
    x0, y0, z0 = sign * 70 + move[0] * 0.6, 22 + 0.5 * move[1], (-19 if sign > 0 else -32) + 1.6 * move[2]
    frame = _turn(sign * (38 + 5 * canvas.space.build.lean["kidney_turn"]), -12, sign * 11)

    def shape(box: Box) -> Volume:
        xyz = box.xyz
        bean = ellipsoid(xyz, (x0, y0, z0), (29, 25, 55), frame)
        hilum = (x0 - sign * 17, y0 - 13, z0)
        sinus = ellipsoid(xyz, hilum, (19, 9.5, 25), frame)
        return smooth_max(bean, -sinus, 6.0) + 0.8 * box.at(canvas.space.grain)

    centre, reach = np.array([x0, y0, z0]), np.array([52.0, 50, 80])
    canvas.fill(name, canvas.box(centre - reach, centre + reach), shape)


def _paint_spleen(canvas: Canvas, torso: Torso) -> None:
    """A crescent on the chest wall behind the stomach, along the tenth rib."""
    lean = canvas.space.build.lean["spleen_turn"]
    dx, dy, dz = canvas.space.build.moved("spleen")
    frame = _turn(-24 + 6 * lean, 22 + 6 * lean, 8)

    def shape(box: Box) -> Volume:
        xyz = box.xyz
        whole = ellipsoid(xyz, (106 + dx * 0.3, 24 + dy, 34 + dz), (36, 54, 54), frame)
        hollow = ellipsoid(xyz, (56, -20 + dy, 38 + dz), (34, 50, 62), frame)
        return smooth_max(whole, -hollow, 10.0) + 1.2 * box.at(canvas.space.grain)

    canvas.fill("spleen", canvas.box((40, -60, -60), (140, 92, 110)), shape, SOFT, _below(torso, 0.2, 0.2))


def _paint_liver(canvas: Canvas, torso: Torso) -> None:
    """Everything under the right dome above a slanting visceral surface, thinning out to the left."""
    build = canvas.space.build
    left, low = build.lean["liver_left"] * 16, build.lean["liver_low"] * 10

    def shape(box: Box) -> Volume:
        x, y, z = box.xyz
        grain = box.at(canvas.space.grain)
        base = -58 - low + 0.42 * (x + 112) + 0.40 * (y + 80) + 0.0035 * np.maximum(x + 20, 0) ** 2
        under = (base - z) * np.float32(0.86)
        edge = 14 - 0.92 * (y + 22) + left * np.clip((-y - 10) / 60, 0, 1)
        medial = (x - np.minimum(edge, 78 + left)) * np.float32(0.74)
        kidney = ellipsoid((x, y, z), (-66, 34, -28), (42, 40, 66))
        column = 30 - np.hypot(x, np.minimum(y - 18, 0)).astype(np.float32)
        organ = smooth_max(smooth_max(under, medial, 22.0), -kidney, 12.0)
        return smooth_max(organ, column, 8.0) + 1.8 * grain

    def inside(box: Box) -> Bool[np.ndarray, "z y x"]:
        return (box.at(torso.above) < -0.2) & (box.at(torso.cavity) < -0.2)

    canvas.fill("liver", canvas.box((-150, -135, -105), (110, 88, 125)), shape, SOFT, inside)


def _paint_stomach(canvas: Canvas, torso: Torso) -> None:
    """A J: fundus under the left dome, body down in front of spleen and pancreas, antrum across the midline."""
    build = canvas.space.build
    bend = build.lean["stomach_turn"] * 9
    shift = build.moved("stomach") * (0.8, 0.5, 0.8)
    rows = [
        (52, 12, 62, 30), (58, -8, 52, 34), (62, -34, 34, 33), (60, -60, 10 - bend * 0.5, 29),
        (46, -78, -16 - bend, 24), (22, -82, -30 - bend, 20), (0, -76, -27 - bend * 0.6, 16), (-18, -66, -18, 11),
    ]  # fmt: skip

    def shape(box: Box) -> Volume:
        xyz = box.xyz
        total = None
        for a, b in pairwise(rows):
            ends = tuple(tuple(float(v) for v in np.array(p[:3]) + shift) for p in (a, b))
            part = capsule(xyz, ends, (a[3] + b[3]) / 2)  # type: ignore[arg-type]
            total = part if total is None else smooth_min(total, part, 14.0)
        assert total is not None
        return total + 1.5 * box.at(canvas.space.grain)

    canvas.fill("stomach", canvas.box((-50, -125, -95), (135, 60, 115)), shape, SOFT, _below(torso, 2.0, 2.0))
    # however empty the stomach, its lumen goes through
    core = canvas.space.tube([(*(np.array(r[:3]) + shift), min(0.45 * r[3], 9.0)) for r in rows])
    join = canvas.space.tube([(30, -20, 62, 7), (40, -18, 56, 8), (50, -14, 52, 9)])
    pylorus = canvas.space.tube(
        [
            (*(np.array(rows[-2][:3]) + shift), 9),
            (*(np.array(rows[-1][:3]) + shift * 0.5), 8),
            (-26, -60, -13, 7),
        ]
    )
    canvas.draw("stomach", [core, join, pylorus], (*SOFT, "liver", "spleen"))


def _paint_gallbladder(canvas: Canvas, torso: Torso) -> None:
    """A pear in its fossa under the liver, fundus to the front."""
    dx, dy, dz = canvas.space.build.moved("gallbladder")
    low = canvas.space.build.lean["liver_low"] * 6
    fundus, neck = (-62 + dx, -84 + dy, -42 - low + dz), (-40, -50, -10)

    def shape(box: Box) -> Volume:
        xyz = box.xyz
        body = capsule(xyz, (fundus, (-53 + dx / 2, -68 + dy / 2, -26)), 13.0)
        return smooth_min(body, capsule(xyz, ((-53 + dx / 2, -68 + dy / 2, -26), neck), 7.0), 10.0)

    box = canvas.box((-105, -125, -85), (-15, -20, 25))
    canvas.fill("gallbladder", box, shape, ("visceral_fat", "liver"), _below(torso, 0.2, 1.5))


def _paint_pancreas(canvas: Canvas) -> None:
    """Head in the duodenal C, body arching over the spine, tail to the splenic hilum."""
    up = canvas.space.build.moved("pancreas")
    rows = [(-26, -40, -36, 10), (-27, -44, -24, 13), (-22, -46, -10, 13), (-8, -50, 0, 9), (12, -50, 9, 9.5),
            (34, -38, 13, 9.5), (58, -16, 20, 9.5), (80, 2, 27, 8)]  # fmt: skip
    rows = [(r[0], r[1], r[2] + up[2] * min(1, (i + 1) / 5), r[3]) for i, r in enumerate(rows)]

    def shape(box: Box) -> Volume:
        xyz = box.xyz
        total = None
        for a, b in pairwise(rows):
            part = capsule(xyz, (a[:3], b[:3]), (a[3] + b[3]) / 2)
            total = part if total is None else smooth_min(total, part, 7.0)
        assert total is not None
        return total + 1.8 * box.at(canvas.space.grain[::-1, :, ::-1])

    canvas.fill("pancreas", canvas.box((-55, -85, -70), (110, 30, 58)), shape, ("visceral_fat", "stomach", "liver"))


def _paint_adrenal(canvas: Canvas, side: str, sign: Number) -> None:
    """An inverted Y above the kidney: a body and two thin limbs that open to the back."""
    name = f"adrenal_gland_{side}"
    space = canvas.space
    thicker = 0.88 * (space.build.volumes_ml.get(name, 4.0) / 4.2) ** 0.5
    x0, y0, z0 = (38, -8, 12) if sign > 0 else (-35, 4, 20)
    tubes = []
    for t in np.linspace(0, 1, 11):
        z, spread = z0 + 26 * t, 1.0 - 0.55 * t
        top = (x0, y0 + 3 * t, z, 3.0)
        tubes += [
            space.tube([top, (x0 + sign * 9 * spread, y0 + 15 * spread, z, 2.5)], thicker),
            space.tube([top, (x0 - sign * 3 * spread, y0 + 16 * spread, z, 2.5)], thicker),
        ]
    canvas.draw(name, tubes, (*SOFT, f"kidney_{side}", "liver", "spleen", "stomach", "pancreas"))
