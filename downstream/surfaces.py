"""How far the surface of a predicted mask lies from that of its reference: DSC, NSD, HD95, mean distance, volume.

Two definitions of a surface are in use, and each metric here takes the one that its field takes:

- HD95 and the mean distance go over *boundary voxels*, voxels of the mask with one of their six neighbours
  outside (MONAI, medpy). HD95 is the larger of the two directed 95th percentiles, as in MONAI 1.6 and Metrics
  Reloaded; `hd95_pooled_mm` is medpy's 95th percentile of both directions thrown together, never larger. The
  mean distance is the mean over the boundary voxels of both masks (MONAI's `symmetric=True`).
- NSD goes over *surface elements weighted by their area* (`surfels.py`), as Nikolov et al. (2021,
  doi:10.2196/26151) define it: the share of both surfaces that lies within the tolerance of the other.

What lies outside the image counts as empty, so that a mask cut by the image's end has a surface there.
Distances are exact Euclidean distances between the centres of voxels or the points of surface elements, in mm.

| predicted | reference | DSC | NSD | HD95, mean distance | volume error | relative | outcome |
|---|---|---|---|---|---|---|---|
| some | some | formula | formula | formula | P - R | (P - R) / R | scored |
| empty | some | 0 | 0 | diagonal of the image | -R | -1 | miss |
| some | empty | 0 | 0 | diagonal of the image | P | infinity | false alarm |
| empty | empty | NaN | NaN | NaN | 0 | NaN | absent |

The diagonal is that of the whole field of view: no distance inside the image exceeds it, so a miss is never better
than a hit. NaN stands for "nothing to score" alone and stays out of means.
"""

from dataclasses import dataclass
from math import inf, nan
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.ndimage import distance_transform_edt, find_objects
from scipy.spatial import cKDTree

from downstream import surfels
from manifests.errors import InvalidValueError

__all__ = [
    "TOLERANCE_MM",
    "Outcome",
    "SurfaceScores",
    "boundary",
    "check_masks",
    "field_diagonal_mm",
    "nearest_mm",
    "paper_scores",
    "surface_scores",
]

Outcome = Literal["scored", "miss", "false alarm", "absent"]
Spacing = tuple[float, float, float]
Box = tuple[slice, slice, slice]

TOLERANCE_MM = 3.0  # of TotalSegmentator (Wasserthal et al. 2023, doi:10.1148/ryai.230024)
ROUNDING_MM = 1e-9  # three voxels of 0.7 mm are 2.1 mm, not more
DENSE = 0.1  # share of the box that targets fill, above which a distance transform is cheaper than a k-d tree


@dataclass(frozen=True, slots=True)
class SurfaceScores:
    """Scores of one label in one case; empty masks as in the table of the module.

    Attributes:
        dice: 2 |P n R| / (|P| + |R|), in [0, 1].
        nsd: normalised surface distance (surface Dice) at the tolerance, in [0, 1].
        hd95_mm: larger of the directed 95th percentiles.
        hd95_pooled_mm: 95th percentile over both directions together.
        mean_distance_mm: mean over the boundary voxels of both masks.
        predicted_ml, reference_ml: volumes.
        outcome: which row of the table applies.
    """

    dice: float
    nsd: float
    hd95_mm: float
    hd95_pooled_mm: float
    mean_distance_mm: float
    predicted_ml: float
    reference_ml: float
    outcome: Outcome

    @property
    def volume_error_ml(self) -> float:
        """Predicted minus reference volume."""
        return self.predicted_ml - self.reference_ml

    @property
    def volume_error_relative(self) -> float:
        """Volume error over the reference's volume; infinite for a false alarm, NaN where both are empty."""
        if self.reference_ml:
            return self.volume_error_ml / self.reference_ml
        return inf if self.predicted_ml else nan


def surface_scores(
    predicted: Bool[np.ndarray, "z y x"],
    reference: Bool[np.ndarray, "z y x"],
    spacing_mm_zyx: Spacing,
    *,
    tolerance_mm: float | None = TOLERANCE_MM,
    diagonal_mm: float | None = None,
) -> SurfaceScores:
    """Score one predicted mask against its reference; the module says by which definitions.

    Args:
        predicted: mask to judge.
        reference: mask of the truth, on the same grid.
        spacing_mm_zyx: size of a voxel.
        tolerance_mm: distance up to which NSD calls two surfaces the same; None leaves NSD out, as NaN.
        diagonal_mm: what a miss or a false alarm gets for a distance; needed where the masks are crops of an
            image, otherwise the diagonal of the masks' own grid.

    Raises:
        InvalidValueError: masks of different shape, spacing or tolerance out of range.
    """
    spacing = check_masks(predicted, reference, spacing_mm_zyx, tolerance_mm)
    outcome = _outcome(bool(predicted.any()), bool(reference.any()))
    voxel_ml = float(np.prod(spacing)) / 1000
    p_ml, r_ml = (np.count_nonzero(mask) * voxel_ml for mask in (predicted, reference))
    if outcome == "absent":
        return SurfaceScores(nan, nan, nan, nan, nan, 0.0, 0.0, outcome)
    if outcome != "scored":
        far = field_diagonal_mm(predicted.shape, spacing) if diagonal_mm is None else diagonal_mm
        nsd = nan if tolerance_mm is None else 0.0
        return SurfaceScores(0.0, nsd, far, far, far, p_ml, r_ml, outcome)
    box = _box(predicted | reference)
    ours, theirs = np.ascontiguousarray(predicted[box]), np.ascontiguousarray(reference[box])
    dice = 2 * np.count_nonzero(ours & theirs) / (np.count_nonzero(ours) + np.count_nonzero(theirs))
    there, back = _boundary_distances_mm(ours, theirs, spacing)
    return SurfaceScores(
        dice=float(dice),
        nsd=nan if tolerance_mm is None else _nsd(ours, theirs, spacing, tolerance_mm),
        hd95_mm=float(max(np.percentile(there, 95), np.percentile(back, 95))),
        hd95_pooled_mm=float(np.percentile(np.concatenate([there, back]), 95)),
        mean_distance_mm=float((there.sum() + back.sum()) / (there.size + back.size)),
        predicted_ml=p_ml,
        reference_ml=r_ml,
        outcome=outcome,
    )


def paper_scores(predicted: Bool[np.ndarray, "z y x"], reference: Bool[np.ndarray, "z y x"]) -> tuple[float, float]:
    """Score DSC and HD95 by the conventions of GuideGen's published code, for comparison with its tables alone.

    HD95 is in voxels whatever their size. Both masks empty: (1, 1). One empty: (0, 0), so that a complete
    miss has a perfect HD95.
    """
    outcome = _outcome(bool(predicted.any()), bool(reference.any()))
    if outcome != "scored":
        return (1.0, 1.0) if outcome == "absent" else (0.0, 0.0)
    scores = surface_scores(predicted, reference, (1.0, 1.0, 1.0))
    return scores.dice, scores.hd95_pooled_mm


def boundary(mask: Bool[np.ndarray, "z y x"]) -> Bool[np.ndarray, "z y x"]:
    """Mark the voxels of a mask that have one of their six neighbours outside it or outside the array."""
    inside = mask.copy()
    for axis in range(3):
        along, source = np.moveaxis(inside, axis, 0), np.moveaxis(mask, axis, 0)  # views
        along[1:] &= source[:-1]
        along[:-1] &= source[1:]
        along[[0, -1]] = False
    edge: Bool[np.ndarray, "z y x"] = mask ^ inside
    return edge


def nearest_mm(
    points: Bool[np.ndarray, "z y x"], targets: Bool[np.ndarray, "z y x"], spacing_mm_zyx: Spacing
) -> Float64[np.ndarray, "n"]:
    """Measure the exact distance in mm from each of `points`, in C order, to the nearest of `targets`.

    Infinite where there are no targets. Only points that are no targets themselves look for a neighbour.
    """
    flat = np.flatnonzero(points)
    away = np.flatnonzero(~targets.ravel()[flat])
    distances_mm = np.zeros(flat.size)
    if away.size:
        zyx = _coordinates(flat[away], points.shape)
        distances_mm[away] = _search_mm(zyx, targets, spacing_mm_zyx)
    return distances_mm


def field_diagonal_mm(shape_zyx: tuple[int, ...], spacing_mm_zyx: Spacing) -> float:
    """Diagonal of the field of view: the distance that a miss or a false alarm is given."""
    return float(np.linalg.norm(np.array(shape_zyx) * np.array(spacing_mm_zyx)))


def check_masks(
    predicted: np.ndarray, reference: np.ndarray, spacing_mm_zyx: Spacing, tolerance_mm: float | None
) -> Spacing:
    """Check what two masks are scored with and return the spacing as floats.

    Raises:
        InvalidValueError: different shapes, spacing or tolerance out of range.
    """
    if predicted.shape != reference.shape:
        raise InvalidValueError(
            "masks to compare",
            got=f"shapes {predicted.shape} and {reference.shape}",
            need="two masks on one grid",
            do="Resample the prediction to the reference's grid.",
        )
    if len(spacing_mm_zyx) != 3 or not all(0 < s < inf for s in spacing_mm_zyx):
        raise InvalidValueError(
            "spacing_mm_zyx", got=repr(spacing_mm_zyx), need="three sizes above 0 mm", do="Read them from the image."
        )
    if tolerance_mm is not None and not 0 <= tolerance_mm < inf:
        raise InvalidValueError(
            "tolerance_mm", got=repr(tolerance_mm), need="0 mm or more", do="3 mm is TotalSegmentator's."
        )
    z, y, x = (float(s) for s in spacing_mm_zyx)
    return z, y, x


def _outcome(predicted: bool, reference: bool) -> Outcome:
    if predicted:
        return "scored" if reference else "false alarm"
    return "miss" if reference else "absent"


def _box(mask: Bool[np.ndarray, "z y x"]) -> Box:
    z, y, x = find_objects(mask.view(np.uint8))[0]
    return z, y, x


def _boundary_distances_mm(
    predicted: Bool[np.ndarray, "z y x"], reference: Bool[np.ndarray, "z y x"], spacing: Spacing
) -> tuple[Float64[np.ndarray, "p"], Float64[np.ndarray, "r"]]:
    ours, theirs = boundary(predicted), boundary(reference)
    return nearest_mm(ours, theirs, spacing), nearest_mm(theirs, ours, spacing)


def _nsd(
    predicted: Bool[np.ndarray, "z y x"], reference: Bool[np.ndarray, "z y x"], spacing: Spacing, tolerance_mm: float
) -> float:
    """Share of the area of both surfaces that lies within the tolerance of the other."""
    area_of = surfels.areas_mm2(spacing)
    codes = [surfels.codes(mask) for mask in (predicted, reference)]
    points = [(code != 0) & (code != 255) for code in codes]
    within = total = 0.0
    for code, ours, theirs in zip(codes, points, reversed(points), strict=True):
        areas_mm2 = area_of[code[ours]]
        near = nearest_mm(ours, theirs, spacing) <= tolerance_mm + ROUNDING_MM
        within, total = within + float(areas_mm2[near].sum()), total + float(areas_mm2.sum())
    return within / total


def _coordinates(flat: Int64[np.ndarray, "n"], shape: tuple[int, ...]) -> Int64[np.ndarray, "n 3"]:
    return np.stack(np.unravel_index(flat, shape), -1)


def _search_mm(
    zyx: Int64[np.ndarray, "n 3"], targets: Bool[np.ndarray, "z y x"], spacing_mm_zyx: Spacing
) -> Float64[np.ndarray, "n"]:
    found = np.flatnonzero(targets)
    if not found.size:
        return np.full(len(zyx), inf)
    if found.size > DENSE * targets.size:
        field = distance_transform_edt(~targets, sampling=spacing_mm_zyx)
        return np.asarray(field[tuple(zyx.T)], np.float64)
    # an unbalanced tree is built in half the time, and each is asked once
    tree = cKDTree(
        _coordinates(found, targets.shape) * np.array(spacing_mm_zyx),
        leafsize=32,
        compact_nodes=False,
        balanced_tree=False,
    )
    return np.asarray(tree.query(zyx * np.array(spacing_mm_zyx))[0], np.float64)
