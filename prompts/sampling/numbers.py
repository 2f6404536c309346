"""Numbers of a fitted distribution: smoothed quantiles, normal scores by category, rank correlations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from prompts.sampling.tables import Number, Shift

__all__ = ["NormalScores", "fit_numbers", "off_grid", "stated_column"]

_MAX_STEPS, _SMALLEST_SD = 50, 0.15
_FINEST = 8
_QUARTERS = ndtri([0.25, 0.5, 0.75])


def stated_column(name: str) -> str:
    """Name of the category that says whether a number is stated."""
    return f"{name} stated"


def off_grid(value: float, decimals: int) -> float:
    """The nearest number with so many decimals of which the last is not 0."""
    scaled = value * 10**decimals
    whole = round(scaled)
    if whole % 10 == 0:
        whole += 1 if scaled >= whole else -1
    return float(round(whole / 10**decimals, decimals))


def _decimals(values: Float[np.ndarray, "rows"]) -> int:
    """How many decimals drawn values get: the fewest at which no value of the table has a last digit but 0."""
    for decimals in range(1, _FINEST):
        scaled = values * 10**decimals
        whole = np.round(scaled)
        if not np.any((np.abs(scaled - whole) < 1e-6) & (whole % 10 != 0)):
            return decimals
    return _FINEST


@dataclass(frozen=True, slots=True)
class NormalScores:
    """One number of the rows of a group: as quantiles, and each row's as a normal score (NaN where unstated)."""

    decimals: int
    quantiles: tuple[float, ...]
    scores: Float[np.ndarray, "rows"]

    @classmethod
    def of(cls, values: Sequence[Any], min_count: int, span: tuple[float, float]) -> "NormalScores":
        """From the values of at least `min_count` rows; None where unstated. `span` is what the schema allows."""
        from scipy.stats import rankdata  # loads slowly, and every command would wait for it

        column = np.array([np.nan if value is None else float(value) for value in values])
        stated = ~np.isnan(column)
        scores = np.full(len(column), np.nan)
        scores[stated] = ndtri((rankdata(column[stated]) - 0.5) / stated.sum())
        decimals = _decimals(column[stated])
        return cls(decimals, _quantiles(column[stated], decimals, min_count, span), scores)


def _quantiles(
    values: Float[np.ndarray, "rows"], decimals: int, min_count: int, span: tuple[float, float]
) -> tuple[float, ...]:
    """Values at equal steps of probability, each the mean of `min_count` neighbours in order.

    Tied values are spread over their unit first. The ends are means of the lowest and highest rows as well:
    nothing outside them is ever drawn.
    """
    spread = _untied(values, 10.0 ** (1 - decimals))
    n, steps = len(spread), max(1, min(_MAX_STEPS, len(spread) // min_count))
    knots = []
    for step in range(steps + 1):
        start = int(np.clip(round(n * step / steps - min_count / 2), 0, n - min_count))
        knots.append(float(spread[start : start + min_count].mean()))
    return _ascending(knots, decimals, span)


def _ascending(knots: Sequence[float], decimals: int, span: tuple[float, float]) -> tuple[float, ...]:
    """Knots off the grid, each above the one before, inside the range that the schema allows."""
    unit = 10.0**-decimals
    clean = [off_grid(max(knots[0], span[0] + 2 * unit), decimals)]
    for knot in knots[1:]:
        clean.append(off_grid(max(knot, clean[-1] + 1.6 * unit), decimals))
    limit = span[1] - 2 * unit
    for place in reversed(range(len(clean))):
        if clean[place] <= limit:
            break
        clean[place] = off_grid(limit, decimals)
        limit = clean[place] - 2.6 * unit
    return tuple(clean)


def _untied(values: Float[np.ndarray, "rows"], unit: float) -> Float[np.ndarray, "rows"]:
    ordered = np.sort(values)
    _, first, counts = np.unique(ordered, return_index=True, return_counts=True)
    inside = (np.arange(len(ordered)) - np.repeat(first, counts) + 0.5) / np.repeat(counts, counts)
    return np.asarray(ordered + (inside - 0.5) * unit)


Noise = Callable[[Mapping[str, int], str], dict[str, int]]


def fit_numbers(
    scores: Mapping[str, NormalScores], coded: Mapping[str, Sequence[str | None]], min_count: int, noise: Noise
) -> dict[str, Number]:
    """The number tables of a group.

    Args:
        scores: numbers in the order in which they are drawn.
        coded: level of each row in each categorical column; None where it was left out.
        min_count: a level with fewer rows has no scores of its own.
        noise: adds noise to counts of the place that the text names.
    """
    found, names = {}, list(scores)
    correlation = _correlations([scores[name].scores for name in names], min_count)
    for later, name in enumerate(names):

        def noisy(counts: Mapping[str, int], where: str, name: str = name) -> dict[str, int]:
            return noise(counts, f"{name}:{where}")

        by = {
            column: _shifts(scores[name].scores, levels, min_count, noisy)
            for column, levels in coded.items()
            if len({level for level in levels if level}) > 1
        }
        found[name] = Number(
            decimals=scores[name].decimals,
            quantiles=scores[name].quantiles,
            by={column: shifts for column, shifts in by.items() if shifts},
            rank_correlation={
                other: round(float(correlation[later, earlier]), 3)
                for earlier, other in enumerate(names[:later])
                if correlation[later, earlier]
            },
        )
    return found


def _shifts(
    scores: Float[np.ndarray, "rows"], levels: Sequence[str | None], min_count: int, noise: Noise
) -> dict[str, Shift]:
    column = np.array([level if level is not None else "" for level in levels])
    found = {}
    for level in sorted(set(column) - {""}):
        chosen = scores[(column == level) & ~np.isnan(scores)]
        if len(chosen) < min_count:
            continue
        counts = np.bincount(np.searchsorted(_QUARTERS, chosen, side="right"), minlength=4)
        true = {str(quarter): int(count) for quarter, count in enumerate(counts, start=1)}
        noisy = noise(true, level)
        found[str(level)] = Shift(
            mean=round(float(chosen.mean()), 2),
            sd=max(round(float(chosen.std()), 2), _SMALLEST_SD),
            quarters={quarter: n for quarter, n in noisy.items() if true[quarter] >= min_count},
        )
    return found


def _correlations(scores: Sequence[Float[np.ndarray, "rows"]], min_count: int) -> Float[np.ndarray, "k k"]:
    """Spearman's correlations of rows that state both, as the nearest matrix that numbers can have."""
    from scipy.stats import spearmanr  # as above

    k = len(scores)
    matrix = np.eye(k)
    for i in range(k):
        for j in range(i):
            both = ~np.isnan(scores[i]) & ~np.isnan(scores[j])
            varied = both.sum() >= 2 * min_count and min(np.ptp(scores[i][both]), np.ptp(scores[j][both])) > 0
            if varied:
                matrix[i, j] = matrix[j, i] = float(spearmanr(scores[i][both], scores[j][both]).statistic)
    values, vectors = np.linalg.eigh(matrix) if k else (np.ones(0), np.eye(0))
    if k and values.min() < 1e-6:
        matrix = (vectors * np.maximum(values, 1e-6)) @ vectors.T
        scale = np.sqrt(np.diag(matrix))
        matrix = matrix / np.outer(scale, scale)
    return np.asarray(matrix)
