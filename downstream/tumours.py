"""Tumours as the stored arrays have them, measured by code that neither the generators nor the quality gate use.

A tumour is a 26-connected component of the lesion layer, its site the commonest anatomical structure under it, its
size the longest distance between two voxel corners within one axial slice. Sides are checked against geometry: a structure
that is called left and lies right of the spine counts as its partner on the right.
"""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from jaxtyping import Bool
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from manifests.anatomy import by_id, group, structure
from manifests.case import Arrays

__all__ = ["WRONG_SIDE", "MeasuredTumour", "measure_tumours"]

WRONG_SIDE = "wrong side"
"""Site of a tumour whose structure lies on the wrong side and has no partner there."""

_SIDES = MappingProxyType({"liver": "right", "spleen": "left", "colon_ascending": "right", "colon_descending": "left"})
"""Sides of structures that have no partner; the anatomy table names sides of pairs alone."""


@dataclass(frozen=True, slots=True)
class MeasuredTumour:
    """One component of the lesion layer; `organ` is None where the structure carries no tumours."""

    organ: str | None
    site: str
    size_mm: float


def measure_tumours(arrays: Arrays) -> tuple[MeasuredTumour, ...]:
    """Measure every component of the lesion layer; empty for no lesion."""
    labels, _ = ndimage.label(arrays.lesions > 0, structure=np.ones((3, 3, 3)))
    found = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        mask = labels[box] == number
        site = int(np.bincount(arrays.anatomy[box][mask]).argmax())
        name, organ = (_site(arrays, site), by_id(site).organ) if site else ("outside the body", None)
        found.append(MeasuredTumour(organ, name, _longest_axial_mm(mask, arrays.grid.spacing_mm_zyx)))
    return tuple(found)


def _site(arrays: Arrays, id: int) -> str:
    """Name of a structure, or of its partner where it lies on the other side of the spine."""
    entry = by_id(id)
    named = entry.side or _SIDES.get(entry.name)
    if named is None:
        return entry.name
    spine = np.isin(arrays.anatomy, [row.id for row in (*group("vertebrae"), structure("vertebral_column"))])
    middle = _centre_x(spine if spine.any() else arrays.anatomy > 0)
    place = "left" if _centre_x(arrays.anatomy == id) > middle else "right"  # x grows to the patient's left
    return entry.name if place == named else entry.mirror or WRONG_SIDE


def _centre_x(mask: Bool[np.ndarray, "z y x"]) -> float:
    counts = mask.sum((0, 1))
    return float(counts @ np.arange(counts.size) / counts.sum())


def _longest_axial_mm(mask: Bool[np.ndarray, "z y x"], spacing_mm_zyx: tuple[float, float, float]) -> float:
    """Longest distance in mm between voxel corners of one axial slice."""
    longest = 0.0
    for plane in mask[mask.any(axis=(1, 2))]:
        y, x = np.nonzero(plane)
        corners = np.concatenate([np.stack([y + i, x + j], axis=1) for i in (0, 1) for j in (0, 1)])
        hull = corners[ConvexHull(corners).vertices] * np.array(spacing_mm_zyx[1:])
        longest = max(longest, float(pdist(hull).max()))
    return longest
