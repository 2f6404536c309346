"""Connected components of all labels of a volume in one pass, over runs instead of voxels.

A run is a longest stretch of one label along x. Runs of neighbouring rows are joined where they
overlap or touch diagonally (26-neighbourhood), and the graph of runs is split into components. A
torso has about a hundred voxels for each run, and noise costs only its own runs.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64, UInt8
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["Runs", "runs_at", "runs_between", "runs_of", "stretches_of"]

_FORWARD = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Neighbouring rows (dz, dy) that come later in C order; the earlier ones are their mirror images."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of non-zero labels in C order; `stop` is exclusive.

    Attributes:
        shape_zyx: shape of the volume.
        label, row, start, stop: label, flat (z, y) row and x range of each run.
        component: number of the component of each run, from 0; a component has one label.
    """

    shape_zyx: tuple[int, int, int]
    label: Int64[np.ndarray, " run"]
    row: Int64[np.ndarray, " run"]
    start: Int64[np.ndarray, " run"]
    stop: Int64[np.ndarray, " run"]
    component: Int64[np.ndarray, " run"]

    @property
    def length(self) -> Int64[np.ndarray, " run"]:
        """Voxels of each run."""
        return np.asarray(self.stop - self.start)

    @property
    def z(self) -> Int64[np.ndarray, " run"]:
        """Slice of each run."""
        return np.asarray(self.row // self.shape_zyx[1])

    @property
    def y(self) -> Int64[np.ndarray, " run"]:
        """Line of each run in its slice."""
        return np.asarray(self.row % self.shape_zyx[1])

    def merged(self, labels: frozenset[int]) -> "Runs":
        """The runs of some labels as if they were one label, 1, with components of their union."""
        chosen = np.isin(self.label, list(labels))
        row, start, stop = self.row[chosen], self.start[chosen], self.stop[chosen]
        label = np.ones(len(row), np.int64)
        return Runs(self.shape_zyx, label, row, start, stop, _components(self.shape_zyx, label, row, start, stop))


def stretches_of(labels: UInt8[np.ndarray, "z y x"]) -> tuple[Int64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    """Flat index of the first voxel and label of each stretch of one label along x, background included."""
    flat = np.ascontiguousarray(labels).reshape(-1)
    fresh = np.empty(flat.size, bool)
    np.not_equal(flat[1:], flat[:-1], out=fresh[1:])
    fresh[:: labels.shape[2]] = True
    begin = np.flatnonzero(fresh)
    return begin, flat[begin].astype(np.int64)


def runs_of(labels: UInt8[np.ndarray, "z y x"]) -> Runs:
    """Find the runs and 26-connected components of every non-zero label.

    Raises:
        Nothing: an all-zero volume has no runs.
    """
    return runs_between(labels.shape, *stretches_of(labels))


def runs_between(shape_zyx: tuple[int, ...], begin: Int64[np.ndarray, " n"], label: Int64[np.ndarray, " n"]) -> Runs:
    """Find the runs of a volume whose stretches are known."""
    depth, height, width = shape_zyx
    end = np.append(begin[1:], depth * height * width)
    kept = label > 0
    return _runs((depth, height, width), begin[kept], end[kept], label[kept])


def runs_at(shape_zyx: tuple[int, ...], marked: Int64[np.ndarray, " n"], values: UInt8[np.ndarray, " n"]) -> Runs:
    """Find the runs of a volume that is zero but at a few voxels, given by flat index in order and non-zero label."""
    depth, height, width = shape_zyx
    first = np.ones(len(marked), bool)
    first[1:] = (np.diff(marked) > 1) | (values[1:] != values[:-1]) | (marked[1:] % width == 0)
    at = np.flatnonzero(first)
    last = np.append(at[1:], len(marked))[: len(at)] - 1
    return _runs((depth, height, width), marked[at], marked[last] + 1, values[at].astype(np.int64))


def _runs(shape: tuple[int, int, int], begin: np.ndarray, end: np.ndarray, label: np.ndarray) -> Runs:
    row = begin // shape[2]
    start, stop = begin - row * shape[2], end - row * shape[2]
    return Runs(shape, label, row, start, stop, _components(shape, label, row, start, stop))


def _components(
    shape: tuple[int, int, int], label: np.ndarray, row: np.ndarray, start: np.ndarray, stop: np.ndarray
) -> np.ndarray:
    """Number the components of runs sorted by row and start."""
    depth, height, width = shape
    whole: Any = np.int32 if depth * height * (width + 2) < 2**31 else np.int64  # half the memory where it fits
    label, row, start, stop = (np.asarray(values, whole) for values in (label, row, start, stop))
    pairs = [_touching(row, start, stop)]
    first, last = row * (width + 2) + start + 1, row * (width + 2) + stop
    y, z = row % height, row // height
    for dz, dy in _FORWARD:
        source = np.flatnonzero((y + dy >= 0) & (y + dy < height) & (z + dz < depth)).astype(whole)
        shift = (dz * height + dy) * (width + 2)
        low = np.searchsorted(last, first[source] + (shift - 1), "left").astype(whole)
        high = np.searchsorted(first, last[source] + (shift + 1), "right").astype(whole)
        count = np.maximum(high - low, 0)
        left = np.repeat(source, count)
        begin = low - np.cumsum(count, dtype=whole) + count
        right = np.arange(len(left), dtype=whole) + np.repeat(begin, count)
        pairs.append((left, right))
    joined = [(left[same], right[same]) for left, right in pairs for same in (label[left] == label[right],)]
    left, right = (np.concatenate(side) for side in zip(*joined, strict=True))
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(len(row), len(row)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _touching(row: np.ndarray, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs that follow each other in one row without a gap."""
    left = np.flatnonzero((row[1:] == row[:-1]) & (start[1:] == stop[:-1]))
    return left, left + 1
