"""Pancreas: head in the duodenal C, body arching over the spine, tail towards the splenic hilum.

The splenic vein runs along its back, so its course is shared with the vessels.
"""

import math
from itertools import pairwise

import numpy as np
from jaxtyping import Float32, Float64

from factory.engines.phantom.bending import bent
from factory.engines.phantom.canvas import Box, Canvas
from factory.engines.phantom.population import Build
from factory.engines.phantom.shapes import capsule, smooth_min

__all__ = ["head_shift", "paint_pancreas", "pancreas_rows"]

Volume = Float32[np.ndarray, "z y x"]
Rows = Float64[np.ndarray, "n 4"]

_MEAN_ML = 72.0
_ROWS = [(-22, -40, -36, 10), (-22, -44, -24, 13), (-16, -46, -11, 13), (2, -50, 0, 9), (24, -49, 7, 9.5),
         (48, -34, 12, 9.5), (72, -12, 19, 9.5), (92, 4, 26, 8)]  # fmt: skip
# how far each trait moves the eight points along one axis (0 x, 1 y, 2 z), in mm
_MOVES = (
    ("pancreas_rise", 2, (0, 0, 0, 1, 4, 7, 11, 14)),  # horizontal to oblique
    ("pancreas_arch", 2, (0, 0, 2, 6, 10, 8, 2, -4)),  # inverted V
    ("pancreas_wave", 2, (0, 0, 3, 6, 0, -7, -3, 5)),  # sigmoid
    ("pancreas_wave", 1, (0, 0, 0, -2, -3, 2, 5, 3)),
    ("pancreas_tail", 0, (0, 0, 0, 0, 2, 5, 9, 13)),
    ("pancreas_tail", 1, (0, 0, 0, 0, 0, 1, 3, 5)),
    ("pancreas_depth", 1, (2, 3, 4, 4, 4, 5, 6, 7)),
)


def head_shift(build: Build) -> Float64[np.ndarray, " 3"]:
    """Displacement (x, y, z) in mm of the head, which the duodenum follows."""
    t = build.variants.trait
    up = 0.3 * build.moved("pancreas")[2]
    return np.array([4 * t("head_side"), 0.0, 9 * t("pancreas_head") + up])


def pancreas_rows(build: Build) -> Rows:
    """Centres and radii in mm from the uncinate process to the tail."""
    t = build.variants.trait
    rows = np.array(_ROWS, float)
    weight = np.minimum(1.0, np.arange(1, 9) / 5)
    rows[:, 2] += build.moved("pancreas")[2] * (weight - 0.3).clip(0)
    for name, axis, weights in _MOVES:
        rows[:, axis] += t(name) * np.array(weights)
    fade = np.array([1, 1, 1, 0.6, 0.3, 0.1, 0, 0])[:, None]
    rows[:, :3] += fade * head_shift(build)
    rows[:3, 3] *= math.exp(0.14 * t("pancreas_taper"))
    rows[3:, 3] *= math.exp(-0.12 * t("pancreas_taper") + 0.08 * t("pancreas_wave"))
    rows[7, 3] *= math.exp(0.2 * t("pancreas_tip"))
    rows[:, 3] *= float(np.clip(build.volumes_ml["pancreas"] / _MEAN_ML, 0.2, 4.0)) ** 0.4
    return rows


def paint_pancreas(canvas: Canvas) -> None:
    """Paint the pancreas, more lobulated with age."""
    build = canvas.space.build
    rows = pancreas_rows(build)
    rough = float(np.clip(1.8 + 0.03 * (build.age_years - 50), 1.2, 3.2))

    def shape(box: Box) -> Volume:
        xyz = bent(box.xyz, (0, -50, -2), build.variants.wave("pancreas"), 2.0 * build.variants.widen, 60)
        total = None
        for a, b in pairwise(rows.tolist()):
            part = capsule(xyz, (tuple(a[:3]), tuple(b[:3])), (a[3] + b[3]) / 2)
            total = part if total is None else smooth_min(total, part, 7.0)
        assert total is not None
        return total + np.float32(rough) * box.at(canvas.space.grain[::-1, :, ::-1])

    reach = (rows[:, :3].min(0) - 30, rows[:, :3].max(0) + 30)
    canvas.fill("pancreas", canvas.box(*reach), shape, ("visceral_fat", "stomach", "liver"))
