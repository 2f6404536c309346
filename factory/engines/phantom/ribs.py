"""Ribs, costal cartilages and sternum: arcs on the chest wall that slope down to the front."""

import numpy as np

from factory.engines.phantom.body import CAGE, SPINE_DEPTH, SPINE_FRONT
from factory.engines.phantom.canvas import SOFT, Canvas
from factory.engines.phantom.curves import Tube
from factory.engines.phantom.shapes import Number, Profile

__all__ = ["paint_ribs"]

# rib: (height at the spine, height of the front end, angle of the front end from the back in degrees)
_RIBS: dict[int, tuple[Number, Number, Number]] = {
    1: (300, 246, 128), 2: (284, 216, 138), 3: (265, 184, 143), 4: (243, 153, 146), 5: (221, 124, 148),
    6: (198, 96, 148), 7: (174, 66, 144), 8: (150, 40, 134), 9: (126, 20, 121), 10: (100, 4, 105), 11: (72, -16, 84),
    12: (40, -20, 50),
}  # fmt: skip
# where the cartilage of ribs 1 to 7 meets the sternum; 8 to 10 join the one above
_STERNAL = {1: 240, 2: 222, 3: 202, 4: 184, 5: 167, 6: 152, 7: 141}
_STERNUM_WIDTH = Profile({112: 4, 128: 7, 142: 17, 180: 16, 212: 13, 222: 19, 240: 25, 252: 20})
_FRONT_DEGREES = 171.0
_OUT_MM = 5.5


def paint_ribs(canvas: Canvas) -> None:
    """Paint cartilages, sternum and the 24 ribs."""
    space = canvas.space
    squash = (0.62, 1.0, 1.0)
    sides = [(n, sign) for n in _RIBS for sign in (-1.0, 1.0)]
    square = space.build.habitus.square
    cartilage = space.tubes([_cartilage(n, sign, square) for n, sign in sides if n <= 10], squash_zyx=squash)
    canvas.draw("costal_cartilages", cartilage)
    canvas.draw("sternum", _sternum(canvas), (*SOFT, "costal_cartilages"))
    slope = space.build.lean["rib_slope"]
    courses = space.tubes([_course(n, sign, slope, square) for n, sign in sides], squash_zyx=squash)
    for (n, sign), course in zip(sides, courses, strict=True):
        canvas.draw(f"rib_{'left' if sign > 0 else 'right'}_{n}", [course], (*SOFT, "costal_cartilages"))


def _on_wall(degrees: Number, z: Number, sign: Number, square: float, out: Number = _OUT_MM) -> tuple[Number, ...]:
    """The point outside the chest wall at an angle from the back, at a height."""
    angle = np.radians(degrees)
    direction = np.array([sign * np.sin(angle), np.cos(angle)])
    x, y = CAGE.surface(direction, z, square)
    return x + out * direction[0], y + out * direction[1], z


def _course(n: int, sign: Number, slope: Number, square: float) -> list[tuple[Number, ...]]:
    """Head beside the spine, neck to the back, angle, then along the wall to the front end."""
    top, low, end = _RIBS[n]
    low -= 6.0 * slope
    y = SPINE_FRONT.value(top) + SPINE_DEPTH.value(top)
    radius = 3.3 if n in (1, 11, 12) else 3.8
    rows: list[tuple[Number, ...]] = [(sign * 19.0, y - 4, top, 4.0), (sign * 30.0, y + 14, top - 2.0, 3.6)]
    start = 32.0 if n > 1 else 45.0
    steps = max(3, int((end - start) / 9))
    for t in np.linspace(0, 1, steps):
        degrees = start + t * (end - start)
        z = top - 3 + (low - top + 3) * (0.62 * t + 0.38 * t * t)
        x, yy, zz = _on_wall(degrees, z, sign, square)
        rows.append((x, yy, zz, radius))
    return rows


def _cartilage(n: int, sign: Number, square: float) -> list[tuple[Number, ...]]:
    _, low, end = _RIBS[n]
    if n <= 7:
        goal, height = _FRONT_DEGREES, float(_STERNAL[n])
    else:
        goal, height = _RIBS[n - 1][2] + 6.0, _RIBS[n - 1][1] + 2.0
    rows: list[tuple[Number, ...]] = []
    for t in np.linspace(0, 1, 6):
        z = low + (height - low) * t**1.3
        rows.append((*_on_wall(end + (goal - end) * t, z, sign, square, 5.0), 5.0))
    return rows


def _sternum(canvas: Canvas) -> list[Tube]:
    """Manubrium, body and xiphoid as a stack of flat bars."""
    bars = []
    for z in np.arange(112.0, 253.0, 4.0):
        _, y, _ = _on_wall(180, z, 1.0, canvas.space.build.habitus.square, 5.0)
        w = _STERNUM_WIDTH.value(z)
        bars.append([(-w, y + 1, z, 5.2), (0, y, z, 5.6), (w, y + 1, z, 5.2)])
    return canvas.space.tubes(bars)
