"""Spleen: a crescent on the chest wall behind the stomach, along the tenth rib."""

import math

import numpy as np
from jaxtyping import Float32

from factory.engines.phantom.bending import bent, turned
from factory.engines.phantom.canvas import SOFT, Box, Canvas, Mask
from factory.engines.phantom.curves import Tube
from factory.engines.phantom.shapes import ellipsoid, smooth_max, smooth_min
from manifests.anatomy import structure

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
    centre = (106 + dx * 0.3, 29 + dy, 35 + dz)
    bed = (54 - 8 * t("spleen_hollow"), -20 + dy + 6 * t("spleen_yaw"), 38 + dz)
    bulge = 14 + 5 * t("spleen_bulge")

    def shape(box: Box) -> Volume:
        xyz = bent(box.xyz, centre, build.variants.wave("spleen"), 6 * build.variants.widen, 105)
        whole = ellipsoid(xyz, centre, (40 * thick, 54 * wide, 54 * long), frame)
        organ = smooth_max(whole, -ellipsoid(xyz, bed, (34, 50, 62), frame), 10.0)
        if bulge > 8:
            organ = smooth_min(
                organ, ellipsoid(xyz, (84 + dx * 0.3, 30 + dy, 26 + dz), (bulge, bulge, bulge * 1.3)), 12.0
            )
        return organ + 1.6 * box.at(canvas.space.grain)

    canvas.fill("spleen", canvas.box((30, -75, -85), (140, 95, 118)), shape, SOFT, inside)


def paint_accessory_spleens(canvas: Canvas) -> None:
    """Paint accessory spleens in the fat around hilum and lower pole; after all else, as they lie apart."""
    for number, (place, radius) in enumerate(canvas.space.build.variants.spleens):
        name = f"accessory_spleen_{number}"
        if canvas.solving:
            canvas.routes[name] = _lay_accessory(canvas, place, radius)
        canvas.draw("spleen", [canvas.routes[name]], ("visceral_fat",))


def _lay_accessory(canvas: Canvas, place: float, radius: float) -> Tube:
    """A ball at the place with most fat around it, and spleen farthest, of many between hilum and lower pole."""
    at = (place + np.arange(48) * 0.618034) % 1.0
    shift = np.array(canvas.space.build.moved("spleen")) * (0.3, 1.0, 1.0)
    spots = np.column_stack([54 + 38 * at, -20 + 56 * ((at * 5) % 1), 52 - 92 * ((at * 3) % 1)]) + shift
    centres = canvas.space.place(spots)
    size = radius * canvas.space.build.scale
    score = np.zeros(len(spots))
    for gap, name, worth in ((4, "visceral_fat", 1), (10, "spleen", -2)):
        shell = np.vstack([np.zeros(3), (size + gap) * np.eye(3), -(size + gap) * np.eye(3)])
        index = np.rint((centres[:, None] + shell - canvas.grid.origin_mm_xyz)[..., ::-1] / canvas.grid.spacing_mm_zyx)
        found = canvas.labels[tuple(np.moveaxis(index.astype(int), 2, 0))] == structure(name).id
        score += worth * (found.sum(axis=1) + 3 * found[:, 0])
    best = centres[int(score.argmax())]
    return Tube(np.array([best, best + np.array((0, 0, 0.5))]), np.array([size, size]))
