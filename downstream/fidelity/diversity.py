"""Diversity of a dataset: how alike two of its cases are, by multi-scale structural similarity in three dimensions.

MS-SSIM (Wang, Simoncelli & Bovik 2003, doi:10.1109/ACSSC.2003.1292216) with uniform windows of 7 voxels, on the thumbnails of the cases in a
soft-tissue window: in a wide one, whatever differs between organs is lost in the constants. The published weights are for five scales; a thumbnail has room for the first three, renormalised. Contrast
and structure terms below 0 count as 0. A mean over pairs above that of real scans means too little variety
(Odena, Olah & Shlens 2017, arXiv:1610.09585).
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Float32, Float64, Int16
from scipy.ndimage import uniform_filter

from downstream.stats import Interval

__all__ = ["PairSimilarity", "ms_ssim", "pair_similarities", "resampled_pairs"]

WEIGHTS = np.array([0.0448, 0.2856, 0.3001]) / 0.6305
WINDOW = 7
WINDOW_HU = (-160.0, 240.0)
RANGE = 1.0
C1, C2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2

Volume = Float32[np.ndarray, "z y x"]


@dataclass(frozen=True, slots=True)
class PairSimilarity:
    """MS-SSIM of all pairs of cases: symmetric, NaN on the diagonal."""

    matrix: Float64[np.ndarray, "n n"]

    @property
    def mean(self) -> float:
        """Over all pairs."""
        return float(np.nanmean(self.matrix))


@dataclass(frozen=True, slots=True)
class _Scale:
    """A volume at one scale with its local mean and variance."""

    values: Volume
    mean: Volume
    variance: Volume


def ms_ssim(first: Int16[np.ndarray, "z y x"], second: Int16[np.ndarray, "z y x"]) -> float:
    """Similarity of two CTs of one shape, in [0, 1]; 1 for equal ones."""
    return _similarity(_scales(first), _scales(second))


def pair_similarities(volumes: list[Int16[np.ndarray, "z y x"]]) -> PairSimilarity:
    """Compare all pairs of at least two volumes."""
    prepared = [_scales(volume) for volume in volumes]
    matrix = np.full((len(volumes),) * 2, np.nan)
    for i, j in combinations(range(len(volumes)), 2):
        matrix[i, j] = matrix[j, i] = _similarity(prepared[i], prepared[j])
    return PairSimilarity(matrix)


def resampled_pairs(
    reference: PairSimilarity, other: PairSimilarity, *, seed: int, resamples: int
) -> tuple[Interval, Interval, Interval]:
    """Means over pairs of two datasets and their difference, other minus reference, intervals over cases.

    Cases are drawn again, not pairs; a case drawn twice makes no pair with itself.
    """
    rng = np.random.default_rng(seed)
    means = np.array([[_resampled_mean(part.matrix, rng) for part in (reference, other)] for _ in range(resamples)])
    values = (reference.mean, other.mean, other.mean - reference.mean)
    draws = (means[:, 0], means[:, 1], means[:, 1] - means[:, 0])
    cases = (len(reference.matrix), len(other.matrix), len(other.matrix))
    bounds = [np.quantile(column, [0.025, 0.975]) for column in draws]
    first, second, difference = (
        Interval(value, float(low), float(high), n) for value, (low, high), n in zip(values, bounds, cases, strict=True)
    )
    return first, second, difference


def _resampled_mean(matrix: Float64[np.ndarray, "n n"], rng: np.random.Generator) -> float:
    while True:
        drawn = rng.integers(0, len(matrix), len(matrix))
        if np.ptp(drawn):  # at least two different cases
            return float(np.nanmean(matrix[np.ix_(drawn, drawn)]))


def _scales(ct: Int16[np.ndarray, "z y x"]) -> list[_Scale]:
    low, high = WINDOW_HU
    values = ((ct - low) / (high - low)).clip(0, 1).astype(np.float32)
    found = []
    for _ in WEIGHTS:
        mean = uniform_filter(values, WINDOW)
        found.append(_Scale(values, mean, uniform_filter(values**2, WINDOW) - mean**2))
        values = _halved(values)
    return found


def _halved(values: Volume) -> Float32[np.ndarray, "a b c"]:
    """Mean of blocks of 2 x 2 x 2; an odd last plane is dropped."""
    z, y, x = (n // 2 for n in values.shape)
    return np.asarray(values[: 2 * z, : 2 * y, : 2 * x].reshape(z, 2, y, 2, x, 2).mean((1, 3, 5)))


def _similarity(first: list[_Scale], second: list[_Scale]) -> float:
    total = 1.0
    for number, (a, b, weight) in enumerate(zip(first, second, WEIGHTS, strict=True)):
        covariance = uniform_filter(a.values * b.values, WINDOW) - a.mean * b.mean
        term = (2 * covariance + C2) / (a.variance + b.variance + C2)
        if number == len(WEIGHTS) - 1:  # luminance at the coarsest scale alone
            term = term * (2 * a.mean * b.mean + C1) / (a.mean**2 + b.mean**2 + C1)
        total *= max(float(term.mean()), 0.0) ** float(weight)
    return total
