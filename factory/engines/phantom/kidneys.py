"""Kidneys: beans along the psoas, with their sinus, their cysts and their ways to lie."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from factory.engines.phantom.bending import bent, turned
from factory.engines.phantom.canvas import Box, Canvas
from factory.engines.phantom.population import Build
from factory.engines.phantom.shapes import Number, capsule, ellipsoid, smooth_max, smooth_min

__all__ = ["SIDES", "hilum_mm", "paint_kidney"]

Volume = Float32[np.ndarray, "z y x"]
SIDES = (("left", 1.0), ("right", -1.0))
_SINUS_MM, _SINUS = (25.0, 10.5, 27.0), (0.7, 1.3)
"""Half axes in mm of the sinus around the hilum, which is no part of the organ, and the bounds of its size."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Centre in mm, half axes in mm and the turned axes of one kidney."""

    centre: tuple[float, float, float]
    axes: tuple[float, float, float]
    frame: Float64[np.ndarray, "3 3"]


def _place(build: Build, side: str, sign: Number) -> _Place:
    variants, move = build.variants, build.moved(f"kidney_{side}")
    yaw, pitch, roll, long, thick, out = (
        variants.trait(f"kidney_{name}_{side}") for name in ("yaw", "pitch", "roll", "long", "thick", "out")
    )
    x, y, z = sign * (70 + 4 * out) + move[0] * 0.6, 22 + 0.5 * move[1], (-19 if sign > 0 else -28) + 1.6 * move[2]
    turn, tilt = sign * (38 + 5 * build.lean["kidney_turn"] + 10 * yaw), sign * (11 + 6 * roll)
    if f"ptotic_kidney_{side}" in variants.present:
        x, y, z, tilt = x - sign * 6, y - 4, z - 48, tilt + sign * 6
    if f"malrotated_kidney_{side}" in variants.present:
        turn -= sign * 75
    if "horseshoe_kidney" in variants.present:
        x, y, z, turn, tilt = sign * 52.0, 6.0, -62.0, sign * -20, sign * -22
    axes = (29 * math.exp(0.09 * thick), 25 * math.exp(-0.05 * thick), 55 * math.exp(0.09 * long))
    return _Place((x, y, z), axes, turned(turn, -12 + 7 * pitch, tilt))


def hilum_mm(build: Build, side: str, sign: Number) -> Float64[np.ndarray, " 3"]:
    """Where the vessels of a kidney enter it, (x, y, z) in mm."""
    place = _place(build, side, sign)
    return np.asarray(np.array(place.centre) - sign * 0.74 * place.axes[0] * place.frame[0])


def paint_kidney(canvas: Canvas, side: str, sign: Number) -> None:
    """Paint a bean: upper pole towards spine and back, sinus open to the front and midline."""
    build = canvas.space.build
    variants, place = build.variants, _place(build, side, sign)
    sinus = float(np.clip(1 + 0.16 * variants.trait(f"sinus_{side}") + 0.006 * (build.age_years - 55), *_SINUS))
    hilum = tuple(hilum_mm(build, side, sign))
    opening = (sinus * _SINUS_MM[0], sinus * _SINUS_MM[1], sinus * _SINUS_MM[2])
    rough = 0.8 * math.exp(0.5 * variants.trait("lobulation"))
    joined = "horseshoe_kidney" in variants.present

    def shape(box: Box) -> Volume:
        xyz = bent(box.xyz, place.centre, variants.wave(f"kidney_{side}"), 3.0 * variants.widen, 85)
        bean = ellipsoid(xyz, place.centre, place.axes, place.frame)
        bean = smooth_max(bean, -ellipsoid(xyz, hilum, opening, place.frame), 6.0)
        if joined:  # the isthmus crosses in front of the great vessels
            bean = smooth_min(bean, capsule(xyz, ((sign * 34, -16, -104), (sign * 1, -47, -112)), 11.0), 12.0)
            bean = np.maximum(bean, -sign * xyz[0] - 10)
        return bean + rough * box.at(canvas.space.grain)

    centre, reach = np.array(place.centre), np.array([62.0, 62, 88])
    canvas.fill(f"kidney_{side}", canvas.box(centre - reach, centre + reach), shape)
    _paint_cysts(canvas, side, place)


def _paint_cysts(canvas: Canvas, side: str, place: _Place) -> None:
    """Paint cysts that sit in the cortex and stand out of it."""
    for owner, way, radius in canvas.space.build.variants.cysts:
        if owner == side and f"kidney_{side}" not in canvas.space.build.absent:
            out = np.array(way) * place.axes * (0.9, 0.9, 0.85)
            out[0] = abs(out[0]) * (1.0 if side == "left" else -1.0)  # away from the sinus
            x, y, z = (np.array(place.centre) + out @ place.frame).tolist()
            ball = canvas.space.tube([(x, y, z - 0.3, radius), (x, y, z + 0.3, radius)])
            canvas.draw(f"kidney_cyst_{side}", [ball], ("visceral_fat", f"kidney_{side}"))
