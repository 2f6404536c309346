"""Pulling a label map back through a map of points: trilinear votes of labels.

Each label's share at a point is the sum of the linear weights of the corners that carry it, and
the largest share wins: what linear interpolation of every label's own mask and the argmax over
labels would give, at a cost that does not depend on how many labels there are. Borders come
out smooth where a coarse source is drawn on a finer grid.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8

from manifests.geometry import Grid

__all__ = ["LabelMap", "Warp", "pull", "sampled", "vote"]

_SLAB = 2_000_000
Triple = tuple[Float32[np.ndarray, " n"], Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]


@dataclass(frozen=True)
class LabelMap:
    """Labels on a grid; 0 beyond it."""

    labels: UInt8[np.ndarray, "z y x"]
    grid: Grid

    @cached_property
    def mixed(self) -> Bool[np.ndarray, "z y x"]:
        """Voxels whose cell of eight corners, themselves the lowest, may hold more than one label."""
        mixed = np.zeros(self.labels.shape, bool)
        for axis in range(3):
            ahead = np.moveaxis(self.labels, axis, 0)
            np.moveaxis(mixed, axis, 0)[:-1] |= ahead[1:] != ahead[:-1]
        for axis in range(3):
            along = np.moveaxis(mixed, axis, 0)
            along[:-1] |= along[1:].copy()
        return mixed


@dataclass(frozen=True, slots=True)
class Warp:
    """Where in a source each point lies: source points (x, y, z) in mm at the nodes of a lattice, linear between."""

    points_mm: Float32[np.ndarray, "3 z y x"]
    lattice: Grid


def sampled(
    field: Float32[np.ndarray, "zl yl xl"], axes_mm: tuple[Float[np.ndarray, "_"], ...], lattice: Grid
) -> Float32[np.ndarray, "z y x"]:
    """Interpolate a field of a lattice linearly at the points of three axes (z, y, x) in mm.

    Outside the lattice the field keeps its border value.
    """
    spots = zip(axes_mm, lattice.origin_mm_xyz[::-1], lattice.spacing_mm_zyx, strict=True)
    for axis, (along, origin, step) in enumerate(spots):
        place = np.clip((np.asarray(along) - origin) / step, 0, field.shape[axis] - 1)
        low = np.minimum(place.astype(np.intp), max(field.shape[axis] - 2, 0))
        weight = (place - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
        start = np.take(field, low, axis=axis)
        change = np.take(field, np.minimum(low + 1, field.shape[axis] - 1), axis=axis)
        change -= start
        change *= weight
        start += change
        field = start
    return field


def pull(
    source: LabelMap, warp: Warp, grid: Grid, where: UInt8[np.ndarray, "z y x"] | None = None
) -> UInt8[np.ndarray, "z y x"]:
    """Pull a label map back to a grid.

    Args:
        source: what is pulled.
        warp: where in the source the points of the grid lie.
        grid: grid of the result.
        where: labels that stand already: only voxels that are 0 there are drawn, the rest is kept.
    """
    drawn = np.zeros(grid.shape_zyx, np.uint8) if where is None else where.copy()
    z, y, x = grid.axes_mm()
    for part in _slabs(grid):
        flat = drawn[part].reshape(-1)
        vacant = slice(None) if where is None else np.flatnonzero(flat == 0)
        index = [
            (sampled(along, (z[part], y, x), warp.lattice).reshape(-1)[vacant] - np.float32(origin)) / np.float32(step)
            for along, origin, step in zip(
                warp.points_mm[::-1], source.grid.origin_mm_xyz[::-1], source.grid.spacing_mm_zyx, strict=True
            )
        ]
        flat[vacant] = vote(source, (index[0], index[1], index[2]))
    return drawn


def vote(source: LabelMap, index_zyx: Triple) -> UInt8[np.ndarray, " n"]:
    """Labels at fractional indices by trilinear vote; 0 beyond the outermost voxels, the nearest corner's on a draw."""
    shape = source.labels.shape
    inside = np.ones(len(index_zyx[0]), bool)
    for along, count in zip(index_zyx, shape, strict=True):
        inside &= (along > -0.5) & (along < count - 0.5)
    inner = np.flatnonzero(inside)
    flat, weights = np.zeros(len(inner), np.int64), []
    for along, count in zip(index_zyx, shape, strict=True):
        at = np.clip(along[inner], 0, count - 1)
        low = np.minimum(at.astype(np.int32), max(count - 2, 0))
        weights.append(at - low.astype(np.float32))
        flat = flat * count + low
    values = source.labels.reshape(-1)
    found = values[flat]
    mixed = np.flatnonzero(source.mixed.reshape(-1)[flat])
    found[mixed] = _winners(source.labels, flat[mixed], [part[mixed] for part in weights])
    result = np.zeros(len(inside), np.uint8)
    result[inner] = found
    return result


def _winners(
    labels: UInt8[np.ndarray, "z y x"], flat: Int[np.ndarray, " n"], weights: list[Float32[np.ndarray, " n"]]
) -> UInt8[np.ndarray, " n"]:
    """The label with the largest share of each cell; most are settled by their nearest corner's label."""
    nz, ny, nx = labels.shape
    steps = (ny * nx if nz > 1 else 0, nx if ny > 1 else 0, int(nx > 1))
    values = labels.reshape(-1)
    nearest = sum((step * (weight > 0.5) for step, weight in zip(steps, weights, strict=True)), flat)
    winner = values[nearest]
    best = _share(values, flat, weights, steps, winner)
    open_ = np.flatnonzero(best < 0.5)
    flat, weights, best, chosen = flat[open_], [weight[open_] for weight in weights], best[open_], winner[open_]
    for corner in np.ndindex(2, 2, 2):
        label = values[flat + int(np.dot(corner, steps))]
        total = _share(values, flat, weights, steps, label)
        better = total > best + np.float32(1e-6)
        best[better] = total[better]
        chosen[better] = label[better]
    winner[open_] = chosen
    return np.asarray(winner, np.uint8)


def _share(
    values: UInt8[np.ndarray, " v"],
    flat: Int[np.ndarray, " n"],
    weights: list[Float32[np.ndarray, " n"]],
    steps: tuple[int, int, int],
    label: UInt8[np.ndarray, " n"],
) -> Float32[np.ndarray, " n"]:
    """Sum of the linear weights of the corners that carry a label."""
    total = np.zeros(len(flat), np.float32)
    below = [1 - weight for weight in weights]
    for dz in (0, 1):
        for dy in (0, 1):
            edge = (weights[0] if dz else below[0]) * (weights[1] if dy else below[1])
            at = flat + (dz * steps[0] + dy * steps[1])
            along = below[2] * (values[at] == label)
            along += weights[2] * (values[at + steps[2]] == label)
            total += edge * along
    return total


def _slabs(grid: Grid) -> Iterator[slice]:
    depth = max(1, _SLAB // (grid.shape_zyx[1] * grid.shape_zyx[2]))
    return (slice(start, start + depth) for start in range(0, grid.shape_zyx[0], depth))
