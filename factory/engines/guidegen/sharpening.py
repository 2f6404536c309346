"""A coarse CT on a finer grid whose masks are known: borders as sharp as the masks, each structure at its own HU.

A voxel of a coarse CT mixes the structures in it. Their mean HU are found by least squares over all voxels, given the share of
each (the geometric transfer matrix of partial volume correction in PET, Rousset et al. 1998); what they leave unexplained is
interpolated, and added to the mean of each fine voxel's structure.
"""

import numpy as np
from jaxtyping import Float32, Float64, Integer
from scipy import sparse

from factory.engines.guidegen.resampling import nearest_labels, resampled_ct
from manifests.geometry import Grid

__all__ = ["sharpened_ct"]

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
    asked = nearest_labels(index, to, grid)
    share = _shares(asked, len(values))
    observed = ct_hu.ravel().astype(np.float64)
    mean = _means(share, observed)
    unexplained = (observed - share @ mean).reshape(ct_hu.shape).astype(np.float32)
    return mean[index].astype(np.float32) + resampled_ct(unexplained, grid, to)


def _shares(asked: Integer[np.ndarray, "27 n"], count: int) -> sparse.csr_matrix:
    """Share of each label in each voxel, given labels at points of it."""
    points, voxels = asked.shape
    places = np.tile(np.arange(voxels), points)
    weights = np.full(asked.size, 1 / points)
    return sparse.csr_matrix((weights, (places, asked.ravel())), (voxels, count))


def _means(share: sparse.csr_matrix, observed: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " k"]:
    """Mean of each label, by least squares around the mean of the voxels where it is."""
    pure = share.power(2)
    plain = (pure.T @ observed) / np.maximum(np.asarray(pure.sum(0)).ravel(), 1e-9)
    crossed = (share.T @ share).toarray()
    return plain + np.linalg.solve(crossed + _TRUST * np.eye(len(plain)), share.T @ (observed - share @ plain))
