"""Arms against each other, from the tidy table alone: paired over cases, adjusted for the number of tests.

The case is the unit. Its value in an arm is the mean over seeds; "all" is its mean over the structures that it has a score of. Each
metric is a family of its own for Holm's adjustment, once for "all" and once for all single structures together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

import numpy as np

from downstream.results import Result, Results
from downstream.stats import RESAMPLES, Comparison, Interval, bootstrap_mean, compare_paired, holm

__all__ = ["ALL", "ArmMean", "CaseMeans", "Contrast", "arm_means", "case_means", "contrasts", "with_all"]

ALL = "all"
"""Name of the mean over structures."""

CaseMeans = dict[tuple[str, str, str], dict[str, float]]
"""By arm, structure and metric: the value of each case, seeds averaged."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """Difference of two arms in one structure and metric.

    Attributes:
        first, second: arms; the difference is first minus second.
        structure, metric: what was compared.
        comparison: difference with interval, p value, effect size d_z, wins and losses.
        p_holm: adjusted over the family.
    """

    first: str
    second: str
    structure: str
    metric: str
    comparison: Comparison
    p_holm: float


@dataclass(frozen=True, slots=True)
class ArmMean:
    """Mean of an arm over cases with its interval, and how much the seeds differ.

    Attributes:
        arm: its name.
        interval: over cases, seeds averaged first.
        seed_sd: standard deviation of the means of single seeds; NaN with one seed.
        seeds: number of seeds.
    """

    arm: str
    interval: Interval
    seed_sd: float
    seeds: int


def with_all(scores: Results, metrics: Sequence[str]) -> Results:
    """Add rows of the structure "all": for each case, arm and seed the mean of a metric over structures, NaN left out."""
    groups: dict[tuple[str, str, str, int], list[float]] = {}
    for row in scores:
        if row.metric in metrics and not np.isnan(row.value):
            groups.setdefault((row.case_id, row.metric, row.arm, row.seed), []).append(row.value)
    added = [
        Result(case, ALL, metric, fmean(values), arm, seed) for (case, metric, arm, seed), values in groups.items()
    ]
    return Results([*scores, *added])


def case_means(scores: Iterable[Result]) -> CaseMeans:
    """Average the seeds of each case, NaN left out; a case without any other value is left out."""
    values: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for row in scores:
        if not np.isnan(row.value):
            cases = values.setdefault((row.arm, row.structure, row.metric), {})
            cases.setdefault(row.case_id, []).append(row.value)
    return {key: {case: fmean(several) for case, several in cases.items()} for key, cases in values.items()}


def arm_means(scores: Results, structure: str, metric: str, *, seed: int) -> list[ArmMean]:
    """Mean of each arm in one structure and metric, in order of first appearance."""
    rows = [row for row in scores if (row.structure, row.metric) == (structure, metric) and not np.isnan(row.value)]
    found = []
    for arm in dict.fromkeys(row.arm for row in scores):
        mine = [row for row in rows if row.arm == arm]
        cases = case_means(mine).get((arm, structure, metric), {})
        seeds = sorted({row.seed for row in mine})
        means = [fmean(row.value for row in mine if row.seed == one) for one in seeds]
        spread = stdev(means) if len(means) > 1 else float("nan")
        found.append(ArmMean(arm, bootstrap_mean(list(cases.values()), seed=seed), spread, len(seeds)))
    return found


def contrasts(
    scores: Results, pairs: Sequence[tuple[str, str]], metrics: Sequence[str], *, seed: int, resamples: int = RESAMPLES
) -> list[Contrast]:
    """Compare pairs of arms in every structure over the cases that both have.

    Args:
        scores: rows of `with_all`; without them single structures alone are compared.
        pairs: arms to compare, the first minus the second.
        metrics: what to compare; each is a family of tests of its own.
        seed: of bootstrap and random signs.
        resamples: of both.
    """
    means = case_means(row for row in scores if row.metric in metrics)
    structures = list(dict.fromkeys(structure for _, structure, _ in means))
    families = [[ALL], [structure for structure in structures if structure != ALL]]
    found: list[Contrast] = []
    for metric in metrics:
        for family in families:
            keys = [(pair, structure) for structure in family for pair in pairs]
            tests = {key: _compare(means, key, metric, (seed, resamples)) for key in keys}
            adjusted = holm({repr(key): test.p for key, test in tests.items()})
            found += [
                Contrast(
                    first,
                    second,
                    structure,
                    metric,
                    tests[(first, second), structure],
                    adjusted[repr(((first, second), structure))],
                )
                for (first, second), structure in keys
            ]
    return [one for one in found if one.comparison.difference.n]


def _compare(means: CaseMeans, key: tuple[tuple[str, str], str], metric: str, how: tuple[int, int]) -> Comparison:
    (first, second), structure = key
    ours, theirs = (means.get((arm, structure, metric), {}) for arm in (first, second))
    shared = [case for case in ours if case in theirs]
    values = [ours[case] for case in shared], [theirs[case] for case in shared]
    return compare_paired(*values, seed=how[0], resamples=how[1])
