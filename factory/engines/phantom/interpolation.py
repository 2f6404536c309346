"""Linear interpolation between lattice and grid, axis by axis.

The points of a box are the product of three axes, so each axis needs one pair of neighbours and
one weight for each of its points, and the last pass, which is the large one, runs plane by plane
in the cache. Every voxel is `a + (b - a) * weight` along x, then y, then z in float32, whatever
part of a box is asked for.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64

from manifests.geometry import Grid

__all__ = ["LATTICE", "Stencil", "interpolate"]

LATTICE = Grid((111, 55, 75), (6.0, 6.0, 6.0), (-219.0, -169.0, -321.0))
"""Where smooth fields are computed once per body."""

Axes = tuple[Float[np.ndarray, " z"], Float[np.ndarray, " y"], Float[np.ndarray, " x"]]
Lattice = Float32[np.ndarray, "zl yl xl"]
Volume = Float32[np.ndarray, "z y x"]
_LARGE = 3000


@dataclass(frozen=True, slots=True)
class Stencil:
    """Which values of a lattice the points of three axes lie between, and where.

    Attributes:
        low: for z, y and x: index of the lower neighbour of each point.
        weight: for z, y and x: part of the way to the upper neighbour, 0 to 1.
    """

    low: tuple[Int64[np.ndarray, " z"], Int64[np.ndarray, " y"], Int64[np.ndarray, " x"]]
    weight: tuple[Float32[np.ndarray, " z"], Float32[np.ndarray, " y"], Float32[np.ndarray, " x"]]

    @classmethod
    def of(
        cls, axes_mm: Axes, shape_zyx: tuple[int, ...], corner_mm: tuple[float, float, float], step_mm: int | float
    ) -> "Stencil":
        """Place axes on a lattice; points outside it take its border values.

        Args:
            axes_mm: positions along z, y and x.
            shape_zyx: values of the lattice; at least two along each axis.
            corner_mm: position (z, y, x) of its first value.
            step_mm: distance between its values.
        """
        lows, weights = [], []
        for points, size, corner in zip(axes_mm, shape_zyx, corner_mm, strict=True):
            place = np.clip((np.asarray(points) - corner) / step_mm, 0, size - 1)
            low = np.minimum(place.astype(np.int64), size - 2)
            lows.append(low)
            weights.append((place - low).astype(np.float32))
        return cls((lows[0], lows[1], lows[2]), (weights[0], weights[1], weights[2]))

    def part(self, box: tuple[slice, ...]) -> "Stencil":
        """The stencil of some of the points."""
        z, y, x = box
        return Stencil(
            (self.low[0][z], self.low[1][y], self.low[2][x]), (self.weight[0][z], self.weight[1][y], self.weight[2][x])
        )

    def touching(self, values: Bool[np.ndarray, "zl yl xl"]) -> tuple[slice, slice, slice] | None:
        """Smallest box of points that holds all that lie between marked values; None where none is marked."""
        found = []
        for axis in range(3):
            marked = np.flatnonzero(values.any(axis=tuple({0, 1, 2} - {axis})))
            if not len(marked):
                return None
            low = self.low[axis]  # ascending
            first = int(np.searchsorted(low, marked[0] - 1, "left"))
            found.append(slice(first, int(np.searchsorted(low, marked[-1], "right"))))
        if any(part.start >= part.stop for part in found):
            return None
        return found[0], found[1], found[2]

    def apply(self, field: Lattice) -> Volume:
        """Interpolate a field of the lattice at the points."""
        corner = [int(low.min()) for low in self.low]
        field = field[tuple(slice(c, int(low.max()) + 2) for c, low in zip(corner, self.low, strict=True))]
        for axis in (2, 1, 0):
            field = _stretch(field, axis, self.low[axis] - corner[axis], self.weight[axis])
        return field


def interpolate(
    field: Lattice,
    axes_mm: Axes,
    corner_mm: tuple[float, float, float] = LATTICE.origin_mm_xyz[::-1],
    step_mm: int | float = LATTICE.spacing_mm_zyx[0],
) -> Volume:
    """Interpolate a field linearly at the points of three world axes (z, y, x) in mm; arguments as in `Stencil.of`."""
    return Stencil.of(axes_mm, field.shape, corner_mm, step_mm).apply(field)


def _stretch(field: Lattice, axis: int, low: Int64[np.ndarray, " n"], weight: Float32[np.ndarray, " n"]) -> Volume:
    """Interpolate along one axis."""
    if not weight.any():  # the points are those of the lattice
        return np.take(field, low, axis=axis)
    if axis == 0 and field[0].size > _LARGE:
        return _planes(field, low, weight)
    start, step = np.take(field, low, axis=axis), np.take(field, low + 1, axis=axis)
    step -= start
    step *= weight.reshape([-1 if i == axis else 1 for i in range(3)])
    start += step
    return start


def _planes(field: Lattice, low: Int64[np.ndarray, " n"], weight: Float32[np.ndarray, " n"]) -> Volume:
    """The same along z, one plane at a time."""
    result = np.empty((len(low), *field.shape[1:]), np.float32)
    step = np.diff(field, axis=0)
    for plane, at, part in zip(result, low.tolist(), weight, strict=True):
        np.multiply(step[at], part, out=plane)
        plane += field[at]
    return result
