"""A coarse CT on a finer grid whose masks are known: borders as sharp as the masks, each structure at its own HU.

A voxel of a coarse CT mixes the structures in it. Their mean HU are found by least squares over all voxels, given the share of
each (the geometric transfer matrix of partial volume correction in PET, Rousset et al. 1998); what they leave unexplained is
interpolated, and added to the mean of each fine voxel's structure.
"""

import math
from itertools import pairwise

import numpy as np
from jaxtyping import Float32, Float64, Integer
from scipy import sparse

from factory.engines.guidegen.resampling import nearest_labels, resampled_ct
from manifests.geometry import Grid

__all__ = ["sharpened_ct"]

_MOST_POINTS = 4
"""Points along a side of a coarse voxel, at most."""

_SEEN = (0.02, 0.98)
"""Quantiles of the voxels where a structure is, between which its mean is kept."""
_TRUST = 0.5
"""Voxels for which the plain mean of a structure's own voxels counts: the smallest hold too little to tell apart."""


def sharpened_ct(
    ct_hu: Float32[np.ndarray, "z y x"],
    grid: Grid,
    labels: Integer[np.ndarray, "zt yt xt"],
    to: Grid,
) -> Float32[np.ndarray, "zt yt xt"]:
    """CT on a finer grid.

    Args:
        ct_hu: of the coarse grid.
        grid: the coarse grid.
        labels: of the structures on `to`, from 0, each with a mean HU of its own.
        to: the finer grid.

    Returns:
        CT in HU on `to`.
    """
    if to == grid:
        return ct_hu
    values, index = np.unique(labels, return_inverse=True)
    index = index.reshape(labels.shape)
    share = _shares(nearest_labels(index, to, grid, _points(to, grid)), len(values))
    observed = ct_hu.ravel().astype(np.float64)
    mean = _means(share, observed)
    unexplained = (observed - share @ mean).reshape(ct_hu.shape).astype(np.float32)
    return mean[index].astype(np.float32) + resampled_ct(unexplained, grid, to)


def _points(fine: Grid, coarse: Grid) -> tuple[int, int, int]:
    """How many points along z, y and x stand for a coarse voxel: one of each fine voxel in it, as far as that is few."""
    ratios = zip(coarse.spacing_mm_zyx, fine.spacing_mm_zyx, strict=True)
    z, y, x = (min(_MOST_POINTS, max(1, math.ceil(wide / step - 1e-6))) for wide, step in ratios)
    return z, y, x


def _shares(asked: Integer[np.ndarray, "points n"], count: int) -> sparse.csr_matrix:
    """Share of each label in each voxel, given labels at points of it."""
    points, voxels = asked.shape
    places = np.tile(np.arange(voxels), points)
    weights = np.full(asked.size, 1 / points)
    return sparse.csr_matrix((weights, (places, asked.ravel())), (voxels, count))


def _means(share: sparse.csr_matrix, observed: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " k"]:
    """Mean of each label, by least squares around the mean of the voxels where it is, and within what is seen there.

    An image is blurred by more than its voxels, which shares do not know: without bounds a skin would become bone.
    """
    pure = share.power(2)
    plain = (pure.T @ observed) / np.maximum(np.asarray(pure.sum(0)).ravel(), 1e-9)
    crossed = (share.T @ share).toarray()
    found = plain + np.linalg.solve(crossed + _TRUST * np.eye(len(plain)), share.T @ (observed - share @ plain))
    columns = share.tocsc()
    places = [columns.indices[a:b] for a, b in pairwise(columns.indptr)]
    bounds = [
        np.quantile(observed[voxels], _SEEN) if len(voxels) else (value, value)
        for voxels, value in zip(places, plain, strict=True)
    ]
    low, high = np.transpose(bounds)
    return np.clip(found, low, high)
