"""Curves in space: smooth centrelines through control points, and the tubes around them.

A centreline is a centripetal-like Catmull-Rom spline (Catmull and Rom 1974) resampled to an
even step. Points are (x, y, z) in mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int64

from factory.engines.phantom.shapes import Number

__all__ = ["Tube", "centreline", "mirrored", "polyline", "tube", "tubes"]


_PER_SPAN = 16


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


def _splines(many: Sequence[Float[np.ndarray, "_ k"]]) -> tuple[Float64[np.ndarray, "m k"], Int64[np.ndarray, " t"]]:
    """Dense points of the splines through several rows of control points, one after the other, and their numbers."""
    size = np.array([len(rows) for rows in many])
    owner = np.repeat(np.arange(len(many)), size)
    padded = np.empty((len(owner) + 2 * len(many), many[0].shape[1]))
    padded[np.arange(len(owner)) + 2 * owner + 1] = rows = np.concatenate(many)
    last = np.cumsum(size + 2) - 1
    first = last - size - 1
    padded[first] = 2 * padded[first + 1] - padded[first + 2]
    padded[last] = 2 * padded[last - 1] - padded[last - 2]
    span = np.arange(len(owner) - len(many)) + 3 * np.repeat(np.arange(len(many)), size - 1)
    a, b, c, d = (padded[span + i, None] for i in range(4))
    t = np.linspace(0, 1, _PER_SPAN, endpoint=False)[None, :, None]
    points = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    count = (size - 1) * _PER_SPAN + 1
    dense = np.empty((count.sum(), rows.shape[1]))
    ends = np.cumsum(count) - 1
    dense[ends] = rows[np.cumsum(size) - 1]
    inner = np.ones(len(dense), bool)
    inner[ends] = False
    dense[inner] = points.reshape(-1, rows.shape[1])
    return dense, count


def _resampled(
    dense: Float64[np.ndarray, "m k"], count: Int64[np.ndarray, " t"], step_mm: Number
) -> list[Float64[np.ndarray, "_ k"]]:
    """Sample lines evenly that stand one after the other; at most a step apart, both end points included."""
    stop = np.cumsum(count)
    run = np.zeros(len(dense))
    run[1:] = np.linalg.norm(np.diff(dense[:, :3], axis=0), axis=1)
    run[stop[:-1]] = 0.0  # from the end of one line to the start of the next
    along = np.cumsum(run)
    start, length = along[stop - count], along[stop - 1] - along[stop - count]
    number = np.maximum(2, np.ceil(length / step_mm).astype(np.int64) + 1)
    owner = np.repeat(np.arange(len(count)), number)
    place = np.arange(len(owner)) - (np.cumsum(number) - number)[owner]
    even = start[owner] + place * (length / (number - 1))[owner]
    low = np.clip(np.searchsorted(along, even, "right") - 1, (stop - count)[owner], stop[owner] - 2)
    width = along[low + 1] - along[low]
    part = np.clip((even - along[low]) / np.where(width > 0, width, 1.0), 0, 1)[:, None]
    return np.split(dense[low] + part * (dense[low + 1] - dense[low]), np.cumsum(number)[:-1])


def centreline(controls: Float[np.ndarray, "n k"], step_mm: Number = 5.0) -> Float64[np.ndarray, "m k"]:
    """Pass a smooth line through control points and sample it evenly.

    Args:
        controls: columns x, y, z in mm, then any others (such as radii); at least two rows.
        step_mm: distance between samples.

    Returns:
        The samples with all columns, both end points included.
    """
    return _resampled(*_splines([np.asarray(controls, np.float64)]), step_mm)[0]


def tube(
    controls: Sequence[Sequence[Number]] | Float[np.ndarray, "n 4"],
    step_mm: Number = 5.0,
    squash_zyx: tuple[Number, Number, Number] = (1.0, 1.0, 1.0),
) -> Tube:
    """Make a smooth tube from rows of (x, y, z, radius) in mm."""
    return tubes([np.asarray(controls, np.float64)], step_mm, squash_zyx)[0]


def tubes(
    many: Sequence[Float[np.ndarray, "_ 4"]],
    step_mm: Number = 5.0,
    squash_zyx: tuple[Number, Number, Number] = (1.0, 1.0, 1.0),
) -> list[Tube]:
    """Make several smooth tubes at once, each from its rows of (x, y, z, radius) in mm."""
    lines = _resampled(*_splines(many), step_mm)
    return [Tube(line[:, :3], np.maximum(line[:, 3], 0.5), squash_zyx) for line in lines]


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
