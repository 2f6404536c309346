"""Spleen: a crescent on the chest wall behind the stomach, along the tenth rib."""

import math

import numpy as np
from jaxtyping import Float32

from factory.engines.phantom.bending import bent, turned
from factory.engines.phantom.canvas import SOFT, Box, Canvas, Mask
from factory.engines.phantom.shapes import ellipsoid, smooth_max, smooth_min

__all__ = ["paint_accessory_spleens", "paint_spleen"]

Volume = Float32[np.ndarray, "z y x"]


def paint_spleen(canvas: Canvas, inside: Mask) -> None:
    """Paint a spleen between round, long and crescent, with or without a medial bulge."""
    build = canvas.space.build
    t, lean = build.variants.trait, build.lean["spleen_turn"]
    dx, dy, dz = build.moved("spleen")
    frame = turned(
        -24 + 6 * lean + 11 * t("spleen_yaw"), 22 + 6 * lean + 13 * t("spleen_pitch"), 8 + 10 * t("spleen_roll")
    )
    thick, long, wide = (math.exp(0.14 * t(f"spleen_{name}")) for name in ("thick", "long", "wide"))
    centre = (106 + dx * 0.3, 24 + dy, 34 + dz)
    bed = (56 - 8 * t("spleen_hollow"), -20 + dy + 6 * t("spleen_yaw"), 38 + dz)
    bulge = 14 + 5 * t("spleen_bulge")

    def shape(box: Box) -> Volume:
        xyz = bent(box.xyz, centre, build.variants.wave("spleen"), 6 * build.variants.widen, 105)
        whole = ellipsoid(xyz, centre, (36 * thick, 54 * wide, 54 * long), frame)
        organ = smooth_max(whole, -ellipsoid(xyz, bed, (34, 50, 62), frame), 10.0)
        if bulge > 8:
            organ = smooth_min(
                organ, ellipsoid(xyz, (84 + dx * 0.3, 30 + dy, 26 + dz), (bulge, bulge, bulge * 1.3)), 12.0
            )
        return organ + 1.6 * box.at(canvas.space.grain)

    canvas.fill("spleen", canvas.box((30, -75, -85), (140, 95, 118)), shape, SOFT, inside)


def paint_accessory_spleens(canvas: Canvas) -> None:
    """Paint accessory spleens in the fat between hilum and lower pole; after all else, as they lie apart."""
    build = canvas.space.build
    dx, dy, dz = build.moved("spleen")
    for place, radius in build.variants.spleens:
        x, y, z = 68 + 0.3 * dx + 16 * place, -2 + dy + 10 * place, 30 + dz - 50 * place
        ball = canvas.space.tube([(x, y, z - 0.3, radius), (x, y, z + 0.3, radius)])
        canvas.draw("spleen", [ball], ("visceral_fat",))
