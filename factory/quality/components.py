"""Connected components of all labels of a volume in one pass, over runs instead of voxels.

A run is a longest stretch of one label along x. Runs of neighbouring rows are joined where they
overlap or touch diagonally (26-neighbourhood), and the graph of runs is split into components. A
torso has about a hundred voxels for each run, and noise costs only its own runs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, UInt8
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["Runs", "runs_of"]

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


def runs_of(labels: UInt8[np.ndarray, "z y x"]) -> Runs:
    """Find the runs and 26-connected components of every non-zero label.

    Raises:
        Nothing: an all-zero volume has no runs.
    """
    depth, height, width = labels.shape
    flat = np.ascontiguousarray(labels).reshape(-1)
    fresh = np.empty(flat.size, bool)
    np.not_equal(flat[1:], flat[:-1], out=fresh[1:])
    fresh[::width] = True
    begin = np.flatnonzero(fresh)
    end = np.append(begin[1:], flat.size)
    label = flat[begin].astype(np.int64)
    begin, end, label = begin[label > 0], end[label > 0], label[label > 0]
    row = begin // width
    start, stop = begin - row * width, end - row * width
    shape = (depth, height, width)
    return Runs(shape, label, row, start, stop, _components(shape, label, row, start, stop))


def _components(
    shape: tuple[int, int, int], label: np.ndarray, row: np.ndarray, start: np.ndarray, stop: np.ndarray
) -> np.ndarray:
    """Number the components of runs sorted by row and start."""
    depth, height, width = shape
    pairs = [_touching(row, start, stop)]
    first, last = row * (width + 2) + start + 1, row * (width + 2) + stop
    y, z = row % height, row // height
    for dz, dy in _FORWARD:
        source = np.flatnonzero((y + dy >= 0) & (y + dy < height) & (z + dz < depth))
        shift = (dz * height + dy) * (width + 2)
        low = np.searchsorted(last, first[source] + shift - 1, "left")
        high = np.searchsorted(first, last[source] + shift + 1, "right")
        count = np.maximum(high - low, 0)
        left = np.repeat(source, count)
        right = np.arange(count.sum()) + np.repeat(low - np.cumsum(count) + count, count)
        pairs.append((left, right))
    joined = [(left[same], right[same]) for left, right in pairs for same in (label[left] == label[right],)]
    left, right = (np.concatenate(side) for side in zip(*joined, strict=True))
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(len(row), len(row)))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _touching(row: np.ndarray, start: np.ndarray, stop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Runs that follow each other in one row without a gap."""
    left = np.flatnonzero((row[1:] == row[:-1]) & (start[1:] == stop[:-1]))
    return left, left + 1
