"""Image-mask alignment: does the CT show what the masks say? A segmenter's DSC on the CT against the stored masks.

The segmenter has never seen the masks, so it finds an organ only where the image shows it. What it misses may be its
own fault: its DSC on held-out cases of its own training set stands beside each figure as the ceiling. Conventions for
empty masks are those of `metrics.py`; where references are partial (real scans), labels that a case lacks are left out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from downstream.metrics import CaseScore, score_case
from downstream.results import Result
from downstream.segmenter import Segmenter, scheme_of
from downstream.stats import Interval, bootstrap_mean
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError
from manifests.schemes import Scheme, paint

__all__ = [
    "CaseMasks",
    "ImageMaskSummary",
    "LabelAgreement",
    "compare_case",
    "compare_masks",
    "summarise_masks",
    "tidy_masks",
]

_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class CaseMasks:
    """DSC of every label of one case, and what it is broken down by."""

    case_id: str
    scores: tuple[CaseScore, ...]
    sex: str | None
    phase: str | None

    @property
    def mean(self) -> float:
        """Mean over the labels with a score; NaN without one."""
        return _mean([score.dice for score in self.scores])


@dataclass(frozen=True, slots=True)
class LabelAgreement:
    """Agreement of one label.

    Attributes:
        label: its name.
        dice: mean over cases with its 95 % interval.
        ceiling: the segmenter's DSC on held-out cases of its own training set; NaN where unknown.
        misses: cases where the masks have it and the segmenter finds none of it.
    """

    label: str
    dice: Interval
    ceiling: float
    misses: int


@dataclass(frozen=True, slots=True)
class ImageMaskSummary:
    """Agreement over a dataset.

    Attributes:
        segmenter: its name.
        ceiling_on: what the ceiling was measured on; "" for no ceiling.
        labels: one row each.
        mean: over cases of their mean over labels.
        ceiling: mean of the labels' ceilings; NaN without any.
        breakdown: the mean by "sex=female", "phase=arterial" and so on.
    """

    segmenter: str
    ceiling_on: str
    labels: tuple[LabelAgreement, ...]
    mean: Interval
    ceiling: float
    breakdown: Mapping[str, Interval]


def compare_masks(dataset: Dataset, segmenter: Segmenter, scheme_name: str | None = None) -> Iterator[CaseMasks]:
    """Segment the CT of every delivered case and compare with its masks, in the order of the dataset.

    Args:
        dataset: CTs and masks; of real scans, labels a case lacks are not scored in it.
        segmenter: what reads the CTs.
        scheme_name: label scheme of its labels; None finds one.

    Raises:
        InvalidValueError: no delivered case, or labels of no scheme.
        CorruptDatasetError: arrays cannot be read.
    """
    scheme = scheme_of(segmenter.card, scheme_name)
    records = dataset.accepted()
    if not records:
        raise InvalidValueError(
            str(dataset.root), got="no delivered case", need="cases to segment", do="Build some first."
        )
    for record in records:
        yield compare_case(dataset, record, segmenter, scheme)


def compare_case(dataset: Dataset, record: CaseRecord, segmenter: Segmenter, scheme: Scheme) -> CaseMasks:
    """Segment the CT of one case and compare with its masks, painted by a scheme that has the segmenter's labels."""
    arrays = dataset.read(record.case_id)
    values = {name: scheme.labels[name] for name in segmenter.card.labels}
    to_scheme = np.zeros(256, np.uint8)
    to_scheme[list(segmenter.card.labels.values())] = list(values.values())
    predicted = to_scheme[segmenter.segment(arrays.ct, arrays.grid)]
    reference = paint(arrays.anatomy, arrays.lesions, record.lesions, scheme)
    scores = score_case(record.case_id, predicted, reference, values)
    if dataset.spec.kind == "real":
        scores = [score for score in scores if score.voxels_reference]
    return CaseMasks(record.case_id, tuple(scores), *_of(record))


def summarise_masks(
    cases: Sequence[CaseMasks], segmenter: Segmenter, *, seed: int, ceiling: Sequence[CaseMasks] = ()
) -> ImageMaskSummary:
    """Reduce cases to means with intervals.

    Args:
        cases: of the dataset that is judged.
        segmenter: for its name and its own ceiling.
        seed: of the bootstrap.
        ceiling: cases held out of the segmenter's training, measured the same way; they replace its own figures.
    """
    own = dict(segmenter.card.held_out_dice)
    if ceiling:
        own = {label: _mean([score.dice for score in scores]) for label, scores in _by_label(ceiling).items()}
    labels = tuple(
        LabelAgreement(
            label,
            bootstrap_mean([score.dice for score in scores], seed=seed),
            own.get(label, _NAN),
            sum(score.voxels_reference > 0 and score.voxels_predicted == 0 for score in scores),
        )
        for label, scores in _by_label(cases).items()
    )
    return ImageMaskSummary(
        segmenter.card.name,
        "held-out cases given" if ceiling else segmenter.card.held_out_on if own else "",
        labels,
        bootstrap_mean([case.mean for case in cases], seed=seed),
        _mean([row.ceiling for row in labels]),
        {
            f"{name}={value}": bootstrap_mean([c.mean for c in cases if getattr(c, name) == value], seed=seed)
            for name in ("sex", "phase")
            for value in sorted({getattr(case, name) for case in cases} - {None})
        },
    )


def tidy_masks(cases: Iterable[CaseMasks], arm: str) -> list[Result]:
    """Rows of the tidy table, one per case and label."""
    return [Result(case.case_id, score.label, "dice", score.dice, arm) for case in cases for score in case.scores]


def _by_label(cases: Sequence[CaseMasks]) -> dict[str, list[CaseScore]]:
    found: dict[str, list[CaseScore]] = {}
    for case in cases:
        for score in case.scores:
            found.setdefault(score.label, []).append(score)
    return found


def _mean(values: Iterable[float]) -> float:
    """Mean of what is not NaN; NaN without any."""
    kept = [value for value in values if value == value]
    return float(np.mean(kept)) if kept else _NAN


def _of(record: CaseRecord) -> tuple[str | None, str | None]:
    """Sex and phase, drawn or else asked."""
    drawn, asked = record.drawn, record.requested
    return drawn.sex or asked.sex, drawn.contrast_phase or asked.contrast_phase
