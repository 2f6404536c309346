"""Lines led around what is painted already: loops of bowel give way to solid and filled organs."""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float, Float32, Float64
from scipy.ndimage import distance_transform_edt, gaussian_filter, uniform_filter1d

from factory.engines.phantom.canvas import Canvas
from factory.engines.phantom.space import LATTICE
from manifests.anatomy import structure

__all__ = ["around"]

_TURNS = 14
_TOP = 75
"""Slices of the lattice that are looked at: up to the domes of the diaphragm."""
_DOWN_MM = np.array([0.0, -0.25, -0.5])
"""Bowel that lies inside an organ leaves it to the front and downwards rather than through its back."""


def around(
    canvas: Canvas,
    points_mm: Float[np.ndarray, "n 3"],
    clearance_mm: Float[np.ndarray, " n"],
    names: Iterable[str],
) -> Float64[np.ndarray, "n 3"]:
    """Move world points (x, y, z) of a line until they keep clear of structures.

    Args:
        canvas: what is painted, on the lattice.
        points_mm: the line, evenly sampled.
        clearance_mm: wanted distance of each point; below -20 the point stays where it is.
        names: structures to keep clear of.
    """
    room = _room(canvas, names)
    points, free = np.array(points_mm, np.float64), (clearance_mm > -20)[:, None]
    for _ in range(_TURNS):
        depth = canvas.space.value(room, points)
        lack = np.clip(clearance_mm - depth, 0, 7)[:, None]
        steps = np.eye(3) * 5.0
        slope = np.stack(
            [canvas.space.value(room, points + s) - canvas.space.value(room, points - s) for s in steps], axis=1
        )
        slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-6)
        slope += np.where(depth[:, None] < 0, _DOWN_MM, 0)
        points += free * uniform_filter1d(0.6 * lack * slope, 7, axis=0)
    return points


def _room(canvas: Canvas, names: Iterable[str]) -> Float32[np.ndarray, "z y x"]:
    """Signed distance in mm to the structures on the lattice, negative inside, slightly smoothed."""
    ids = np.zeros(256, bool)
    ids[[structure(name).id for name in names]] = True
    blocked = ids[canvas.labels[:_TOP]]
    spacing = LATTICE.spacing_mm_zyx
    signed = distance_transform_edt(~blocked, spacing) - distance_transform_edt(blocked, spacing)
    room = gaussian_filter(signed.astype(np.float32), 0.7)
    return np.pad(room, ((0, len(canvas.labels) - _TOP), (0, 0), (0, 0)), mode="edge")
