"""Bones of the trunk: vertebrae with discs and canal, ribs with cartilages, sternum, shoulder girdle.

Sizes of vertebral bodies follow Panjabi et al. (Spine 1991, 1992), heights of discs Fletcher et al. (Eur Spine J 2016, thoracic, CT) and Mansur et al.
(J Lumbini Med Coll 2021, lumbar, MRI); the course of the ribs follows the inner surface of the chest wall, sloping down to the front.
"""

import numpy as np
from jaxtyping import Float32, Float64

from factory.engines.phantom.body import SPINE_DEPTH, SPINE_FRONT, SPINE_WIDTH
from factory.engines.phantom.canvas import SOFT, Box, Canvas
from factory.engines.phantom.curves import Tube, mirrored
from factory.engines.phantom.population import Build
from factory.engines.phantom.ribs import paint_ribs
from factory.engines.phantom.shapes import Number, oval, smooth_max
from factory.engines.phantom.space import Space

__all__ = ["VERTEBRA_Z_MM", "disc_mm", "paint_shoulders", "paint_spine"]

VERTEBRA_Z_MM = {
    "L5": -135.0, "L4": -103.0, "L3": -69.0, "L2": -34.0, "L1": 0.0, "T12": 33.0, "T11": 64.0, "T10": 92.0,
    "T9": 118.0, "T8": 143.0, "T7": 167.0, "T6": 191.0, "T5": 214.0, "T4": 236.0, "T3": 257.0, "T2": 277.0,
    "T1": 296.0, "C7": 313.0, "C6": 329.0, "C5": 345.0, "C4": 361.0, "C3": 377.0,
}  # fmt: skip
"""Height of the centre of each vertebral body above that of L1, in the reference torso."""
_SACRUM_Z_MM, _C2_Z_MM = -169.0, 393.0

_DISC_MM = {
    "L5": 10.6, "L4": 11.4, "L3": 10.6, "L2": 9.4, "L1": 7.9, "T12": 6.8, "T11": 6.2, "T10": 5.6, "T9": 5.1, "T8": 4.7,
    "T7": 4.4, "T6": 4.1, "T5": 3.8, "T4": 3.6, "T3": 3.7, "T2": 4.0, "T1": 4.4, "C7": 4.8, "C6": 4.8, "C5": 4.8,
    "C4": 4.8, "C3": 4.8,
}  # fmt: skip
"""Mean height of the disc below each vertebra at its middle."""
_ENDPLATE_MM = 0.7
_DISC_SPREAD, _LEVEL_SPREAD = 0.12, 0.10  # of the logarithm of their height, of people and of levels
_WEAR = 0.35  # what age takes of a level that is a standard deviation lower than 0.3

_CORD = ((0, 400), (0, 330), (0, 296), (0, 236), (0, 167), (0, 92), (0, 33), (0, -34), (0, -103), (0, -150))
_ARM_RAISED = [(152, -10, 278, 18), (168, -16, 310, 13), (190, -22, 360, 11), (206, -28, 410, 11)]
_ARM_DOWN = [(154, -6, 266, 18), (170, 2, 236, 13), (186, 18, 150, 11), (197, 28, 60, 11), (204, 34, -20, 13)]
Volume = Float32[np.ndarray, "z y x"]


def _frame(z: Number) -> tuple[Float64[np.ndarray, " 3"], Float64[np.ndarray, " 3"], Float64[np.ndarray, " 3"]]:
    """Centre of the body at a height, direction up the spine, and direction to the back."""
    slope = (SPINE_FRONT.value(z + 8) - SPINE_FRONT.value(z - 8)) / 16
    up = np.array([0.0, slope, 1.0]) / np.hypot(slope, 1.0)
    back = np.array([0.0, up[2], -up[1]])
    centre = np.array([0.0, SPINE_FRONT.value(z) + SPINE_DEPTH.value(z) / 2, z])
    return centre, up, back


def paint_spine(canvas: Canvas) -> None:
    """Paint discs, vertebrae C3 to L5 and the spinal cord in its canal."""
    box = canvas.box((-30, -50, -152), (30, 70, 392))
    canvas.fill("intervertebral_discs", box, _disc_column)
    centres = np.array([_SACRUM_Z_MM, *VERTEBRA_Z_MM.values(), _C2_Z_MM])
    discs = [*(disc_mm(canvas.space.build, level) for level in VERTEBRA_Z_MM), _DISC_MM["C3"]]
    halves = ((np.diff(centres) - discs) / 2).tolist()  # of the two bodies beside each disc
    for level, below, above in zip(VERTEBRA_Z_MM, halves, halves[1:], strict=False):
        _paint_vertebra(canvas, level, below, above)
    rows = [(x, SPINE_FRONT.value(z) + SPINE_DEPTH.value(z) + 10, z, 7.6 if z > -50 else 8.4) for x, z in _CORD]
    canvas.draw("spinal_cord", [canvas.space.tube(rows)], (*SOFT, *(f"vertebrae_{v}" for v in VERTEBRA_Z_MM)))


def _disc_column(box: Box) -> Volume:
    x, y, z = box.xyz
    depth = SPINE_DEPTH(z) / 2
    return oval(x, y - SPINE_FRONT(z) - depth, (SPINE_WIDTH(z) - 1, depth - 0.5), 2.3)


def disc_mm(build: Build, level: str) -> float:
    """Height of the middle of the disc below a vertebra, in the reference torso: thick in some people, worn in others, the more with age."""
    own = build.variants.trait(f"disc_{level}")
    worn = _WEAR * np.clip((build.age_years - 45) / 40, 0, 1) * np.clip(-own - 0.3, 0, 1.6)
    spread = np.exp(_DISC_SPREAD * build.variants.trait("discs") + _LEVEL_SPREAD * own)
    return float(_DISC_MM[level] * spread * (1 - worn))


def _paint_vertebra(canvas: Canvas, level: str, below: Number, above: Number) -> None:
    """Paint a vertebra whose body reaches over these lengths from its centre, down and up."""
    name = f"vertebrae_{level}"
    reach = np.array([30.0, 34.0, 24.0])
    z = VERTEBRA_Z_MM[level]
    centre, up, back = _frame(z)
    over = (*SOFT, "intervertebral_discs")

    def shape(box: Box) -> Volume:
        x, y, zz = box.xyz
        v = (y - centre[1]) * back[1] + (zz - centre[2]) * back[2]
        u = (y - centre[1]) * up[1] + (zz - centre[2]) * up[2]
        length = np.where(u > 0, above, below)
        waist = 0.90 + 0.10 * np.clip(np.abs(u) / length, 0, 1.2) ** 2
        round_ = oval(x, v, (SPINE_WIDTH.value(z) * waist, SPINE_DEPTH.value(z) / 2 * waist), 2.4)
        rim = _ENDPLATE_MM * (1 - np.clip(1 - (x / 16) ** 2 - (v / 14) ** 2, -1, 1))  # endplates are hollow
        return smooth_max(round_, np.asarray(np.abs(u) - length - rim, np.float32), 3.0)

    canvas.fill(name, canvas.box(centre - reach, centre + reach), shape, over)
    canvas.draw(name, _processes(canvas.space, level), over)


def _processes(space: Space, level: str) -> list[Tube]:
    """Pedicles, laminae, spinous, transverse and articular processes of one vertebra."""
    z = VERTEBRA_Z_MM[level]
    centre, up, back = _frame(z)
    d, w = SPINE_DEPTH.value(z) / 2, SPINE_WIDTH.value(z)
    lumbar, neck, block = level[0] == "L", level[0] == "C", level[0] == "L" or level in ("T11", "T12")
    side = 36.0 if lumbar else 24.0 if neck else min(22.0 + 0.08 * (z + 40), 32.0)
    low = -10.0 if block else -5.0  # of the spinous process at its root
    tip, droop = d + (38.0 if neck else 46.0), -14.0 if block else -11.0 if neck else -20.0
    thick = 6.4 if lumbar else 5.8 if block else 5.1

    def row(x: Number, v: Number, u: Number, r: Number) -> tuple[float, float, float, float]:
        p = centre + np.array([x, 0, 0]) + v * back + u * up
        return float(p[0]), float(p[1]), float(p[2]), r

    ridge = [
        row(0, d + 22, low, thick),
        row(0, (d + 22 + tip) / 2, (low + droop) / 2, thick * 0.85),
        row(0, tip, droop, thick * 0.9),
    ]
    tubes = space.tubes([ridge], squash_zyx=(0.5 if block else 0.7, 1, 1))
    plates, bars = [], []
    for s in (-1.0, 1.0):
        plates += [
            [row(s * w * 0.62, d - 4, 6, thick * 0.85), row(s * 14.5, d + 10, 5, thick * 0.85)],
            [row(s * 14.5, d + 9, 3, thick), row(s * 12, d + 17, -4, thick), row(0, d + 22, low + 2, thick)],
        ]
        bars += [
            [row(s * 15, d + 10, 3, thick), row(s * side, d + (12 if lumbar else 24), 4, thick * 0.75)],
            [row(s * 15, d + 13, 17, thick * 0.9), row(s * 15.5, d + 14, -18, thick)],
        ]
    return tubes + space.tubes(plates, squash_zyx=(0.62, 1, 1)) + space.tubes(bars)


def paint_shoulders(canvas: Canvas) -> None:
    """Paint sternum, ribs, cartilages, clavicles, scapulae and upper arms (raised, as for most scans)."""
    paint_ribs(canvas)
    space = canvas.space
    for side, sign in (("left", 1.0), ("right", -1.0)):
        over = (*SOFT, "costal_cartilages")
        clavicle = mirrored([(17, -68, 250, 7.5), (45, -68, 259, 6), (85, -50, 273, 5.5), (112, -34, 284, 6), (132, -20, 288, 6.5)], sign)  # fmt: skip
        canvas.draw(f"clavicula_{side}", [space.tube(clavicle)], over)
        canvas.draw(f"scapula_{side}", _scapula(space, sign))
        head = mirrored([(148, -6, 272, 23), (151, -8, 278, 23)], sign)
        shaft = _ARM_DOWN if space.build.posture.arms_down[sign < 0] else _ARM_RAISED
        canvas.draw(f"humerus_{side}", [space.tube(head), space.tube(mirrored(shaft, sign))])


def _scapula(space: Space, sign: Number) -> list[Tube]:
    """A thin blade behind the upper ribs, with a thick lateral border, spine, acromion and glenoid."""
    top, tip, socket = np.array([82.0, 66, 284]), np.array([134.0, 66, 170]), np.array([136.0, 10, 262])
    lines = []
    for t in np.linspace(0, 1, 20):
        a, b = top + t * (tip - top), socket + t * (tip - socket)
        bow = np.array([0.0, 7.0 * (1 - t), 0.0])
        rows = [(*a, 4.0), *((*((1 - k) * a + k * b + bow * 4 * k * (1 - k)), 3.2) for k in (0.33, 0.66)), (*b, 6.0)]
        lines.append(rows)
    spine = [(88, 72, 262, 5), (114, 68, 275, 6), (142, 34, 288, 6.5), (152, 4, 296, 6.5), (140, -14, 292, 6)]
    neck = [(128, 16, 260, 9), (132, 4, 266, 13)]
    return space.tubes([mirrored(rows, sign) for rows in (*lines, spine, neck)])
