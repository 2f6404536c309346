"""Mask-prompt alignment of a dataset: rates, the matrix of positions, and the same by attribute."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy.stats import binomtest

from downstream.alignment import NONE, CaseAlignment, Pairing
from downstream.stats import Interval, bootstrap_mean
from manifests.anatomy import structure
from manifests.errors import UnknownNameError

__all__ = ["AlignmentSummary", "Group", "PositionMatrix", "Rate", "summarise"]

BANDS_MM = (10.0, 20.0, 40.0)
_BANDS = ("0-10 mm", "10-20 mm", "20-40 mm", "40 mm and more")


@dataclass(frozen=True, slots=True)
class Rate:
    """A fraction with its exact (Clopper-Pearson) 95 % interval; NaN for none."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Group:
    """Tumours that share an attribute: how many are at the site asked for, how many nowhere, how wrong in size."""

    position: Rate
    missing: Rate
    size_error_mm: Interval


@dataclass(frozen=True, slots=True)
class PositionMatrix:
    """Tumours by site asked for (rows, the last is `NONE`) and site found (columns, the last is `NONE`)."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class AlignmentSummary:
    """Agreement over all delivered cases.

    Attributes:
        cases, tumours: number of cases and of tumours asked for.
        organ, site, count: fractions of cases that agree.
        position: fraction of the tumours asked for that are at their site.
        present, near: fractions of cases with any tumour where one was asked for, and with a number within one.
        sex, absent: fractions of cases that show the sex asked for, and lack the organs asked absent.
        passed: fraction of cases that the gate had no reason against.
        size_error_mm: mean with a bootstrap interval over cases.
        size_error_abs_p95_mm: what 95 % of the errors stay below; NaN for none.
        matrix: of positions.
        breakdown: by "organ=liver", "site=…", "size=10-20 mm", "sex=…", "phase=…".
        disagreeing: cases with another organ, site or count.
    """

    cases: int
    tumours: int
    organ: Rate
    site: Rate
    count: Rate
    position: Rate
    present: Rate
    near: Rate
    sex: Rate
    absent: Rate
    passed: Rate
    size_error_mm: Interval
    size_error_abs_p95_mm: float
    matrix: PositionMatrix
    breakdown: Mapping[str, Group] = field(default_factory=dict)
    disagreeing: tuple[str, ...] = ()


def summarise(cases: Sequence[CaseAlignment], *, seed: int = 0) -> AlignmentSummary:
    """Reduce cases to rates."""
    errors = np.array([error for case in cases for error in case.size_error_mm])
    everything = _group(cases, lambda _case, _pair: True, seed)
    return AlignmentSummary(
        cases=len(cases),
        tumours=sum(case.asked for case in cases),
        organ=_rate([case.organ for case in cases]),
        site=_rate([case.site for case in cases]),
        count=_rate([case.count for case in cases]),
        position=everything.position,
        present=_rate([case.present for case in cases if case.present is not None]),
        near=_rate([case.near for case in cases]),
        sex=_rate([case.sex_agrees for case in cases if case.sex_agrees is not None]),
        absent=_rate([case.absent_agrees for case in cases if case.absent_agrees is not None]),
        passed=_rate([case.passed for case in cases]),
        size_error_mm=everything.size_error_mm,
        size_error_abs_p95_mm=float(np.quantile(np.abs(errors), 0.95)) if len(errors) else float("nan"),
        matrix=_matrix(cases),
        breakdown=_breakdown(cases, seed),
        disagreeing=tuple(case.case_id for case in cases if not (case.organ and case.site and case.count)),
    )


def _matrix(cases: Sequence[CaseAlignment]) -> PositionMatrix:
    counts = Counter((pair.asked, pair.found) for case in cases for pair in case.pairings)
    asked, found = ({pair[side] for pair in counts} - {NONE} for side in (0, 1))
    rows, columns = ((*sorted(names, key=_table_order), NONE) for names in (asked, asked | found))
    return PositionMatrix(rows, columns, tuple(tuple(counts[row, column] for column in columns) for row in rows))


def _table_order(site: str) -> tuple[int, str]:
    try:
        return structure(site).id, site
    except UnknownNameError:  # outside the body, wrong side
        return 256, site


def _breakdown(cases: Sequence[CaseAlignment], seed: int) -> dict[str, Group]:
    asked = [(case, pair) for case in cases for pair in case.pairings if pair.asked != NONE]
    found: dict[str, Group] = {}
    for attribute, value in _ATTRIBUTES.items():
        names = {value(case, pair) for case, pair in asked} - {None}
        found |= {
            f"{attribute}={name}": _group(cases, partial(_has, value, name), seed) for name in sorted(map(str, names))
        }
    return found


def _has(value: Callable[[CaseAlignment, Pairing], str | None], name: str, case: CaseAlignment, pair: Pairing) -> bool:
    return value(case, pair) == name


def _band(_case: CaseAlignment, pair: Pairing) -> str | None:
    """Size asked for as a band; None where none was."""
    if pair.asked_mm is None:
        return None
    return _BANDS[int(np.searchsorted(BANDS_MM, pair.asked_mm, "right"))]


_ATTRIBUTES: Mapping[str, Callable[[CaseAlignment, Pairing], str | None]] = {
    "organ": lambda _case, pair: pair.organ,
    "site": lambda _case, pair: pair.asked,
    "size": _band,
    "sex": lambda case, _pair: case.sex,
    "phase": lambda case, _pair: case.phase,
}


def _group(cases: Sequence[CaseAlignment], belongs: Callable[[CaseAlignment, Pairing], bool], seed: int) -> Group:
    chosen = [[pair for pair in case.pairings if pair.asked != NONE and belongs(case, pair)] for case in cases]
    pairs = [pair for several in chosen for pair in several]
    errors = [[pair.error_mm for pair in several if pair.error_mm is not None] for several in chosen]
    return Group(
        _rate([pair.found == pair.asked for pair in pairs]),
        _rate([pair.found == NONE for pair in pairs]),
        bootstrap_mean([float(np.mean(several)) for several in errors if several], seed=seed),
    )


def _rate(hits: Sequence[bool]) -> Rate:
    if not hits:
        return Rate(*(float("nan"),) * 3, 0)
    interval = binomtest(sum(hits), len(hits)).proportion_ci()
    return Rate(sum(hits) / len(hits), float(interval.low), float(interval.high), len(hits))
