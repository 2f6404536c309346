"""Correlated random fields and distances to boundaries, cheap enough for every case.

A field is white noise on a coarse lattice, interpolated by cubic B-splines; rows of the
interpolation are scaled so that every voxel has unit variance. Cost is a few additions per voxel,
whatever the correlation length. Distances are read off a box average of the mask: for a flat
surface the share s of the box inside the mask means a depth of (2 s - 1) times the half-width.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage, sparse

__all__ = ["depth_mm", "filaments", "sheets", "smooth_field", "smoothstep", "spline"]


def smooth_field(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], scale_mm: float, rng: np.random.Generator
) -> Float32[np.ndarray, "z y x"]:
    """Draw a Gaussian random field of zero mean and unit variance.

    Args:
        shape: voxels along z, y, x.
        spacing_mm: voxel spacing along z, y, x.
        scale_mm: distance of the lattice nodes; the autocorrelation falls to one half at about
            0.9 of it. Below one voxel the lattice is the voxel grid itself.
        rng: source of randomness.
    """
    steps = [max(scale_mm / spacing, 1.0) for spacing in spacing_mm]
    z, y, x = (spline(n, step, rng.random()) for n, step in zip(shape, steps, strict=True))
    # x first and z last, so that the largest product runs over contiguous planes
    field = rng.standard_normal((x.shape[1], y.shape[1], z.shape[1]), dtype=np.float32)
    for matrix, place in ((x, 2), (y, 1), (z, 0)):
        flat = matrix @ np.ascontiguousarray(field).reshape(field.shape[0], -1)
        field = np.moveaxis(flat.reshape(-1, *field.shape[1:]), 0, place)
    return np.ascontiguousarray(field)


def spline(count: int, step: float, phase: float, unit: Literal["norm", "sum"] = "norm") -> sparse.csr_array:
    """Cubic B-spline interpolation of `count` samples from lattice nodes `step` samples apart.

    Node 1 lies `phase` steps before sample 0. Rows have unit norm, which keeps the variance of
    white noise, or unit sum, which keeps constants.
    """
    position = np.arange(count) / step + phase
    node = np.floor(position).astype(np.int32)
    t = (position - node).astype(np.float32)
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * t * (t * (1 - t) + 1) + 1, t**3], axis=1)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True) if unit == "norm" else 6.0
    columns = node[:, None] + np.arange(4, dtype=np.int32)
    rows = np.arange(0, 4 * count + 1, 4, dtype=np.int32)
    return sparse.csr_array((weights.ravel(), columns.ravel(), rows), shape=(count, int(node[-1]) + 4))


def sheets(
    field: Float32[np.ndarray, "*n"], scale_mm: float, thickness_mm: float, voxel_mm: float
) -> Float32[np.ndarray, "*n"]:
    """Share of each voxel filled by thin sheets: the zero level of a field of that scale.

    The slope of the field is about 1/scale per mm, which turns a thickness into a range of
    values; sheets thinner than a voxel become a voxel wide and proportionally fainter.
    """
    width = max(thickness_mm, voxel_mm) / 2
    share = np.float32(min(1.0, thickness_mm / voxel_mm))
    filled: Float32[np.ndarray, "*n"] = share * np.exp(-np.square(field * np.float32(scale_mm / width)))
    return filled


def filaments(
    pair: tuple[Float32[np.ndarray, "*n"], Float32[np.ndarray, "*n"]],
    scale_mm: float,
    diameter_mm: float,
    voxel_mm: float,
) -> Float32[np.ndarray, "*n"]:
    """Share of each voxel filled by thin winding tubes: where two fields are zero at once."""
    width = max(diameter_mm, voxel_mm) / 2
    share = np.float32(min(1.0, (diameter_mm / voxel_mm) ** 2))
    squared = np.square(pair[0]) + np.square(pair[1])
    filled: Float32[np.ndarray, "*n"] = share * np.exp(squared * np.float32(-((scale_mm / width) ** 2)))
    return filled


def depth_mm(
    mask: Bool[np.ndarray, "z y x"], spacing_mm: tuple[float, float, float], reach_mm: float
) -> Float32[np.ndarray, "z y x"]:
    """Approximate depth below the surface of a mask, in mm, saturating at about `reach_mm`.

    Negative outside. Beyond the array counts as outside.
    """
    sizes = [2 * max(round(reach_mm / spacing), 1) + 1 for spacing in spacing_mm]
    share = ndimage.uniform_filter(mask.astype(np.float32), sizes, mode="constant")
    half = np.float32(min(size * spacing for size, spacing in zip(sizes, spacing_mm, strict=True)) / 2)
    depth: Float32[np.ndarray, "z y x"] = (2 * share - 1) * half
    return depth


def smoothstep(values: Float32[np.ndarray, "*n"], low: float, high: float) -> Float32[np.ndarray, "*n"]:
    """Rise smoothly from 0 at `low` to 1 at `high`."""
    t: Float32[np.ndarray, "*n"] = np.clip((values - np.float32(low)) / np.float32(high - low), 0, 1)
    t *= t * (3 - 2 * t)
    return t
