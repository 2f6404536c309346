"""Lesion-wise detection: which instances were found, by one-to-one matching on overlap.

An instance is a 26-connected component of a mask, or an id of an instance map such as the stored lesion layer.
A predicted and a reference instance may be matched when their intersection over union reaches the threshold
(0.1 by default, as nnDetection uses in 3-D, Baumgartner et al. 2021, doi:10.1007/978-3-030-87240-3_51; 0.5 is that of
panoptic quality). Each instance is matched at most once, so that as many pairs as possible are made and, among those
choices, the sum of their overlaps is the largest. Hence a lesion in two pieces is one hit and one false
positive, and one blob over two lesions is one hit and one miss.

| predicted | reference | F1 | recall | precision |
|---|---|---|---|---|
| some | some | 2 TP / (2 TP + FP + FN) | TP / (TP + FN) | TP / (TP + FP) |
| none | some | 0 | 0 | NaN |
| some | none | 0 | NaN | 0 |
| none | none | NaN | NaN | NaN |

A case without lesions thus has no score of its own unless something is reported in it; `pool` adds the counts
of cases and takes the rates of the sums, where every false positive of a healthy case weighs in.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import nan

import numpy as np
from jaxtyping import Bool, Float64, Int32, Integer
from scipy.ndimage import label
from scipy.optimize import linear_sum_assignment

from manifests.errors import InvalidValueError

__all__ = ["IOU_THRESHOLD", "Detection", "Match", "components", "detect", "pool"]

IOU_THRESHOLD = 0.1


@dataclass(frozen=True, slots=True)
class Match:
    """A predicted instance that found a reference instance; overlap as IoU, in [threshold, 1]."""

    predicted_id: int
    reference_id: int
    iou: float

    @property
    def dice(self) -> float:
        """Dice coefficient of the pair: 2 IoU / (1 + IoU)."""
        return 2 * self.iou / (1 + self.iou)


@dataclass(frozen=True, slots=True)
class Detection:
    """Counts of instances, of one case or of many.

    Attributes:
        hits: matched pairs (TP).
        false_positives: predicted instances without a pair (FP).
        misses: reference instances without a pair (FN).
        matches: the pairs by reference id; empty in a pool.
    """

    hits: int
    false_positives: int
    misses: int
    matches: tuple[Match, ...] = ()

    @property
    def recall(self) -> float:
        """Share of reference instances found; NaN without any."""
        return _share(self.hits, self.hits + self.misses)

    @property
    def precision(self) -> float:
        """Share of predicted instances that are hits; NaN without any."""
        return _share(self.hits, self.hits + self.false_positives)

    @property
    def f1(self) -> float:
        """Harmonic mean of the two: 2 TP / (2 TP + FP + FN); NaN where both masks are empty."""
        return _share(2 * self.hits, 2 * self.hits + self.false_positives + self.misses)


def components(mask: Bool[np.ndarray, "z y x"]) -> Int32[np.ndarray, "z y x"]:
    """Number the 26-connected parts of a mask from 1, in the order of their first voxels; 0 stays 0."""
    labelled, _ = label(mask, np.ones((3, 3, 3), bool))
    return np.asarray(labelled, np.int32)


def detect(
    predicted: Integer[np.ndarray, "z y x"],
    reference: Integer[np.ndarray, "z y x"],
    *,
    iou_threshold: float = IOU_THRESHOLD,
) -> Detection:
    """Match the instances of two instance maps (0 = none) one to one.

    Args:
        predicted: instance ids, `components(mask)` for a mask.
        reference: instance ids on the same grid.
        iou_threshold: least overlap of a pair, in (0, 1].

    Raises:
        InvalidValueError: maps on two grids or a threshold out of range.
    """
    if predicted.shape != reference.shape:
        raise InvalidValueError(
            "instance maps to compare",
            got=f"shapes {predicted.shape} and {reference.shape}",
            need="two maps on one grid",
            do="Resample the prediction to the reference's grid.",
        )
    if not 0 < iou_threshold <= 1:
        raise InvalidValueError(
            "iou_threshold", got=repr(iou_threshold), need="a share above 0, at most 1", do="0.1 is usual in 3-D."
        )
    ours, theirs, iou = _overlaps(predicted, reference)
    matches = [
        Match(int(ours[row]), int(theirs[column]), float(iou[row, column]))
        for row, column in _pairs(iou, iou_threshold)
    ]
    matches.sort(key=lambda match: match.reference_id)
    return Detection(len(matches), len(ours) - len(matches), len(theirs) - len(matches), tuple(matches))


def pool(detections: Iterable[Detection]) -> Detection:
    """Add the counts of cases; rates of the result weigh every lesion equally."""
    found = list(detections)
    return Detection(
        hits=sum(one.hits for one in found),
        false_positives=sum(one.false_positives for one in found),
        misses=sum(one.misses for one in found),
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else nan


def _overlaps(
    predicted: Integer[np.ndarray, "z y x"], reference: Integer[np.ndarray, "z y x"]
) -> tuple[Integer[np.ndarray, "p"], Integer[np.ndarray, "r"], Float64[np.ndarray, "p r"]]:
    """Ids of both maps and the intersection over union of every pair."""
    where = np.flatnonzero((predicted != 0) | (reference != 0))
    ours, row = np.unique(np.append(0, predicted.ravel()[where]), return_inverse=True)
    theirs, column = np.unique(np.append(0, reference.ravel()[where]), return_inverse=True)
    zero_row, zero_column = (int(np.searchsorted(ids, 0)) for ids in (ours, theirs))
    size = ours.size * theirs.size
    both = np.bincount(row[1:] * theirs.size + column[1:], minlength=size).reshape(ours.size, theirs.size)
    union = both.sum(1)[:, None] + both.sum(0)[None, :] - both
    iou = np.delete(np.delete(both / np.maximum(union, 1), zero_row, 0), zero_column, 1)
    return np.delete(ours, zero_row), np.delete(theirs, zero_column), iou


def _pairs(iou: Float64[np.ndarray, "p r"], threshold: float) -> list[tuple[int, int]]:
    """Choose the most pairs at or above the threshold, and of those choices the one that overlaps most."""
    allowed = iou >= threshold
    # one pair more outweighs any sum of overlaps, which are at most 1 each
    gain = np.where(allowed, 1.0 + min(iou.shape) + iou, 0.0) if allowed.any() else allowed
    rows, columns = linear_sum_assignment(gain, maximize=True)
    return [(row, column) for row, column in zip(rows.tolist(), columns.tolist(), strict=True) if allowed[row, column]]
