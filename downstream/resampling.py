"""Images to the spacing of a network, and its answer back to the grid of the image.

A finer image is smoothed before it is sampled more coarsely, so that its noise becomes that of
thick voxels and does not alias (Cardoso et al., MICCAI 2015: a Gaussian whose full width at half
maximum makes up the difference of the two spacings). The edges of both grids coincide at the
lower end of each axis.
"""

import numpy as np
from jaxtyping import Float32, Int16, Integer
from scipy.ndimage import gaussian_filter1d

from manifests.geometry import Grid

__all__ = ["axis_weights", "interpolated", "isotropic", "resampled", "vote"]

_FWHM_PER_SIGMA = 2.354820045  # 2 sqrt(2 ln 2)


def resampled(
    image: Int16[np.ndarray, "z y x"], grid: Grid, spacing_mm: float
) -> tuple[Float32[np.ndarray, "a b c"], Grid]:
    """Resample an image to an isotropic spacing: smoothed where that is coarser, then linear.

    Returns:
        The values and their grid; its far end is the whole voxel nearest to the image's.
    """
    values, coarse = image.astype(np.float32), isotropic(grid, spacing_mm)
    for axis, old in enumerate(grid.spacing_mm_zyx):
        if spacing_mm > old:
            sigma = np.sqrt(spacing_mm**2 - old**2) / _FWHM_PER_SIGMA / old
            values = gaussian_filter1d(values, sigma, axis=axis, mode="nearest", truncate=3.0)
        weights = axis_weights(coarse.shape_zyx[axis], spacing_mm, grid.shape_zyx[axis], old)
        values = np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)
    return np.ascontiguousarray(values), coarse


def isotropic(grid: Grid, spacing_mm: float) -> Grid:
    """The grid of another spacing with the same lower edges; its far end is the whole voxel nearest to the grid's."""
    old_zyx = grid.spacing_mm_zyx
    shape = tuple(max(1, round(n * old / spacing_mm)) for n, old in zip(grid.shape_zyx, old_zyx, strict=True))
    origin = tuple(o + (spacing_mm - old) / 2 for o, old in zip(grid.origin_mm_xyz, old_zyx[::-1], strict=True))
    return Grid(shape, (spacing_mm,) * 3, origin)  # type: ignore[arg-type]


def axis_weights(count: int, spacing: float, source_count: int, source_spacing: float) -> Float32[np.ndarray, "n m"]:
    """Linear interpolation along one axis as a matrix from source values to values at `count` centres.

    Both axes start at the same edge. A centre outside takes the value of the nearest source centre; each row sums to 1.
    """
    place = ((np.arange(count) + 0.5) * spacing / source_spacing - 0.5).clip(0, source_count - 1)
    below = np.floor(place).astype(np.int64).clip(0, max(source_count - 2, 0))
    weights = np.zeros((count, source_count), np.float32)
    rows, above = np.arange(count), np.minimum(below + 1, source_count - 1)
    np.add.at(weights, (rows, below), (1 - (place - below)).astype(np.float32))
    np.add.at(weights, (rows, above), (place - below).astype(np.float32))
    return weights


def interpolated(
    scores: Float32[np.ndarray, "labels a b c"], source: Grid, target: Grid
) -> Float32[np.ndarray, "labels z y x"]:
    """Scores on another grid with the same lower edges, interpolated linearly."""
    for axis, weights in enumerate(_between(source, target), 1):
        scores = np.moveaxis(np.tensordot(weights, scores, (1, axis)), 0, axis)
    return np.ascontiguousarray(scores)


def vote(scores: Float32[np.ndarray, "labels a b c"], coarse: Grid, fine: Grid) -> Integer[np.ndarray, "z y x"]:
    """Label of the highest score at each voxel of another grid with the same lower edges, scores interpolated linearly.

    One label after the other, so that memory holds two volumes whatever the number of labels.
    """
    weights = _between(coarse, fine)
    best = np.full(fine.shape_zyx, -np.inf, np.float32)
    label = np.zeros(fine.shape_zyx, np.uint8)
    for value, volume in enumerate(scores):
        slabs = np.tensordot(weights[0], volume, (1, 0))
        for z, slab in enumerate(slabs):
            plane = weights[1] @ slab @ weights[2].T
            better = plane > best[z]
            best[z][better] = plane[better]
            label[z][better] = value
    return label


def _between(source: Grid, target: Grid) -> list[Float32[np.ndarray, "n m"]]:
    """Interpolation along each axis from one grid to another with the same lower edges."""
    ends = zip(target.shape_zyx, target.spacing_mm_zyx, source.shape_zyx, source.spacing_mm_zyx, strict=True)
    return [axis_weights(*end) for end in ends]
