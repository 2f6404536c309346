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

`score_labels` adds the surface metrics of `surfaces.py` to each label of a case, and `score_cases` does so for
many cases at once. Every label is cut to its box first; the figures are those of the whole image.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from jaxtyping import Integer
from scipy.ndimage import find_objects

from downstream.results import Result
from downstream.surfaces import TOLERANCE_MM, SurfaceScores, check_masks, field_diagonal_mm, surface_scores

__all__ = [
    "METRICS",
    "CaseScore",
    "LabelSummary",
    "LabelledPair",
    "dice",
    "mean_dice",
    "score_case",
    "score_cases",
    "score_labels",
    "summarise",
    "tidy",
]

METRICS = ("dice", "nsd", "hd95_mm", "mean_distance_mm", "volume_error_ml", "volume_error_relative")
"""Metrics of the tidy table, in its order."""

Box = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class CaseScore:
    """DSC of one label in one case, with the voxel counts behind it; NaN where both masks are empty."""

    case_id: str
    label: str
    dice: float
    voxels_reference: int
    voxels_predicted: int


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Label maps of one case to compare.

    Attributes:
        case_id: the case.
        predicted, reference: integer label maps on one grid, no value below 0.
        spacing_mm_zyx: size of a voxel.
    """

    case_id: str
    predicted: Integer[np.ndarray, "z y x"]
    reference: Integer[np.ndarray, "z y x"]
    spacing_mm_zyx: tuple[float, float, float]


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


def score_labels(
    pair: LabelledPair, labels: Mapping[str, int], *, tolerance_mm: float | None = TOLERANCE_MM, workers: int = 1
) -> dict[str, SurfaceScores]:
    """Score every label of a case but background (0), in the order of `labels`.

    The result is the same for any number of workers (threads over labels).

    Raises:
        InvalidValueError: maps on two grids, spacing or tolerance out of range.
    """
    spacing = check_masks(pair.predicted, pair.reference, pair.spacing_mm_zyx, tolerance_mm)
    diagonal_mm = field_diagonal_mm(pair.reference.shape, spacing)
    most = max(labels.values(), default=0)
    ours, theirs = (find_objects(labelled, most) for labelled in (pair.predicted, pair.reference))

    def score(name: str) -> SurfaceScores:
        value = labels[name]
        box = _union(ours[value - 1], theirs[value - 1])
        return surface_scores(
            pair.predicted[box] == value,
            pair.reference[box] == value,
            spacing,
            tolerance_mm=tolerance_mm,
            diagonal_mm=diagonal_mm,
        )

    names = [name for name, value in labels.items() if value]
    if workers == 1:
        return {name: score(name) for name in names}
    with ThreadPoolExecutor(workers) as pool:
        return dict(zip(names, pool.map(score, names), strict=True))


def score_cases(
    cases: Iterable[Callable[[], LabelledPair]],
    labels: Mapping[str, int],
    *,
    tolerance_mm: float | None = TOLERANCE_MM,
    workers: int = 1,
) -> Iterator[tuple[str, dict[str, SurfaceScores]]]:
    """Load and score cases, `workers` at a time (threads), and yield them in the order given.

    The search trees and array operations inside release the interpreter's lock. No more than `workers`
    cases are in memory at once, beside their scores.
    """

    def score(load: Callable[[], LabelledPair]) -> tuple[str, dict[str, SurfaceScores]]:
        pair = load()
        return pair.case_id, score_labels(pair, labels, tolerance_mm=tolerance_mm)

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(score, cases)


def tidy(case_id: str, scores: Mapping[str, SurfaceScores], *, arm: str = "", seed: int = 0) -> list[Result]:
    """Turn the scores of a case into rows of the tidy table, one per label and metric of `METRICS`."""
    return [
        Result(case_id, name, metric, float(getattr(score, metric)), arm, seed)
        for name, score in scores.items()
        for metric in METRICS
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


def _union(first: Box | None, second: Box | None) -> Box:
    """Smallest box around both; one voxel where neither label is present."""
    if first is None or second is None:
        return first or second or (slice(0, 1), slice(0, 1), slice(0, 1))
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(first, second, strict=True))


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
