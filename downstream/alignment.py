"""Mask-prompt alignment: are the tumours in the stored masks those that were asked for?

From geometry alone (`tumours.py`), over all delivered cases. What a prompt left open is compared with what was drawn for
it. Each tumour asked for is paired with one that is there: first those at its own site, the largest first, then any that
is left over. A tumour with no partner is "none"; so a miss stays in the table instead of leaving it.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from downstream.organs import absent_agrees, sex_agrees, shown_structures
from downstream.results import Result
from downstream.tumours import MeasuredTumour, measure_tumours
from manifests.anatomy import structures
from manifests.case import CaseRecord, TumourAttributes
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError

__all__ = ["NONE", "CaseAlignment", "Pairing", "align", "tidy"]

NONE = "none"
"""Column of tumours that are not there, and row of those that nobody asked for."""

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
        sex_agrees: whether the organs of the sex asked for are there and no others; None where none was asked or the scan
            shows no pelvis.
        absent_agrees: whether all organs asked absent are; None where none was.
        passed: whether the gate had no reason against it.
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
    sex_agrees: bool | None = None
    absent_agrees: bool | None = None
    passed: bool = True

    @property
    def present(self) -> bool | None:
        """Whether there is any tumour where one was asked for; None where none was."""
        return self.measured > 0 if self.asked else None

    @property
    def near(self) -> bool:
        """Whether the number of tumours is within one of that asked for."""
        return abs(self.measured - self.asked) <= 1

    @property
    def size_error_mm(self) -> tuple[float, ...]:
        """Measured minus asked size of the largest tumour of each site that is in both."""
        return tuple(pair.error_mm for pair in self.pairings if pair.error_mm is not None)


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
        arrays = dataset.read(record.case_id)
        yield _compare(record, measure_tumours(arrays), shown_structures(arrays))


def tidy(cases: Sequence[CaseAlignment], arm: str) -> list[Result]:
    """Rows of the tidy table: per case, agreement as 0 or 1, the share at the right site (by organ, too), mean size error."""
    rows = []
    for case in cases:
        at_site = [pair.found == pair.asked for pair in case.pairings if pair.asked != NONE]
        values = {
            "organ_agrees": float(case.organ),
            "site_agrees": float(case.site),
            "count_agrees": float(case.count),
            "count_near": float(case.near),
            "present": _number(case.present),
            "position": float(np.mean(at_site)) if at_site else float("nan"),
            "size_error_mm": float(np.mean(case.size_error_mm)) if case.size_error_mm else float("nan"),
        }
        whole = {"sex_agrees": case.sex_agrees, "absent_agrees": case.absent_agrees, "passed_gate": case.passed}
        rows += [Result(case.case_id, "", metric, _number(value), arm) for metric, value in whole.items()]
        rows += [Result(case.case_id, "tumour", metric, value, arm) for metric, value in values.items()]
        by_organ: dict[str, list[bool]] = {}
        for pair in case.pairings:
            if pair.asked != NONE:
                by_organ.setdefault(_organ(pair), []).append(pair.found == pair.asked)
        rows += [Result(case.case_id, organ, "position", float(np.mean(hits)), arm) for organ, hits in by_organ.items()]
    return rows


def _number(value: bool | None) -> float:
    return float("nan") if value is None else float(value)


def _organ(pair: Pairing) -> str:
    """Organ of a tumour asked for; of the lungs, the one of the two."""
    sides = {entry.name: entry.side for entry in structures()} if pair.organ == "lung" else {}
    return f"{pair.organ}_{side}" if (side := sides.get(pair.asked)) else pair.organ


def _compare(record: CaseRecord, measured: tuple[MeasuredTumour, ...], shown: frozenset[str]) -> CaseAlignment:
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
        sex_agrees=sex_agrees(record, shown),
        absent_agrees=absent_agrees(record, shown),
        passed=not record.reasons,
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
