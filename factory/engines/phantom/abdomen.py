"""Organs of the upper abdomen, in the order in which they are painted; the adrenal glands."""

import numpy as np
from jaxtyping import Bool

from factory.engines.phantom.ascites import around_organs_mm
from factory.engines.phantom.body import Torso
from factory.engines.phantom.canvas import SOFT, Box, Canvas, Mask
from factory.engines.phantom.kidneys import SIDES, paint_kidney
from factory.engines.phantom.liver import paint_gallbladder, paint_liver
from factory.engines.phantom.pancreas import paint_pancreas
from factory.engines.phantom.shapes import Number
from factory.engines.phantom.spleen import paint_spleen
from factory.engines.phantom.stomach import paint_stomach

__all__ = ["paint_abdomen"]


def paint_abdomen(canvas: Canvas, torso: Torso) -> None:
    """Paint kidneys, spleen, liver, stomach, gallbladder, pancreas and adrenals, in this order."""
    for side, sign in SIDES:
        paint_kidney(canvas, side, sign)
    gap = 0.2 + 0.7 * around_organs_mm(canvas.space.build)
    paint_spleen(canvas, _below(torso, gap, gap))
    paint_liver(canvas, torso)
    paint_stomach(canvas, _below(torso, 2.0, 2.0))
    paint_gallbladder(canvas, _below(torso, 0.2, 1.5))
    paint_pancreas(canvas)
    for side, sign in SIDES:
        _paint_adrenal(canvas, side, sign)


def _below(torso: Torso, gap: Number, depth: Number) -> Mask:
    """The cavity under the diaphragm, with a gap to it and to the wall."""

    def inside(box: Box) -> Bool[np.ndarray, "z y x"]:
        return (box.at(torso.above) < -gap) & (box.at(torso.cage) < -depth)

    return inside


def _paint_adrenal(canvas: Canvas, side: str, sign: Number) -> None:
    """An inverted Y above the kidney: a body and two thin limbs that open to the back."""
    name = f"adrenal_gland_{side}"
    space = canvas.space
    thicker = 0.88 * (space.build.volumes_ml.get(name, 4.0) / 4.2) ** 0.5
    x0, y0, z0 = (40, -17, 4) if sign > 0 else (-33, -8, 13)
    tubes = []
    for t in np.linspace(0, 1, 11):
        z, spread = z0 + 30 * t, 1.0 - 0.55 * t
        top = (x0, y0 + 3 * t, z, 2.4)
        tubes += [
            space.tube([top, (x0 + sign * 10 * spread, y0 + 24 * spread, z, 1.9)], thicker),
            space.tube([top, (x0 - sign * 3 * spread, y0 + 24 * spread, z, 1.9)], thicker),
        ]
    canvas.draw(name, tubes, (*SOFT, f"kidney_{side}", "liver", "spleen", "stomach", "pancreas"))
