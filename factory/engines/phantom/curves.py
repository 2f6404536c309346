"""Curves in space: smooth centrelines through control points, and the tubes around them.

A centreline is a centripetal-like Catmull-Rom spline (Catmull and Rom 1974) resampled to an
even step. Points are (x, y, z) in mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64

from factory.engines.phantom.shapes import Number

__all__ = ["Tube", "centreline", "mirrored", "polyline", "tube"]


@dataclass(frozen=True, slots=True)
class Tube:
    """Balls along a line: the union of the round cones between successive points.

    Attributes:
        points_mm: centres (x, y, z); at least two rows unless the tube is one ball.
        radii_mm: radius at each centre.
        squash_zyx: factors on distances; below 1 the tube is wider along that axis.
    """

    points_mm: Float64[np.ndarray, "n 3"]
    radii_mm: Float64[np.ndarray, " n"]
    squash_zyx: tuple[Number, Number, Number] = (1.0, 1.0, 1.0)

    @property
    def length_mm(self) -> float:
        """Length of the centreline."""
        return float(np.linalg.norm(np.diff(self.points_mm, axis=0), axis=1).sum())

    def sampled(self, step_mm: Number) -> Float64[np.ndarray, "m 3"]:
        """Points of the centreline at most a step apart."""
        runs = np.linalg.norm(np.diff(self.points_mm, axis=0), axis=1)
        along = np.concatenate([[0.0], np.cumsum(runs)])
        even = np.linspace(0, along[-1], int(np.ceil(along[-1] / step_mm)) + 1)
        return np.stack([np.interp(even, along, column) for column in self.points_mm.T], axis=1)

    @property
    def volume_ml(self) -> float:
        """Volume of the round cones, overlaps counted twice, ends left out."""
        steps = np.linalg.norm(np.diff(self.points_mm, axis=0), axis=1)
        areas = np.pi * (self.radii_mm[1:] ** 2 + self.radii_mm[:-1] ** 2) / 2
        return float((steps * areas).sum() / np.prod(self.squash_zyx) ** (2 / 3) / 1000.0)

    def of_volume(self, target_ml: float) -> "Tube":
        """Scale the calibre to a volume, within 0.6 to 2 times."""
        factor = float(np.clip(np.sqrt(target_ml / self.volume_ml), 0.6, 2.0))
        return Tube(self.points_mm, self.radii_mm * factor, self.squash_zyx)


def _spline(controls: Float64[np.ndarray, "n k"], per_span: int) -> Float64[np.ndarray, "m k"]:
    padded = np.vstack([2 * controls[0] - controls[1], controls, 2 * controls[-1] - controls[-2]])
    a, b, c, d = (padded[i : len(padded) - 3 + i, None] for i in range(4))
    t = np.linspace(0, 1, per_span, endpoint=False)[None, :, None]
    spans = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return np.vstack([spans.reshape(-1, controls.shape[1]), controls[-1:]])


def centreline(controls: Float[np.ndarray, "n k"], step_mm: Number = 5.0) -> Float64[np.ndarray, "m k"]:
    """Pass a smooth line through control points and sample it evenly.

    Args:
        controls: columns x, y, z in mm, then any others (such as radii); at least two rows.
        step_mm: distance between samples.

    Returns:
        The samples with all columns, both end points included.
    """
    dense = _spline(np.asarray(controls, np.float64), 16)
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(dense[:, :3], axis=0), axis=1))])
    count = max(2, int(np.ceil(along[-1] / step_mm)) + 1)
    even = np.linspace(0, along[-1], count)
    return np.stack([np.interp(even, along, column) for column in dense.T], axis=1)


def tube(
    controls: Sequence[Sequence[Number]] | Float[np.ndarray, "n 4"],
    step_mm: Number = 5.0,
    squash_zyx: tuple[Number, Number, Number] = (1.0, 1.0, 1.0),
) -> Tube:
    """Make a smooth tube from rows of (x, y, z, radius) in mm."""
    line = centreline(np.asarray(controls, np.float64), step_mm)
    return Tube(line[:, :3], np.maximum(line[:, 3], 0.5), squash_zyx)


def polyline(controls: Sequence[Sequence[Number]] | Float[np.ndarray, "n 4"]) -> Tube:
    """Make an angular tube: straight round cones between rows of (x, y, z, radius) in mm."""
    rows = np.asarray(controls, np.float64)
    return Tube(rows[:, :3], rows[:, 3])


def mirrored(
    controls: Sequence[Sequence[Number]] | Float[np.ndarray, "n k"], sign: Number
) -> Float64[np.ndarray, "n k"]:
    """Put rows given for the left side (x > 0) on the side of `sign`."""
    rows = np.array(controls, np.float64)
    rows[:, 0] *= sign
    return rows
