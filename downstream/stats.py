"""Intervals, paired tests and effect sizes for scores of cases.

The case is the unit: one value per case goes in, several seeds of one case are averaged first
(`results.py` does). A NaN stands for "nothing to score" and is left out; an infinity is refused, because no mean
holds it. Every draw comes from the seed given, so that the same values give the same figures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt

import numpy as np
from jaxtyping import Float64
from scipy.special import ndtr, ndtri

from manifests.errors import InvalidValueError

__all__ = [
    "RESAMPLES",
    "Comparison",
    "Interval",
    "Values",
    "bootstrap_mean",
    "cliffs_delta",
    "compare_paired",
    "holm",
    "sign_flip_p",
]

Values = Sequence[float] | Float64[np.ndarray, "n"]
"""One value per case."""

RESAMPLES = 10_000
EXACT_PAIRS = 14  # up to here all 2^n signs are tried
BLOCK = 1_000  # resamples held in memory at once


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its bootstrap interval; the bounds are NaN below two values, the mean without any.

    Attributes:
        mean: over the values that are not NaN.
        low, high: bounds of the interval.
        n: number of values behind it.
    """

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Difference of two arms over the cases that both have.

    Attributes:
        difference: mean of first minus second with its interval over cases.
        p: two-sided, by flipping signs; NaN without a pair.
        effect: Cohen's d_z, mean over standard deviation of the differences; NaN below two pairs or without spread.
        wins, losses: pairs where the first is larger, smaller.
    """

    difference: Interval
    p: float
    effect: float
    wins: int
    losses: int


def bootstrap_mean(values: Values, *, seed: int, resamples: int = RESAMPLES, level: float = 0.95) -> Interval:
    """Estimate a mean with its BCa bootstrap interval over cases.

    Bias-corrected and accelerated, Efron (1987, doi:10.1080/01621459.1987.10478410). Below about 10 values
    any bootstrap interval is too narrow; `n` says when that is so.

    Args:
        values: one per case; NaN are left out.
        seed: of the draws.
        resamples: number of bootstrap samples.
        level: coverage asked for, in (0, 1).

    Raises:
        InvalidValueError: an infinite value, no resamples, a level outside (0, 1).
    """
    if resamples < 1 or not 0 < level < 1:
        raise InvalidValueError(
            "bootstrap",
            got=f"resamples {resamples}, level {level}",
            need="at least one resample and a level between 0 and 1",
            do="10,000 and 0.95 are usual.",
        )
    kept = _scored(values)
    if kept.size < 2:
        return Interval(float(kept[0]) if kept.size else nan, nan, nan, kept.size)
    mean = float(kept.mean())
    draws = np.sort(_resampled_means(kept, np.random.default_rng(seed), resamples))
    low, high = _bca_bounds(kept, draws, level) if np.ptp(kept) > 0 else (mean, mean)
    return Interval(mean, low, high, kept.size)


def compare_paired(first: Values, second: Values, *, seed: int, resamples: int = RESAMPLES) -> Comparison:
    """Compare two arms on the same cases; pairs with a NaN are left out.

    Raises:
        InvalidValueError: different numbers of values, or an infinite one.
    """
    if len(first) != len(second):
        raise InvalidValueError(
            "paired comparison",
            got=f"{len(first)} and {len(second)} values",
            need="one value of each arm per case, in one order",
            do="Compare the cases that both arms have.",
        )
    ours, theirs = np.asarray(first, np.float64), np.asarray(second, np.float64)
    both = ~(np.isnan(ours) | np.isnan(theirs))
    differences = _scored(ours[both]) - _scored(theirs[both])
    return Comparison(
        difference=bootstrap_mean(differences, seed=seed, resamples=resamples),
        p=sign_flip_p(differences, seed=seed, resamples=resamples),
        effect=_cohens_dz(differences),
        wins=int((differences > 0).sum()),
        losses=int((differences < 0).sum()),
    )


def sign_flip_p(differences: Values, *, seed: int, resamples: int = RESAMPLES) -> float:
    """Test that paired differences are as often positive as negative; two-sided p value in (0, 1].

    Fisher's randomisation test of the mean: all 2^n signs up to 14 pairs, random ones above, where the observed
    signs count as one of the draws (Phipson & Smyth 2010, doi:10.2202/1544-6115.1585). NaN without a pair.
    """
    kept = _scored(differences)
    if not kept.size:
        return nan
    observed = abs(kept.sum()) * (1 - 1e-12)  # a sum in another order must not fall short by rounding
    if kept.size <= EXACT_PAIRS:
        signs = 1.0 - 2.0 * ((np.arange(2**kept.size)[:, None] >> np.arange(kept.size)) & 1)
        return float((abs(signs @ kept) >= observed).mean())
    rng, hits = np.random.default_rng(seed), 0
    for start in range(0, resamples, BLOCK):
        rows = min(BLOCK, resamples - start)
        signs = 1.0 - 2.0 * rng.integers(0, 2, (rows, kept.size))
        hits += int((abs(signs @ kept) >= observed).sum())
    return (hits + 1) / (resamples + 1)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust p values of a family of tests so that the chance of any false finding stays below the level.

    Holm (1979): the i-th smallest of m is multiplied by m - i + 1 and is never below the one before it. NaN
    is no test: it stays NaN and does not count in m. The order of the names is kept.
    """
    tests = sorted((p, name) for name, p in p_values.items() if not isnan(p))
    adjusted, floor = dict.fromkeys(p_values, nan), 0.0
    for place, (p, name) in enumerate(tests):
        floor = max(floor, min(1.0, p * (len(tests) - place)))
        adjusted[name] = floor
    return adjusted


def cliffs_delta(first: Values, second: Values) -> float:
    """Effect size of two independent groups: P(first > second) - P(first < second), in [-1, 1]; NaN if one is empty."""
    ours, theirs = _scored(first), np.sort(_scored(second))
    if not ours.size or not theirs.size:
        return nan
    below = np.searchsorted(theirs, ours, "left").sum()
    above = (theirs.size - np.searchsorted(theirs, ours, "right")).sum()
    return float((below - above) / (ours.size * theirs.size))


def _scored(values: Values) -> Float64[np.ndarray, "m"]:
    kept = np.asarray(values, np.float64)
    kept = kept[~np.isnan(kept)]
    if np.isinf(kept).any():
        raise InvalidValueError(
            "values to average",
            got=f"{int(np.isinf(kept).sum())} infinite of {kept.size}",
            need="finite scores",
            do="Relative volume errors of false alarms are infinite: average errors in ml, or take the median.",
        )
    return kept


def _resampled_means(
    values: Float64[np.ndarray, "n"], rng: np.random.Generator, resamples: int
) -> Float64[np.ndarray, "resamples"]:
    blocks = [min(BLOCK, resamples - start) for start in range(0, resamples, BLOCK)]
    return np.concatenate([values[rng.integers(0, values.size, (rows, values.size))].mean(1) for rows in blocks])


def _bca_bounds(
    values: Float64[np.ndarray, "n"], draws: Float64[np.ndarray, "resamples"], level: float
) -> tuple[float, float]:
    """Bounds of the sorted draws at the percentiles that bias and skewness shift."""
    mean = values.mean()
    below = (np.count_nonzero(draws < mean) + 0.5 * np.count_nonzero(draws == mean)) / draws.size
    bias = ndtri(np.clip(below, 0.5 / draws.size, 1 - 0.5 / draws.size))
    spread = values - mean
    spread /= np.abs(spread).max()  # skewness has no scale; powers of tiny numbers would be 0
    acceleration = (spread**3).sum() / (6 * (spread**2).sum() ** 1.5)  # of the jackknife means
    tail = ndtri((1 - level) / 2)
    shifted = [bias + (bias + z) / (1 - acceleration * (bias + z)) for z in (tail, -tail)]
    low, high = np.quantile(draws, ndtr(np.array(shifted)))
    return float(low), float(high)


def _cohens_dz(differences: Float64[np.ndarray, "n"]) -> float:
    if differences.size < 2:
        return nan
    mean = differences.mean()
    sd = sqrt(((differences - mean) ** 2).sum() / (differences.size - 1))
    return float(mean / sd) if sd > 0 else nan
