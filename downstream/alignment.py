"""Mask-prompt alignment: are the tumours in the stored masks those that were asked for?

From geometry alone (`tumours.py`), over all delivered cases. What a prompt left open is compared with what was drawn for
it. Each tumour asked for is paired with one that is there: first those at its own site, the largest first, then any that
is left over. A tumour with no partner is "none"; so a miss stays in the table instead of leaving it.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy.stats import binomtest

from downstream.results import Result
from downstream.stats import Interval, bootstrap_mean
from downstream.tumours import WRONG_SIDE, MeasuredTumour, measure_tumours
from manifests.anatomy import structure, structures
from manifests.case import CaseRecord, TumourAttributes
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError, UnknownNameError

__all__ = [
    "NONE",
    "WRONG_SIDE",
    "AlignmentSummary",
    "CaseAlignment",
    "Group",
    "Pairing",
    "PositionMatrix",
    "Rate",
    "align",
    "measure_tumours",
    "summarise",
    "tidy",
]

NONE = "none"
"""Column of tumours that are not there, and row of those that nobody asked for."""

BANDS_MM = (10.0, 20.0, 40.0)
_BANDS = ("0-10 mm", "10-20 mm", "20-40 mm", "40 mm and more")
_SPREAD = ("liver", "lung", "adrenal_gland")


@dataclass(frozen=True, slots=True)
class Pairing:
    """A tumour asked for and the one that stands for it.

    Attributes:
        organ, asked, found: organ and site asked for, site found; `NONE` where there is no partner.
        asked_mm: size asked for; None where only the largest of a site has one.
        error_mm: measured minus asked size, of tumours at the site asked for.
    """

    organ: str
    asked: str
    found: str
    asked_mm: float | None = None
    error_mm: float | None = None


@dataclass(frozen=True, slots=True)
class CaseAlignment:
    """How the tumours of one case compare with its prompt.

    Attributes:
        organ, site, count: whether the sets of organs and of sites, and the number at each site, are equal.
        pairings: one per tumour asked for, then one per tumour that nobody asked for.
        asked, measured: number of tumours.
        sex, phase: of the case, drawn or else asked.
    """

    case_id: str
    organ: bool
    site: bool
    count: bool
    pairings: tuple[Pairing, ...]
    asked: int
    measured: int
    sex: str | None = None
    phase: str | None = None

    @property
    def size_error_mm(self) -> tuple[float, ...]:
        """Measured minus asked size of the largest tumour of each site that is in both."""
        return tuple(pair.error_mm for pair in self.pairings if pair.error_mm is not None)


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
    size_error_mm: Interval
    size_error_abs_p95_mm: float
    matrix: PositionMatrix
    breakdown: Mapping[str, Group] = field(default_factory=dict)
    disagreeing: tuple[str, ...] = ()


def align(dataset: Dataset) -> Iterator[CaseAlignment]:
    """Compare every delivered case with its prompt, in the order of the dataset.

    Raises:
        InvalidValueError: if no case is delivered, or one has no prompt to compare with.
        CorruptDatasetError: if arrays cannot be read.
    """
    records = dataset.accepted()
    if not records or any(record.prompt_id is None for record in records):
        raise InvalidValueError(
            str(dataset.root),
            got="no delivered case" if not records else "cases without a prompt",
            need="cases that were generated from prompts",
            do="Give a dataset that `factory build` made.",
        )
    for record in records:
        yield _compare(record, measure_tumours(dataset.read(record.case_id)))


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
        size_error_mm=everything.size_error_mm,
        size_error_abs_p95_mm=float(np.quantile(np.abs(errors), 0.95)) if len(errors) else float("nan"),
        matrix=_matrix(cases),
        breakdown=_breakdown(cases, seed),
        disagreeing=tuple(case.case_id for case in cases if not (case.organ and case.site and case.count)),
    )


def tidy(cases: Sequence[CaseAlignment], arm: str) -> list[Result]:
    """Rows of the tidy table: per case, agreement as 0 or 1, the share at the right site (by organ, too), mean size error."""
    rows = []
    for case in cases:
        at_site = [pair.found == pair.asked for pair in case.pairings if pair.asked != NONE]
        values = {
            "organ_agrees": float(case.organ),
            "site_agrees": float(case.site),
            "count_agrees": float(case.count),
            "position": float(np.mean(at_site)) if at_site else float("nan"),
            "size_error_mm": float(np.mean(case.size_error_mm)) if case.size_error_mm else float("nan"),
        }
        rows += [Result(case.case_id, "tumour", metric, value, arm) for metric, value in values.items()]
        by_organ: dict[str, list[bool]] = {}
        for pair in case.pairings:
            if pair.asked != NONE:
                by_organ.setdefault(_organ(pair), []).append(pair.found == pair.asked)
        rows += [Result(case.case_id, organ, "position", float(np.mean(hits)), arm) for organ, hits in by_organ.items()]
    return rows


def _organ(pair: Pairing) -> str:
    """Organ of a tumour asked for; of the lungs, the one of the two."""
    sides = {entry.name: entry.side for entry in structures()} if pair.organ == "lung" else {}
    return f"{pair.organ}_{side}" if (side := sides.get(pair.asked)) else pair.organ


def _compare(record: CaseRecord, measured: tuple[MeasuredTumour, ...]) -> CaseAlignment:
    asked = record.drawn.tumours
    measured = _without_spread(record, measured)
    want, have = Counter[str](), Counter(tumour.site for tumour in measured)
    for tumour in asked:
        want[str(tumour.site)] += tumour.count or 1
    return CaseAlignment(
        case_id=record.case_id,
        organ={tumour.organ for tumour in record.requested.tumours} == {tumour.organ for tumour in measured},
        site=want.keys() == have.keys() and _holds(record.requested.tumours, set(have)),
        count=want == have,
        pairings=tuple(_pair(asked, measured)),
        asked=want.total(),
        measured=len(measured),
        sex=record.drawn.sex or record.requested.sex,
        phase=record.drawn.contrast_phase or record.requested.contrast_phase,
    )


def _pair(asked: Sequence[TumourAttributes], measured: Sequence[MeasuredTumour]) -> Iterator[Pairing]:
    """Pair at the site asked for, largest first; then what is left over; then what nobody asked for."""
    left = sorted(measured, key=lambda tumour: -tumour.size_mm)
    homeless: list[tuple[str, str, float | None]] = []
    for want in asked:
        site = str(want.site)
        for number in range(want.count or 1):
            size = want.size_mm if number == 0 else None  # the size asked for is that of the largest
            there = next((tumour for tumour in left if tumour.site == site), None)
            if there is None:
                homeless.append((want.organ, site, size))
                continue
            left.remove(there)
            yield Pairing(want.organ, site, site, size, None if size is None else there.size_mm - size)
    for organ, site, size in homeless:
        there = next((tumour for tumour in left if tumour.organ == organ), left[0] if left else None)
        if there is not None:
            left.remove(there)
        yield Pairing(organ, site, there.site if there else NONE, size)
    yield from (Pairing(tumour.organ or NONE, NONE, tumour.site) for tumour in left)


def _without_spread(record: CaseRecord, measured: tuple[MeasuredTumour, ...]) -> tuple[MeasuredTumour, ...]:
    """Leave out the metastases of a prompt that states M1: lesions of liver, lungs and adrenal glands at other sites."""
    if not any((tumour.m_stage or "").startswith("M1") for tumour in record.requested.tumours):
        return measured
    sites = {tumour.site for tumour in record.drawn.tumours}
    return tuple(tumour for tumour in measured if tumour.site in sites or tumour.organ not in _SPREAD)


def _holds(requested: tuple[TumourAttributes, ...], sites: set[str]) -> bool:
    """Whether every site that the prompt itself states is there."""
    return {tumour.site for tumour in requested if tumour.site} <= sites


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
