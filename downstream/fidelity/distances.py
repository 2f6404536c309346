"""Distances between two samples of cases, each a statistic for `samples.py`: rows are cases, the reference first."""

import numpy as np
from jaxtyping import Float64

from downstream.fidelity.frechet import Normal, frechet_distance
from downstream.fidelity.portrait import HU_WIDTH

__all__ = ["decibels", "frechet_of_features", "histogram_wasserstein_hu", "mean_difference", "relative_wasserstein"]

Rows = Float64[np.ndarray, "_ d"]


def histogram_wasserstein_hu(reference: Rows, other: Rows) -> float:
    """Wasserstein-1 distance in HU between the mean histograms: how far the average voxel's HU must move.

    In one dimension it is the area between the two distribution functions (Vallender 1974,
    doi:10.1137/1118101). Each case weighs the same, whatever its volume.
    """
    gap = np.cumsum(other.mean(0) - reference.mean(0))
    return float(np.abs(gap).sum() * HU_WIDTH)


def relative_wasserstein(reference: Rows, other: Rows) -> float:
    """Wasserstein-1 distance between two samples of one number, over the mean of the reference."""
    points = np.sort(np.concatenate([reference, other])[:, 0])
    below = [
        np.searchsorted(np.sort(sample[:, 0]), points[:-1], "right") / len(sample) for sample in (reference, other)
    ]
    return float((np.abs(below[0] - below[1]) * np.diff(points)).sum() / abs(reference.mean()))


def decibels(reference: Rows, other: Rows) -> float:
    """Mean over frequencies of the absolute difference of two mean power spectra, in decibels."""
    return float(np.abs(10 * np.log10(other.mean(0) / reference.mean(0))).mean())


def mean_difference(reference: Rows, other: Rows) -> float:
    """Mean of the other sample minus that of the reference."""
    return float(other.mean() - reference.mean())


def frechet_of_features(reference: Rows, other: Rows, *, shrink: bool = False) -> float:
    """Fréchet distance of features in units of the reference's standard deviations; what does not vary there is left out.

    Raises:
        InvalidValueError: too few cases for a covariance.
    """
    mean, sd = reference.mean(0), reference.std(0)
    varies = sd > 1e-9 * np.maximum(1.0, np.abs(mean))
    normals = [Normal.of((rows - mean)[:, varies] / sd[varies], shrink=shrink) for rows in (reference, other)]
    return frechet_distance(*normals)
