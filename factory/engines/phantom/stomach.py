"""Stomach: from a collapsed band to a distended bag; J, steer-horn or cascade."""

import math
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float32, Float64

from factory.engines.phantom.bending import bent
from factory.engines.phantom.canvas import SOFT, Box, Canvas, Mask
from factory.engines.phantom.pancreas import pancreas_rows
from factory.engines.phantom.population import Build
from factory.engines.phantom.shapes import capsule, smooth_max, smooth_min

__all__ = ["paint_stomach", "pylorus"]

Volume = Float32[np.ndarray, "z y x"]
Rows = Float64[np.ndarray, "n 4"]

_MEAN_ML = 370.0
_ABOVE_MM = 6.0
_ROWS = [
    (52, -14, 69, 30), (56, -32, 60, 34), (58, -54, 46, 33), (53, -75, 26, 29),
    (37, -88, 5, 24), (12, -91, -7, 20), (-10, -84, -8, 16), (-25, -72, -4, 11),
]  # fmt: skip
# how far each trait moves the eight points along one axis (0 x, 1 y, 2 z), in mm
_MOVES = {
    "stomach_drop": (2, (0, -1, -5, -12, -17, -19, -15, -5)),
    "stomach_side": (0, (3, 5, 9, 10, 10, 8, 5, 1)),
    "stomach_front": (1, (2, 4, 7, 8, 6, 5, 4, 1)),
    "stomach_fundus": (2, (10, 7, 3, 0, 0, 0, 0, 0)),
    "stomach_antrum": (1, (0, 0, 0, 0, -4, -6, -6, -3)),
}


def pylorus(build: Build) -> Float64[np.ndarray, " 3"]:
    """Displacement (x, y, z) in mm of the pylorus, which stomach and duodenum share."""
    t = build.variants.trait
    return build.moved("stomach") * (0.35, 0.2, 0.35) + (
        6 * t("pylorus_side"),
        3 * t("stomach_antrum"),
        7 * t("pylorus_height"),
    )


def _rows(build: Build) -> Rows:
    """Centres and radii in mm along the lumen, from fundus to pylorus."""
    t = build.variants.trait
    rows = np.array(_ROWS, float)
    bend = build.lean["stomach_turn"] * 9
    rows[:, 2] -= bend * np.array([0, 0, 0, 0.5, 1, 1, 0.6, 0])
    for name, (axis, weights) in _MOVES.items():
        rows[:, axis] += t(name) * np.array(weights)
    pouch = max(t("stomach_cascade"), 0.0)  # the fundus tips backwards over the body
    rows[:2, 1] += 9 * pouch
    rows[2, 3] *= 1 - 0.14 * min(pouch, 2.5)
    rows[:3, 3] *= math.exp(0.13 * t("stomach_fundus"))
    rows[4:, 3] *= math.exp(0.2 * t("stomach_antrum"))
    share = np.linspace(0, 1, 8)[:, None] ** 2
    rows[:, :3] += (1 - share) * build.moved("stomach") * (0.8, 0.5, 0.8) + share * pylorus(build)
    size = float(np.clip(build.volumes_ml["stomach"] / _MEAN_ML, 0.1, 4.0)) ** 0.42
    rows[:, 3] *= size
    rows[3:6, 2] -= 22 * (size - 1)  # what fills it, pulls it down
    return rows


def _behind(xyz: tuple[Volume, Volume, Volume], gland: Rows) -> Volume:
    """Distance into the room behind the front of the pancreas, from a little above it down."""
    x, y, z = xyz
    front, top = gland[:, 1] - gland[:, 3], gland[:, 2] + gland[:, 3]
    back = y - np.interp(x, gland[:, 0], front).astype(np.float32)
    return np.asarray(np.minimum(back, np.interp(x, gland[:, 0], top + _ABOVE_MM) - z), np.float32)


def paint_stomach(canvas: Canvas, inside: Mask) -> None:
    """Paint the stomach with a lumen that goes through from oesophagus to duodenum."""
    build, space = canvas.space.build, canvas.space
    rows = _rows(build)
    flat = float(math.exp(0.16 * build.variants.trait("stomach_shape")))
    centre, gland = rows[3, :3].tolist(), pancreas_rows(build)[2:]

    def shape(box: Box) -> Volume:
        x, y, z = bent(box.xyz, centre, build.variants.wave("stomach"), 6 * build.variants.widen, 120)
        scaled = rows * (1, flat, 1, 1)
        total = None
        for a, b in pairwise(scaled.tolist()):
            part = capsule((x, y * np.float32(flat), z), (tuple(a[:3]), tuple(b[:3])), (a[3] + b[3]) / 2)
            total = part if total is None else smooth_min(total, part, 14.0)
        assert total is not None
        total = smooth_max(total, _behind(box.xyz, gland), 8.0)
        return np.asarray(total / np.float32(flat**0.5) + 1.8 * box.at(space.grain), np.float32)

    def before(box: Box) -> Bool[np.ndarray, "z y x"]:
        """However far its surface must move to reach its volume, it stays before the pancreas."""
        return inside(box) & (box.evaluate(lambda part: _behind(part.xyz, gland)) < 0)

    canvas.fill("stomach", canvas.box((-60, -130, -130), (140, 70, 120)), shape, SOFT, before)
    thin = rows.copy()
    thin[:, 3] = np.minimum(0.45 * thin[:, 3], 9.0)  # however empty the stomach, its lumen goes through
    join = [
        (30, -20, 62, 7),
        (40, -18, 56, 8),
        (*(0.5 * (rows[0, :3] + np.array((45, -18, 54)))), 8),
        (*rows[1, :3], 7),
    ]
    end = [(*rows[-2, :3], 9), (*rows[-1, :3], 8), (*(np.array((-31, -66, -1)) + pylorus(build)), 7)]
    canvas.draw("stomach", space.tubes([thin, join, end]), (*SOFT, "liver", "spleen"))
