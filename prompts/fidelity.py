"""How like a reference a table of prompts is: columns, pairs of columns, cells, and distance to its patients.

Every figure stands beside its limit: the same figure for bootstrap resamples of the reference with as
many rows. Numbers are compared in bins between quantiles of the reference, edges halfway between values
that occur; what is unstated is a level of its own. Tumours count by the first one of a prompt.

Levels of fewer than 5 rows of the reference, and levels that it lacks, count as one.

* column: total variation of the levels (bins); for numbers also the Kolmogorov-Smirnov distance.
* pair: Cramér's V of two categories, the correlation ratio of ranks of a number by a category,
  Spearman's correlation of two numbers; the error is the absolute difference. Besides, the total variation of
  the two-way table, numbers in quarters, which also sees differences that leave the strength of an association as it is.
* cells: combinations of tumour site, sex, T stage and age group.
* privacy: rows whose quasi-identifiers (all of `QUASI_IDENTIFIERS`) equal those of a row of the reference,
  and the Gower distance to the nearest one.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from manifests.errors import InvalidValueError
from prompts.sampling.base import site_of
from prompts.sampling.columns import ROOT, UNSTATED, encode
from prompts.schema import Prompt

__all__ = [
    "CATEGORIES",
    "NUMBERS",
    "QUASI_IDENTIFIERS",
    "Comparison",
    "Fidelity",
    "Privacy",
    "Reference",
    "column_values",
    "compare",
    "quasi_identifiers",
]

CATEGORIES = (
    ROOT,
    "site",
    "sex",
    "race",
    "contrast_phase",
    "region",
    "changes",
    "count",
    "t_stage",
    "n_stage",
    "m_stage",
)
NUMBERS = ("age_years", "height_cm", "weight_kg", "size_mm")
QUASI_IDENTIFIERS = (
    *("age_years", "sex", "race", "height_cm", "weight_kg"),
    *("organ", "site", "side", "count", "size_mm", "t_stage", "n_stage", "m_stage"),
    *("absent_organs", "enlarged_organs"),
)
"""What could be known of a patient from elsewhere; of every tumour. The scan's phase and region are not."""

BINS, QUARTERS, RARE = 10, 4, 5
_CELL_AGES = (0.0, 40.0, 55.0, 65.0, 75.0)
_NEAREST = 400


def quasi_identifiers(prompt: Prompt) -> tuple[Any, ...]:
    """The quasi-identifiers of a prompt, unstated ones included, as one comparable value."""
    patient = tuple(getattr(prompt.patient, name) for name in ("age_years", "sex", "race", "height_cm", "weight_kg"))
    tumours = tuple(tuple(tumour.model_dump().values()) for tumour in prompt.tumours)
    return (patient, tumours, prompt.absent_organs, prompt.enlarged_organs)


@dataclass(frozen=True, slots=True)
class Privacy:
    """How near rows come to patients of the reference.

    Attributes:
        identical: rows that equal a patient's quasi-identifiers.
        identical_below: of them, those that fewer than `k` patients share.
        nearest_median, nearest_smallest: Gower distance (0 to 1) to the nearest patient.
    """

    identical: int
    identical_below: int
    k: int
    nearest_median: float
    nearest_smallest: float


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Figures of one table against the reference.

    Attributes:
        tv: total variation by column; `ks` by number column.
        association: strength of each pair; `pair_error` its difference to the reference; `pair_tv` that of the table.
        cells_hit: share of the reference's cells that occur; `cells_new` of this table's cells that the reference
            lacks; `cells_possible` share of all combinations of the reference's levels that occur.
    """

    rows: int
    tv: dict[str, float]
    ks: dict[str, float]
    association: dict[tuple[str, str], float]
    pair_error: dict[tuple[str, str], float]
    pair_tv: dict[tuple[str, str], float]
    cells_hit: float
    cells_new: float
    cells_possible: float

    def means(self) -> dict[str, float]:
        """The figures in one number each."""
        return {
            "marginal_tv": _mean(self.tv),
            "pair_error": _mean(self.pair_error),
            "pair_tv": _mean(self.pair_tv),
            "cells_hit": self.cells_hit,
        }


def _mean(figures: Mapping[Any, float]) -> float:
    return float(np.mean([*figures.values()])) if figures else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """A table, its figures, those of bootstraps of the reference (their means), and its privacy."""

    name: str
    sampled: Fidelity
    limit: Fidelity
    privacy: Privacy

    def ratios(self) -> dict[str, float]:
        """Mean figures over those of the limit; NaN where the limit is 0."""
        mine, best = self.sampled.means(), self.limit.means()
        return {name: mine[name] / best[name] if best[name] else float("nan") for name in mine}


@dataclass(frozen=True, slots=True)
class _Coded:
    """A table as level numbers: categories and binned numbers, and the numbers themselves (NaN: unstated)."""

    levels: dict[str, Int[np.ndarray, "rows"]]
    values: dict[str, Float[np.ndarray, "rows"]]

    def take(self, rows: Int[np.ndarray, "n"]) -> "_Coded":
        return _Coded(
            {name: column[rows] for name, column in self.levels.items()},
            {name: column[rows] for name, column in self.values.items()},
        )


class Reference:
    """A table of prompts that others are compared with; its columns that vary, their levels and bins.

    Raises:
        InvalidValueError: if there is no prompt.
    """

    def __init__(self, prompts: Sequence[Prompt]) -> None:
        if not prompts:
            raise InvalidValueError("reference", got="no prompts", need="at least one", do="Give a prompts table.")
        self.prompts = prompts
        rows = [_flat(prompt) for prompt in prompts]
        self.edges = {name: _edges([row[name] for row in rows], BINS) for name in NUMBERS}
        self.quarters = {name: _edges([row[name] for row in rows], QUARTERS) for name in NUMBERS}
        self.numbers = tuple(name for name in NUMBERS if any(row[name] is not None for row in rows))
        flags = tuple(f"{name} stated" for name in self.numbers if any(row[name] is None for row in rows))
        self.columns = (*CATEGORIES, *self.numbers)
        self.categories = (*CATEGORIES, *flags)
        self.names = {name: _common(row[name] for row in rows) for name in self.categories}
        self._coded = self._code(prompts)
        self.varied = tuple(
            name for name in (*self.categories, *self.numbers) if len(np.unique(self._coded.levels[name])) > 1
        )
        if np.array_equal(self._coded.levels[ROOT], self._coded.levels["site"]):
            self.varied = tuple(name for name in self.varied if name != "site")

    def _code(self, prompts: Sequence[Prompt]) -> _Coded:
        rows = [_flat(prompt) for prompt in prompts]
        levels = {}
        for name in self.categories:
            common = self.names[name]
            levels[name] = np.array(
                [common.index(level) if (level := str(row[name])) in common else len(common) for row in rows],
                dtype=np.int64,
            )
        values = {
            name: np.array([np.nan if (number := row[name]) is None else float(number) for row in rows])
            for name in self.numbers
        }
        for name in self.numbers:
            binned = np.searchsorted(self.edges[name], values[name], side="right")
            levels[name] = np.where(np.isnan(values[name]), len(self.edges[name]) + 1, binned)
            quarter = np.searchsorted(self.quarters[name], values[name], side="right")
            levels[f"{name} quarter"] = np.where(np.isnan(values[name]), QUARTERS, quarter)
        return _Coded(levels, values)

    def measure(self, prompts: Sequence[Prompt]) -> Fidelity:
        """Figures of another table."""
        return self._measure(self._code(prompts))

    def itself(self) -> Fidelity:
        """Figures of the reference: its associations; every difference is 0."""
        return self._measure(self._coded)

    def bootstrap(self, n: int, repeats: int, seed: int = 0) -> Fidelity:
        """Mean figures of `repeats` resamples of `n` rows with replacement: the limit of any sampler."""
        random = np.random.Generator(np.random.PCG64(seed))
        size = len(self.prompts)
        return _average([self._measure(self._coded.take(random.integers(size, size=n))) for _ in range(repeats)])

    def privacy(self, prompts: Sequence[Prompt], k: int) -> Privacy:
        """How near other rows come to the patients of this table; distances of the first 400 rows."""
        patients = Counter(quasi_identifiers(prompt) for prompt in self.prompts)
        shared = [patients[key] for prompt in prompts if (key := quasi_identifiers(prompt)) in patients]
        nearest = self._nearest(self._code(prompts[:_NEAREST]))
        return Privacy(
            len(shared),
            sum(count < k for count in shared),
            k,
            float(np.median(nearest)) if len(nearest) else 1.0,
            float(nearest.min()) if len(nearest) else 1.0,
        )

    def _nearest(self, coded: _Coded) -> Float[np.ndarray, "rows"]:
        """Gower distance: mean over varied columns of 0 or 1, for numbers of the difference over the range."""
        columns = [name for name in self.varied if not name.endswith(" stated")]
        rows = len(coded.levels[ROOT])
        total = np.zeros((rows, len(self.prompts)))
        for name in columns:
            theirs = self._coded.levels[name]
            apart = (coded.levels[name][:, None] != theirs[None]).astype(float)
            if name in self.numbers:
                a, b = coded.values[name][:, None], self._coded.values[name][None]
                span = float(np.nanmax(b) - np.nanmin(b)) or 1.0
                both = np.isfinite(a) & np.isfinite(b)
                apart = np.where(both, np.minimum(np.abs(a - b) / span, 1.0), np.isfinite(a) ^ np.isfinite(b))
            total += apart
        return np.asarray((total / max(len(columns), 1)).min(axis=1))

    def _measure(self, coded: _Coded) -> Fidelity:
        base = self._coded
        names = self.columns
        tv = {name: _total_variation(base.levels[name], coded.levels[name]) for name in names if name in self.varied}
        ks = {}
        for name in self.numbers:
            pair = [values[np.isfinite(values)] for values in (base.values[name], coded.values[name])]
            ks[name] = float(stats.ks_2samp(*pair).statistic) if all(len(part) for part in pair) else 1.0
        pairs = [pair for pair in combinations(self.varied, 2) if pair[1].removesuffix(" stated") != pair[0]]
        pairs = [pair for pair in pairs if pair[0].removesuffix(" stated") != pair[1]]
        association = {pair: self._association(coded, pair) for pair in pairs}
        error = {pair: abs(association[pair] - self._association(base, pair)) for pair in pairs}
        joint = {pair: _total_variation(_joint(base, pair), _joint(coded, pair)) for pair in pairs}
        mine, theirs = set(self._cells(coded)), set(self._cells(base))
        return Fidelity(
            rows=len(coded.levels[ROOT]),
            tv=tv,
            ks=ks,
            association=association,
            pair_error=error,
            pair_tv=joint,
            cells_hit=len(mine & theirs) / len(theirs),
            cells_new=len(mine - theirs) / max(len(mine), 1),
            cells_possible=len(mine)
            / max(len(mine), math.prod(len(set(levels)) for levels in zip(*theirs, strict=True))),
        )

    def _association(self, coded: _Coded, pair: tuple[str, str]) -> float:
        first, second = pair
        if first in self.numbers and second in self.numbers:
            return _spearman(coded.values[first], coded.values[second])
        if second in self.numbers:
            return _correlation_ratio(coded.levels[first], coded.values[second])
        return _cramers_v(coded.levels[first], coded.levels[second])

    def _cells(self, coded: _Coded) -> list[tuple[int, ...]]:
        ages = coded.values.get("age_years", np.full(len(coded.levels[ROOT]), np.nan))
        groups = np.where(np.isnan(ages), -1, np.searchsorted(_CELL_AGES, ages, side="right"))
        columns = (coded.levels["site"], coded.levels["sex"], coded.levels["t_stage"], groups)
        return [tuple(int(level) for level in cell) for cell in zip(*columns, strict=True)]


def compare(
    reference: Reference, prompts: Sequence[Prompt], name: str, *, bootstraps: int = 20, k: int = 5
) -> Comparison:
    """Compare a table with the reference and with bootstraps of the reference of the same size.

    Raises:
        InvalidValueError: if the table is empty.
    """
    if not prompts:
        raise InvalidValueError(name, got="no prompts", need="at least one", do="Give a prompts table with rows.")
    limit = reference.bootstrap(len(prompts), bootstraps)
    return Comparison(name, reference.measure(prompts), limit, reference.privacy(prompts, k))


def column_values(prompts: Sequence[Prompt], name: str) -> list[Any]:
    """One column of a table of prompts, by the name that `Reference.columns` gives it; None: number unstated."""
    return [_flat(prompt)[name] for prompt in prompts]


def _flat(prompt: Prompt) -> dict[str, Any]:
    flat = encode(prompt)
    row: dict[str, Any] = {name: flat.get(name, UNSTATED) for name in CATEGORIES}
    row |= {name: flat.get(name) for name in NUMBERS}
    row |= {f"{name} stated": row[name] is not None for name in NUMBERS}
    row["site"] = site_of(prompt.tumours[0]) if prompt.tumours else "none"
    return row


def _common(values: Iterable[Any]) -> list[str]:
    """Levels of at least 5 rows, the most frequent first."""
    return [level for level, count in Counter(str(value) for value in values).most_common() if count >= RARE]


def _edges(values: Sequence[float | None], bins: int) -> Float[np.ndarray, "edges"]:
    """Inner edges of bins of about equal counts, each halfway between two neighbouring values that occur."""
    stated = np.sort([float(value) for value in values if value is not None])
    distinct = np.unique(stated)
    if len(distinct) < 2:
        return np.zeros(0)
    middles = (distinct[1:] + distinct[:-1]) / 2
    wanted = np.quantile(stated, np.arange(1, bins) / bins)
    return np.unique(middles[np.abs(middles[None] - wanted[:, None]).argmin(axis=1)])


def _total_variation(a: Int[np.ndarray, "n"], b: Int[np.ndarray, "m"]) -> float:
    size = int(max(a.max(), b.max())) + 1
    shares = [np.bincount(column, minlength=size) / len(column) for column in (a, b)]
    return float(0.5 * np.abs(shares[0] - shares[1]).sum())


def _joint(coded: _Coded, pair: tuple[str, str]) -> Int[np.ndarray, "rows"]:
    first, second = (coded.levels.get(f"{name} quarter", coded.levels[name]) for name in pair)
    return np.asarray(first * 1000 + second)


def _cramers_v(a: Int[np.ndarray, "n"], b: Int[np.ndarray, "n"]) -> float:
    a, b = np.unique(a, return_inverse=True)[1], np.unique(b, return_inverse=True)[1]
    table = np.bincount(a * (b.max() + 1) + b, minlength=int((a.max() + 1) * (b.max() + 1)))
    table = table.reshape(a.max() + 1, b.max() + 1).astype(float)
    if min(table.shape) < 2:
        return 0.0
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    chi2 = float(((table - expected) ** 2 / expected).sum())
    return float(np.sqrt(chi2 / table.sum() / (min(table.shape) - 1)))


def _correlation_ratio(levels: Int[np.ndarray, "n"], values: Float[np.ndarray, "n"]) -> float:
    """Square root of the share of the variance of ranks that lies between levels."""
    stated = np.isfinite(values)
    ranks, groups = stats.rankdata(values[stated]), levels[stated]
    if len(ranks) < 2 or ranks.std() == 0:
        return 0.0
    counts = np.bincount(groups)
    means = np.bincount(groups, weights=ranks)[counts > 0] / counts[counts > 0]
    between = float((counts[counts > 0] * (means - ranks.mean()) ** 2).sum())
    return float(np.sqrt(between / ((ranks - ranks.mean()) ** 2).sum()))


def _spearman(a: Float[np.ndarray, "n"], b: Float[np.ndarray, "n"]) -> float:
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 3 or min(np.ptp(a[both]), np.ptp(b[both])) == 0:
        return 0.0
    return float(stats.spearmanr(a[both], b[both]).statistic)


def _average(figures: Sequence[Fidelity]) -> Fidelity:
    def mean(name: str) -> Any:
        columns = [getattr(one, name) for one in figures]
        if isinstance(columns[0], dict):
            return {key: float(np.mean([column[key] for column in columns])) for key in columns[0]}
        return float(np.mean(columns))

    parts = ("tv", "ks", "association", "pair_error", "pair_tv", "cells_hit", "cells_new", "cells_possible")
    return Fidelity(rows=figures[0].rows, **{name: mean(name) for name in parts})
