"""Mask-prompt alignment: are the tumours in the stored masks those that were asked for?

Everything is measured again from the arrays of the dataset, by code that neither the generators
nor the quality gate use: a tumour is a 26-connected component of the lesion layer, its site the
commonest anatomical structure under it, its size the longest distance between two voxel
corners within one axial slice. What a prompt left open is compared with what was drawn for it.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist
from scipy.stats import binomtest

from manifests.anatomy import by_id
from manifests.case import Arrays, CaseRecord, TumourAttributes
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError

__all__ = ["AlignmentSummary", "CaseAlignment", "MeasuredTumour", "Rate", "align", "measure_tumours", "summarise"]

_SPREAD = ("liver", "lung", "adrenal_gland")


@dataclass(frozen=True, slots=True)
class MeasuredTumour:
    """One component of the lesion layer; `organ` is None where the structure carries no tumours."""

    organ: str | None
    site: str
    size_mm: float


@dataclass(frozen=True, slots=True)
class CaseAlignment:
    """How the tumours of one case compare with its prompt.

    Attributes:
        organ, site, count: whether the sets of organs and of sites, and the number at each site, are equal.
        size_error_mm: by site, largest measured minus largest asked diameter; only sites in both.
        asked, measured: number of tumours.
    """

    case_id: str
    organ: bool
    site: bool
    count: bool
    size_error_mm: tuple[float, ...]
    asked: int
    measured: int


@dataclass(frozen=True, slots=True)
class Rate:
    """A fraction of cases with its exact (Clopper-Pearson) 95 % interval; NaN for no cases."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class AlignmentSummary:
    """Rates over all delivered cases; size errors in mm over all sites of all cases, NaN for none."""

    cases: int
    tumours: int
    organ: Rate
    site: Rate
    count: Rate
    size_error_mean_mm: float
    size_error_abs_p95_mm: float
    disagreeing: tuple[str, ...]


def measure_tumours(arrays: Arrays) -> tuple[MeasuredTumour, ...]:
    """Measure every component of the lesion layer; empty for no lesion."""
    labels, _ = ndimage.label(arrays.lesions > 0, structure=np.ones((3, 3, 3)))
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        mask = labels[box] == number
        site = int(np.bincount(arrays.anatomy[box][mask]).argmax())
        name, organ = (by_id(site).name, by_id(site).organ) if site else ("outside the body", None)
        found.append(MeasuredTumour(organ, name, _longest_axial_mm(mask, arrays.grid.spacing_mm_zyx)))
    return tuple(found)


def _longest_axial_mm(mask: Bool[np.ndarray, "z y x"], spacing_mm_zyx: tuple[float, float, float]) -> float:
    """Longest distance in mm between voxel corners of one axial slice."""
    longest = 0.0
    for plane in mask[mask.any(axis=(1, 2))]:
        y, x = np.nonzero(plane)
        corners = np.concatenate([np.stack([y + i, x + j], axis=1) for i in (0, 1) for j in (0, 1)])
        hull = corners[ConvexHull(corners).vertices] * np.array(spacing_mm_zyx[1:])
        longest = max(longest, float(pdist(hull).max()))
    return longest


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
        size_error_mm=tuple(
            max(tumour.size_mm for tumour in measured if tumour.site == site)
            - max(tumour.size_mm or 0.0 for tumour in asked if tumour.site == site)
            for site in sorted(want.keys() & have.keys())
        ),
        asked=want.total(),
        measured=len(measured),
    )


def _without_spread(record: CaseRecord, measured: tuple[MeasuredTumour, ...]) -> tuple[MeasuredTumour, ...]:
    """Leave out the metastases of a prompt that states M1: lesions of liver, lungs and adrenal glands at other sites."""
    if not any((tumour.m_stage or "").startswith("M1") for tumour in record.requested.tumours):
        return measured
    sites = {tumour.site for tumour in record.drawn.tumours}
    return tuple(tumour for tumour in measured if tumour.site in sites or tumour.organ not in _SPREAD)


def _holds(requested: tuple[TumourAttributes, ...], sites: set[str]) -> bool:
    """Whether every site that the prompt itself states is there."""
    return {tumour.site for tumour in requested if tumour.site} <= sites


def summarise(cases: list[CaseAlignment]) -> AlignmentSummary:
    """Reduce cases to rates."""
    errors = np.array([error for case in cases for error in case.size_error_mm])
    return AlignmentSummary(
        cases=len(cases),
        tumours=sum(case.asked for case in cases),
        organ=_rate([case.organ for case in cases]),
        site=_rate([case.site for case in cases]),
        count=_rate([case.count for case in cases]),
        size_error_mean_mm=float(errors.mean()) if len(errors) else float("nan"),
        size_error_abs_p95_mm=float(np.quantile(np.abs(errors), 0.95)) if len(errors) else float("nan"),
        disagreeing=tuple(case.case_id for case in cases if not (case.organ and case.site and case.count)),
    )


def _rate(hits: list[bool]) -> Rate:
    if not hits:
        return Rate(*(float("nan"),) * 3)
    interval = binomtest(sum(hits), len(hits)).proportion_ci()
    return Rate(sum(hits) / len(hits), float(interval.low), float(interval.high))
