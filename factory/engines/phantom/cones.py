"""Round cones on a grid: which voxels lie inside, many cones at a time.

A round cone is the hull of two balls. Cones of like size are tested together, each in its own
small block of voxels, so that the cost is that of the voxels and not of the cones.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

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

    def inside(self, shape_zyx: tuple[int, int, int]) -> Int64[np.ndarray, " k"]:
        """Flat indices, in a grid of this shape, of all its voxels inside; a voxel in two cones stands twice."""
        size = self.count.max(axis=0)
        hit = self._hit(size)
        if (self.first < 0).any() or (self.first + size > shape_zyx).any():
            for axis, count in enumerate(size):
                index = self.first[:, axis, None] + np.arange(count)
                self._along(hit, axis, (index >= 0) & (index < shape_zyx[axis]))
        strides = np.array([shape_zyx[1] * shape_zyx[2], shape_zyx[2], 1])
        z, y, x = (np.arange(count) * stride for count, stride in zip(size, strides, strict=True))
        item, cell = np.nonzero(hit.reshape(len(hit), -1))
        offset = (z[:, None, None] + y[:, None] + x).ravel()
        return np.asarray((self.first @ strides)[item] + offset[cell], np.int64)

    @staticmethod
    def _along(hit: Bool[np.ndarray, "n z y x"], axis: int, allowed: Bool[np.ndarray, "n s"]) -> None:
        hit &= allowed.reshape([len(hit), *(-1 if i == axis else 1 for i in range(3))])

    def _hit(self, size: Int64[np.ndarray, " 3"]) -> Bool[np.ndarray, "n z y x"]:
        """Which voxels of a block of this size from the first voxel of each cone lie inside."""
        rel, run = [], []
        for axis, count in enumerate(size):
            offset = (self.step[:, axis, None] * np.arange(count) - self.start[:, axis, None]).astype(np.float32)
            rel.append(offset.reshape([len(offset), *(-1 if i == axis else 1 for i in range(3))]))
            run.append(self._column(self.run[:, axis]))
        square = rel[0] ** 2 + rel[1] ** 2 + rel[2] ** 2
        dot = rel[0] * run[0] + rel[1] * run[1] + rel[2] * run[2]
        length = self._column((self.run**2).sum(axis=1) + 1e-9)
        along = dot / length
        np.clip(along, 0, 1, out=along)
        radius = along * self._column(self.growth)
        radius += self._column(self.radius)
        radius *= radius
        # squared distance to the nearest point of the axis: |p|^2 + t (t |run|^2 - 2 p.run)
        dot *= 2
        reach = along * length
        reach -= dot
        reach *= along
        reach += square
        return np.asarray(reach < radius)

    @staticmethod
    def _column(values: Float64[np.ndarray, " n"]) -> Float32[np.ndarray, "n 1 1 1"]:
        return values.astype(np.float32)[:, None, None, None]
