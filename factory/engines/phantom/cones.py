"""Round cones on a grid: which voxels lie inside, many cones at a time.

A round cone is the hull of two balls. Cones of like size are tested together, each in its own
small block of voxels, so that the cost is that of the voxels and not of the cones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, Int64

from factory.engines.phantom.curves import Tube
from manifests.geometry import Grid

__all__ = ["Cones"]

_BATCH_VOXELS = 400_000


@dataclass(frozen=True, slots=True)
class Cones:
    """Cones in voxel blocks; lengths in mm after the squash, axes in order z, y, x.

    Attributes:
        start, run: first centre and way to the second, relative to the first voxel of the block.
        radius, growth: radius at the first centre and its change to the second.
        step: size of a voxel.
        first: index of the first voxel of each block in the grid.
        count: voxels of each block along z, y, x.
    """

    start: Float64[np.ndarray, "n 3"]
    run: Float64[np.ndarray, "n 3"]
    radius: Float64[np.ndarray, " n"]
    growth: Float64[np.ndarray, " n"]
    step: Float64[np.ndarray, "n 3"]
    first: Int64[np.ndarray, "n 3"]
    count: Int64[np.ndarray, "n 3"]

    @classmethod
    def of(cls, tubes: Sequence[Tube], grid: Grid) -> "Cones":
        """Take the cones of tubes that reach into a grid."""
        a = np.concatenate([t.points_mm[:-1] for t in tubes])[:, ::-1]
        b = np.concatenate([t.points_mm[1:] for t in tubes])[:, ::-1]
        ra = np.concatenate([t.radii_mm[:-1] for t in tubes])
        rb = np.concatenate([t.radii_mm[1:] for t in tubes])
        squash = np.concatenate([np.tile(t.squash_zyx, (len(t.points_mm) - 1, 1)) for t in tubes])
        spacing, origin = np.array(grid.spacing_mm_zyx), np.array(grid.origin_mm_xyz[::-1])
        reach = np.maximum(ra, rb)[:, None] / squash
        first = np.ceil((np.minimum(a, b) - reach - origin) / spacing).astype(np.int64)
        last = np.floor((np.maximum(a, b) + reach - origin) / spacing).astype(np.int64)
        near = ((last >= first) & (last >= 0) & (first < grid.shape_zyx)).all(axis=1)
        corner = origin + first * spacing
        fields = ((a - corner) * squash, (b - a) * squash, ra, rb - ra, spacing * squash, first, last - first + 1)
        return cls(*(field[near] for field in fields))

    def batches(self) -> Iterator["Cones"]:
        """Split into groups of like block size that fit in memory together."""
        order = np.argsort(self.count.max(axis=1), kind="stable")
        begin = 0
        while begin < len(order):
            room = int(np.prod(self.count[order[begin]].max(keepdims=True).repeat(3) + 2))
            end = min(begin + max(1, _BATCH_VOXELS // room), len(order))
            yield self._take(order[begin:end])
            begin = end

    def _take(self, index: Int64[np.ndarray, " m"]) -> "Cones":
        return Cones(
            self.start[index],
            self.run[index],
            self.radius[index],
            self.growth[index],
            self.step[index],
            self.first[index],
            self.count[index],
        )

    def inside(self) -> tuple[Int64[np.ndarray, " k"], ...]:
        """Find all voxels inside: number of the cone, then z, y, x in its block."""
        rel, run = [], []
        for axis, size in enumerate(self.count.max(axis=0)):
            shape = [-1 if i in (0, axis + 1) else 1 for i in range(4)]
            offset = self.step[:, axis, None] * np.arange(size) - self.start[:, axis, None]
            rel.append(offset.reshape([len(offset) if i == 0 else n for i, n in enumerate(shape)]).astype(np.float32))
            run.append(self.run[:, axis].astype(np.float32)[:, None, None, None])
        square = rel[0] ** 2 + rel[1] ** 2 + rel[2] ** 2
        dot = rel[0] * run[0] + rel[1] * run[1] + rel[2] * run[2]
        length = self._column((self.run**2).sum(axis=1) + 1e-9)
        along = np.clip(dot / length, 0, 1)
        radius = self._column(self.radius) + along * self._column(self.growth)
        return np.nonzero(square + along * (along * length - 2 * dot) < radius * radius)

    @staticmethod
    def _column(values: Float64[np.ndarray, " n"]) -> Float32[np.ndarray, "n 1 1 1"]:
        return values.astype(np.float32)[:, None, None, None]
