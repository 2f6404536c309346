"""Crura of the diaphragm: two sheets of muscle around the aorta, from T11 down to the front of L2 and L3."""

import numpy as np
from jaxtyping import Float64

from factory.engines.phantom.body import SPINE_FRONT, SPINE_WIDTH
from factory.engines.phantom.canvas import Canvas
from factory.engines.phantom.population import Build
from factory.engines.phantom.shapes import Number, Profile
from factory.engines.phantom.vessels import aorta_rows

__all__ = ["paint_crura"]

_TOP_MM, _ARCH_MM, _FLANK_MM, _BAND_MM = 78, 26, -6, -20
"""Their upper end; above what height they meet before the aorta, reach along the spine, and lie beside the aorta."""

_HALF_MM = Profile({-78: 1.4, -50: 2.2, -10: 3.0, 40: 3.2, 78: 2.2})
_SIDES = ((1.0, -62, 0.9), (-1.0, -78, 1.1))
"""Sign, lower end in mm and relative thickness of the left and the right crus, which is longer and thicker."""


def paint_crura(canvas: Canvas) -> None:
    """Paint both crura over fat and over what would touch the aorta without them; before the aorta itself."""
    build, space = canvas.space.build, canvas.space
    rows = [line for sign, low, thick in _SIDES for line in _sheet(build, sign, low, thick * build.bulk**0.5)]
    canvas.draw("skeletal_muscle", space.tubes(rows, step_mm=12.0), ("visceral_fat", "liver", "stomach", "spleen"))


def _sheet(build: Build, sign: Number, low_mm: int, thick: Number) -> list[Float64[np.ndarray, "n 4"]]:
    """Lines (x, y, z, radius) from before the aorta round its side to the side of the spine, one for each 4 mm."""
    aorta = aorta_rows(build)[:6:-1]
    lines = []
    for z in range(low_mm, _TOP_MM + 1, 4):
        x, y, radius = (np.interp(z, aorta[:, 2], column) for column in aorta[:, (0, 1, 3)].T)
        half = _HALF_MM.value(z) * thick
        out, front, beside = radius + half + 0.5, SPINE_FRONT.value(z), SPINE_WIDTH.value(z) + half
        line = [(x + sign * 0.5, y - out - 1), (x + sign * 0.75 * out, y - 0.66 * out), (x + sign * out, y + 1)]
        line = line[0 if z > _ARCH_MM else 1 if z > _BAND_MM else 2 :]
        line.append((sign * max(0.92 * beside, sign * x + out), front + 8))
        if z > _FLANK_MM:
            line.append((sign * beside, front + 24))
        lines.append(np.array([(*point, z, half) for point in line]))
    return lines
