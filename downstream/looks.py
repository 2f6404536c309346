"""What a CT looks like organ by organ, in numbers: what the attribute reader reads.

The organ map says where to look, as it does for the classifier of the GuideGen paper; the map of lesions is never seen. HU of each
group of structures are summed up by quantiles, mean and spread; an organ that may bear a tumour also by what stands out in it:
the largest and the least local mean, how much of it lies in each range of HU and how deep, and its size.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from manifests.anatomy import structures
from manifests.case import Arrays

__all__ = [
    "GROUPS",
    "ORGANS",
    "ORGAN_OF",
    "Coarse",
    "Looks",
    "box_weights",
    "coarse",
    "local_mean",
    "looks_of",
    "organ_boxes",
]

SPACING_MM = 6.0
GROUPS = (*sorted({entry.group for entry in structures()}), "all")
"""Groups of structures by name, and all voxels inside the body; where nothing is labelled, all there are."""
ORGANS = tuple(sorted({entry.organ for entry in structures() if entry.organ}))
"""Organs that may bear a tumour."""
QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
BANDS_HU = (-700.0, -200.0, 0.0, 30.0, 60.0, 90.0, 140.0)
SIGMAS = (0.7, 1.2, 2.0)  # voxels
FEWEST_VOXELS = 3
_MARGIN = 3
ORGAN_OF = np.zeros(256, np.uint8)
"""By id of a structure: 1 + the place of its organ in `ORGANS`, or 0."""
for _entry in structures():
    if _entry.organ:
        ORGAN_OF[_entry.id] = 1 + ORGANS.index(_entry.organ)


@dataclass(frozen=True, slots=True)
class Looks:
    """Numbers of one case; NaN where a structure is not there.

    Attributes:
        groups: by group of `GROUPS`: quantiles, mean and standard deviation of HU.
        organs: by organ of `ORGANS`: least and largest local deviation from the median at each scale, HU; of each range of
            HU the logarithm of its voxels and its depth; of the organ median, spread, logarithm of its voxels, depth.
    """

    groups: Float32[np.ndarray, "g f"]
    organs: Float32[np.ndarray, "k h"]


@dataclass(frozen=True, slots=True)
class Coarse:
    """A case at 6 mm: CT averaged over boxes, and the labels at the middle of each."""

    hu: Float32[np.ndarray, "a b c"]
    anatomy: UInt8[np.ndarray, "a b c"]
    lesions: UInt8[np.ndarray, "a b c"]


def looks_of(arrays: Arrays) -> Looks:
    """Measure a case at 6 mm."""
    case = coarse(arrays)
    of_group = np.zeros(256, np.uint8)
    for entry in structures():
        of_group[entry.id] = 1 + GROUPS.index(entry.group)
    labels = of_group[case.anatomy]
    groups = [_spread(case.hu[labels == number]) for number in range(1, len(GROUPS))]
    groups.append(_spread(case.hu[labels > 0] if labels.any() else case.hu.ravel()))
    return Looks(np.stack(groups), _organs(case.hu, ORGAN_OF[case.anatomy]))


def coarse(arrays: Arrays) -> Coarse:
    """Bring a case to 6 mm; a part of a box at the end is dropped."""
    values, anatomy, lesions = arrays.ct.astype(np.float32), arrays.anatomy, arrays.lesions
    for axis, (count, spacing_mm) in enumerate(zip(arrays.grid.shape_zyx, arrays.grid.spacing_mm_zyx, strict=True)):
        weights = box_weights(count, spacing_mm)
        values = np.moveaxis(np.tensordot(weights, values, (1, axis)), 0, axis)
        middles = (np.arange(len(weights)) + 0.5) * SPACING_MM / spacing_mm
        middles = np.minimum(middles.astype(int), count - 1)
        anatomy, lesions = anatomy.take(middles, axis), lesions.take(middles, axis)
    return Coarse(np.ascontiguousarray(values, np.float32), anatomy, lesions)


def box_weights(count: int, spacing_mm: float) -> Float32[np.ndarray, "out count"]:
    """Matrix that averages voxels of one axis into boxes of `SPACING_MM`; a part of a box at the end is dropped."""
    boxes = max(1, int(count * spacing_mm / SPACING_MM + 1e-6))
    ends = np.minimum(np.arange(boxes + 1) * SPACING_MM, count * spacing_mm)
    edges = np.arange(count + 1) * spacing_mm
    overlap = np.minimum(ends[1:, None], edges[1:]) - np.maximum(ends[:-1, None], edges[:-1])
    weights = overlap.clip(0)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


def _spread(hu: Float32[np.ndarray, " n"]) -> Float32[np.ndarray, " f"]:
    if len(hu) < FEWEST_VOXELS:
        return np.full(len(QUANTILES) + 2, np.nan, np.float32)
    return np.array([*np.quantile(hu, QUANTILES), hu.mean(), hu.std()], np.float32)


def _organs(ct: Float32[np.ndarray, "z y x"], labels: UInt8[np.ndarray, "z y x"]) -> Float32[np.ndarray, "k h"]:
    rows = np.full((len(ORGANS), 2 * len(SIGMAS) + 2 * (len(BANDS_HU) + 1) + 4), np.nan, np.float32)
    for index, around, organ in organ_boxes(labels, _MARGIN):
        rows[index] = _organ(ct[around], organ)
    return rows


def organ_boxes(
    labels: UInt8[np.ndarray, "z y x"], margin: int
) -> Iterator[tuple[int, tuple[slice, ...], Bool[np.ndarray, "a b c"]]]:
    """By organ that is there: its place in `ORGANS`, the box around it with a margin in voxels, and where it lies in the box.

    Args:
        labels: as `ORGAN_OF` gives them.
        margin: voxels to each side.
    """
    for index, box in enumerate(ndimage.find_objects(labels, len(ORGANS))):
        if box is not None:
            around = tuple(slice(max(0, part.start - margin), part.stop + margin) for part in box)
            yield index, around, labels[around] == index + 1


def _organ(hu: Float32[np.ndarray, "z y x"], inside: Bool[np.ndarray, "z y x"]) -> list[float]:
    median = float(np.median(hu[inside]))
    off = np.where(inside, hu - median, 0)
    local = [local_mean(off, inside, sigma) for sigma in SIGMAS]
    bands = np.digitize(local[0] + median, BANDS_HU)
    found: list[float] = []
    for means in local:
        found += [float(means[inside].min()), float(means[inside].max())]
    for band in range(len(BANDS_HU) + 1):
        part = inside & (bands == band)
        found += [float(np.log1p(part.sum())), _depth(part)]
    return [*found, median, float(off[inside].std()), float(np.log(inside.sum())), _depth(inside)]


def local_mean(
    values: Float32[np.ndarray, "z y x"], inside: Bool[np.ndarray, "z y x"], sigma: float
) -> Float32[np.ndarray, "z y x"]:
    """Means around each voxel, of what is inside alone."""
    share = ndimage.gaussian_filter(inside.astype(np.float32), sigma)
    return np.asarray(ndimage.gaussian_filter(values, sigma) / np.maximum(share, 1e-3), np.float32)


def _depth(part: Bool[np.ndarray, "z y x"]) -> float:
    return float(ndimage.distance_transform_edt(part).max())
