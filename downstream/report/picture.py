"""A case as pictures: slices in three planes with the outlines of its structures.

They are shown as radiologists hang them: the patient's left on the right of the image, anterior at the
top of axial and on the left of sagittal slices, superior up. Coordinates are mm from the upper left
corner of a plane, so spacings keep their proportions. Contact sheet and page draw these pictures and no others.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from contourpy import contour_generator
from jaxtyping import Bool, Float64, Int16, Integer, UInt8
from PIL import Image
from scipy.ndimage import find_objects, gaussian_filter

from downstream.report.colours import TUMOUR, family_of
from downstream.report.grey import windowed
from manifests.anatomy import structures
from manifests.case import Arrays, CaseRecord

__all__ = ["PLANES", "Cutter", "Outline", "Picture", "Plane", "PlaneName", "draw", "families_of"]

PlaneName = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[PlaneName, ...] = ("axial", "coronal", "sagittal")

_PIXEL_MM = 1.5
_SMOOTHING_VOXELS = 0.6


@dataclass(frozen=True, slots=True)
class Outline:
    """The outline of one family of structures in a plane: closed lines of (x, y) in mm, holes included."""

    name: str
    lines: tuple[Float64[np.ndarray, "n 2"], ...]


@dataclass(frozen=True, slots=True)
class Plane:
    """One slice: HU with row 0 at the top, its size in mm, and the outlines over it."""

    name: PlaneName
    ct_hu: Int16[np.ndarray, "rows columns"]
    width_mm: float
    height_mm: float
    outlines: tuple[Outline, ...]

    @property
    def grey(self) -> UInt8[np.ndarray, "rows columns"]:
        """Grey values in the soft-tissue window."""
        return windowed(self.ct_hu)


@dataclass(frozen=True, slots=True)
class Picture:
    """A case as its three planes: axial, coronal, sagittal."""

    record: CaseRecord
    planes: tuple[Plane, Plane, Plane]

    @property
    def families(self) -> tuple[str, ...]:
        """Names that occur in any plane, tumours first, the rest by name."""
        return families_of({outline.name for plane in self.planes for outline in plane.outlines})


class Cutter:
    """A case ready to be cut anywhere.

    Attributes:
        centre: voxel (z, y, x) at the middle of the largest lesion; else of the body; else of the volume.
    """

    def __init__(self, record: CaseRecord, arrays: Arrays) -> None:
        self.arrays = arrays
        self.names, number_of = _families()
        self._families = number_of[arrays.anatomy]
        self.centre = _centre(record, arrays)

    def count(self, plane: PlaneName) -> int:
        """Number of slices of a plane."""
        return self.arrays.grid.shape_zyx[PLANES.index(plane)]

    def offset_mm(self, plane: PlaneName, index: int) -> float:
        """Where the middle of a slice lies, in mm from the upper or left edge of the two other planes."""
        axis = PLANES.index(plane)
        from_edge = self.count(plane) - index if plane == "axial" else index + 1
        return (from_edge - 0.5) * self.arrays.grid.spacing_mm_zyx[axis]

    def cut(self, plane: PlaneName, index: int) -> Plane:
        """Cut one slice; pixels are 1.5 mm whatever the voxels are."""
        axis = PLANES.index(plane)
        ct, families, lesions = (
            _hung(np.take(layer, index, axis), plane) for layer in (self.arrays.ct, self._families, self.arrays.lesions)
        )
        dy, dx = (step for number, step in enumerate(self.arrays.grid.spacing_mm_zyx) if number != axis)
        size_mm = ct.shape[1] * dx, ct.shape[0] * dy
        outlines = tuple(self._outlines(families, lesions, (dy, dx)))
        return Plane(plane, _resampled(ct, size_mm), *size_mm, outlines)

    def _outlines(
        self,
        families: UInt8[np.ndarray, "rows columns"],
        lesions: UInt8[np.ndarray, "rows columns"],
        spacing: tuple[float, float],
    ) -> Iterator[Outline]:
        """Outline each family of structures, tumours last so that they lie on top."""
        boxes = find_objects(families, len(self.names))
        for number, (name, box) in enumerate(zip(self.names, boxes, strict=True), start=1):
            if box and (lines := tuple(_contours(families[box] == number, spacing, _corner(box)))):
                yield Outline(name, lines)
        (box,) = find_objects((lesions > 0).astype(np.uint8), 1)
        if box and (lines := tuple(_contours(lesions[box] > 0, spacing, _corner(box)))):
            yield Outline(TUMOUR, lines)


def draw(record: CaseRecord, arrays: Arrays) -> Picture:
    """Cut a case along three planes through its centre of interest."""
    cutter = Cutter(record, arrays)
    axial, coronal, sagittal = (cutter.cut(plane, index) for plane, index in zip(PLANES, cutter.centre, strict=True))
    return Picture(record, (axial, coronal, sagittal))


def families_of(names: set[str]) -> tuple[str, ...]:
    """Put names of families in the order of a legend: tumours first, the rest by name."""
    return tuple(sorted(names, key=lambda name: (name != TUMOUR, name)))


def _families() -> tuple[tuple[str, ...], UInt8[np.ndarray, "256"]]:
    """Names of all families by name, and by anatomy id the number of its family, 0 for none."""
    family_by_id = {entry.id: name for entry in structures() if (name := family_of(entry))}
    names = tuple(sorted(set(family_by_id.values())))
    number_of = np.zeros(256, np.uint8)
    for id, name in family_by_id.items():
        number_of[id] = names.index(name) + 1
    return names, number_of


def _centre(record: CaseRecord, arrays: Arrays) -> tuple[int, int, int]:
    largest = max(record.lesions, key=lambda lesion: lesion.size_mm, default=None)
    places = np.argwhere(arrays.lesions == largest.id) if largest else np.empty((0, 3))
    if len(places):
        z, y, x = places[np.abs(places - places.mean(axis=0)).sum(axis=1).argmin()].tolist()
        return z, y, x
    body = arrays.anatomy > 0
    z, y, x = (_middle(body.sum(axis=others)) for others in ((1, 2), (0, 2), (0, 1)))
    return z, y, x


def _middle(counts: Integer[np.ndarray, " n"]) -> int:
    """Index of the centre of mass of counts, or the middle where all are 0."""
    weights = counts if counts.any() else np.ones_like(counts)
    return round(float(np.average(np.arange(len(counts)), weights=weights)))


def _hung(cut: Integer[np.ndarray, "rows columns"], plane: PlaneName) -> Integer[np.ndarray, "rows columns"]:
    """Turn a cut upright: axial slices already are."""
    turned: Integer[np.ndarray, "rows columns"] = cut if plane == "axial" else cut[::-1]
    return turned


def _resampled(ct: Int16[np.ndarray, "rows columns"], size_mm: tuple[float, float]) -> Int16[np.ndarray, "_ _"]:
    """Resample to the pixels of a picture: bicubic, smoothed before it shrinks."""
    columns, rows = (max(1, round(length / _PIXEL_MM)) for length in size_mm)
    smooth = Image.fromarray(ct.astype(np.float32)).resize((columns, rows), Image.Resampling.BICUBIC)
    pixels: Int16[np.ndarray, "_ _"] = np.rint(np.asarray(smooth).clip(-1024, 3071)).astype(np.int16)
    return pixels


def _corner(box: tuple[slice, ...]) -> tuple[int, int]:
    return box[0].start, box[1].start


def _contours(
    mask: Bool[np.ndarray, "rows columns"], spacing: tuple[float, float], corner: tuple[int, int] = (0, 0)
) -> Iterator[Float64[np.ndarray, "n 2"]]:
    """Closed lines around a mask at a corner (row, column), slightly smoothed; voxel centres lie half a voxel inside."""
    padded = gaussian_filter(np.pad(mask, 2).astype(np.float64), _SMOOTHING_VOXELS)
    level = min(0.5, 0.9 * float(padded.max()))  # what is one voxel thin would vanish at a half
    shift = np.array([corner[1], corner[0]]) - 1.5
    for line in contour_generator(z=padded).lines(level):
        if len(line) > 3:
            yield (np.asarray(line, np.float64) + shift) * np.array([spacing[1], spacing[0]])
