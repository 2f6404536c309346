"""A statistic of two samples of cases: its value, how far it is known, and what equal populations would give.

- The interval is the value plus and minus 1.96 standard deviations over bootstrap samples, cases of both drawn again
  (Efron & Tibshirani 1993, chapter 13). Distances between samples are too large by chance, and those between resamples are
  so once more: percentiles of these may lie wholly above the value, which says nothing of it.
- The null value is the mean over random relabellings of the pooled cases, at the same sizes: what the statistic gives
  for two samples of one population. The p value is the share of relabellings that reach the value (Phipson & Smyth 2010).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

__all__ = ["Draws", "Estimate", "Statistic", "estimate", "normal_interval"]

Statistic = Callable[[Float64[np.ndarray, "n d"], Float64[np.ndarray, "m d"]], float]
"""Takes the rows of two samples, the reference first."""


@dataclass(frozen=True, slots=True)
class Draws:
    """Number and seed of the resamples, relabellings included."""

    resamples: int = 200
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """A statistic of two samples.

    Attributes:
        value: of the samples as they are.
        low, high: 95 % interval over cases.
        null: mean value of two samples of one population.
        p: share of relabellings with a value at least as far from 0.
    """

    value: float
    low: float
    high: float
    null: float
    p: float


def estimate(
    first: Float64[np.ndarray, "n d"],
    second: Float64[np.ndarray, "m d"],
    statistic: Statistic,
    draws: Draws,
    *,
    distance: bool = True,
) -> Estimate:
    """Estimate a statistic of two samples, a row for each case.

    Args:
        first: the reference.
        second: what is compared with it.
        statistic: of the two.
        draws: how often and from which seed.
        distance: whether the statistic is never below 0; its interval is then cut there.
    """
    rng = np.random.default_rng(draws.seed)
    pooled, n, m = np.concatenate([first, second]), len(first), len(second)
    value = statistic(first, second)
    again, relabelled = np.empty((2, draws.resamples))
    for draw in range(draws.resamples):
        again[draw] = statistic(first[rng.integers(0, n, n)], second[rng.integers(0, m, m)])
        order = rng.permutation(n + m)
        relabelled[draw] = statistic(pooled[order[:n]], pooled[order[n:]])
    low, high = normal_interval(value, again, floor=0.0 if distance else -np.inf)
    reached = int(np.count_nonzero(np.abs(relabelled) >= abs(value) * (1 - 1e-12)))
    return Estimate(value, low, high, float(relabelled.mean()), (reached + 1) / (draws.resamples + 1))


def normal_interval(value: float, again: Float64[np.ndarray, "resamples"], *, floor: float) -> tuple[float, float]:
    """Value plus and minus 1.96 standard deviations of its resamples, not below the floor."""
    reach = 1.96 * float(again.std())
    return max(value - reach, floor), value + reach
