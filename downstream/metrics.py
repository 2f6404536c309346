"""Agreement of a segmentation with its reference, conventions for empty masks stated.

Dice (1945): DSC = 2 |P n R| / (|P| + |R|), in [0, 1].

| prediction | reference | DSC | counted as |
|---|---|---|---|
| some | some | the formula | scored |
| some | empty | 0 | false alarm |
| empty | some | 0 | miss |
| empty | empty | NaN, left out of means | absent |

nnU-Net 2.8 uses the same four values, but its headline is a plain mean over classes that one
class without a score turns into NaN. Here a mean says over how many cases or classes it goes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer

__all__ = ["CaseScore", "LabelSummary", "dice", "mean_dice", "score_case", "summarise"]


@dataclass(frozen=True, slots=True)
class CaseScore:
    """DSC of one label in one case, with the voxel counts behind it; NaN where both masks are empty."""

    case_id: str
    label: str
    dice: float
    voxels_reference: int
    voxels_predicted: int


@dataclass(frozen=True, slots=True)
class LabelSummary:
    """DSC of one label over cases.

    Attributes:
        label: its name.
        dice_mean, dice_sd: over the scored cases, misses and false alarms included; NaN without one.
        cases: number of cases with a score.
        misses: cases where the reference has the label and the prediction has none of it.
        false_alarms: cases where only the prediction has it.
        absent: cases where neither has it, left out of the mean.
    """

    label: str
    dice_mean: float
    dice_sd: float
    cases: int
    misses: int
    false_alarms: int
    absent: int


def dice(predicted: Integer[np.ndarray, "z y x"], reference: Integer[np.ndarray, "z y x"], label: int) -> float:
    """Dice coefficient of one label value in [0, 1]; NaN if both masks are empty, 0 if one is."""
    ours, theirs = predicted == label, reference == label
    size = int(np.count_nonzero(ours)) + int(np.count_nonzero(theirs))
    return 2 * int(np.count_nonzero(ours & theirs)) / size if size else float("nan")


def score_case(
    case_id: str,
    predicted: Integer[np.ndarray, "z y x"],
    reference: Integer[np.ndarray, "z y x"],
    labels: Mapping[str, int],
) -> list[CaseScore]:
    """Score one case, one row per label in the order of `labels`; background (0) is left out."""
    return [
        CaseScore(
            case_id,
            name,
            dice(predicted, reference, value),
            int(np.count_nonzero(reference == value)),
            int(np.count_nonzero(predicted == value)),
        )
        for name, value in labels.items()
        if value
    ]


def summarise(scores: Iterable[CaseScore]) -> list[LabelSummary]:
    """Summarise over cases, one row per label in order of first appearance; no scores give no rows."""
    by_label: dict[str, list[CaseScore]] = {}
    for score in scores:
        by_label.setdefault(score.label, []).append(score)
    return [_summary(label, rows) for label, rows in by_label.items()]


def mean_dice(summaries: Iterable[LabelSummary]) -> tuple[float, int]:
    """Mean of the label means, and over how many labels; (NaN, 0) if no label has a score."""
    means = [row.dice_mean for row in summaries if row.cases]
    return (float(np.mean(means)), len(means)) if means else (float("nan"), 0)


def _summary(label: str, rows: list[CaseScore]) -> LabelSummary:
    values = [row.dice for row in rows if not np.isnan(row.dice)]
    return LabelSummary(
        label=label,
        dice_mean=float(np.mean(values)) if values else float("nan"),
        dice_sd=float(np.std(values, ddof=1)) if len(values) > 1 else float("nan"),
        cases=len(values),
        misses=sum(row.voxels_reference > 0 and row.voxels_predicted == 0 for row in rows),
        false_alarms=sum(row.voxels_reference == 0 and row.voxels_predicted > 0 for row in rows),
        absent=len(rows) - len(values),
    )
