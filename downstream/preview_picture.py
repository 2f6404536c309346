"""A case as a picture: three slices with the outlines of its structures, and one colour for each.

Slices go through the centre of the largest tumour, or of the body where there is none. They are
shown as radiologists hang them: the patient's left on the right of the image, anterior at the
top of axial and on the left of sagittal slices, superior up; window 400 HU wide around 40 HU.
Coordinates are mm from the upper left corner of a plane, so spacings keep their proportions.
"""

import colorsys
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from contourpy import contour_generator
from jaxtyping import Bool, Float64, Int16, Integer, UInt8
from scipy.ndimage import gaussian_filter, zoom

from manifests.anatomy import Structure, by_id
from manifests.case import Arrays, CaseRecord

__all__ = ["TUMOUR", "Outline", "Picture", "Plane", "colour_of", "draw", "windowed"]

TUMOUR = "tumour"
WINDOW_HU, LEVEL_HU = 400.0, 40.0
_UNDRAWN = {"soft", "fat", "muscle", "cartilage"}
_FINEST_MM = 1.5
_SMOOTHING_VOXELS = 0.6

_COLOURS = {
    TUMOUR: "#ff3b5c",
    "liver": "#d98c4a",
    "spleen": "#a678e2",
    "kidney": "#f2c14e",
    "pancreas": "#ffe08a",
    "adrenal_gland": "#7ee0c0",
    "stomach": "#7fc8f8",
    "duodenum": "#4fa3d9",
    "small_bowel": "#5f8fd6",
    "colon": "#5fd38d",
    "esophagus": "#9fd8cb",
    "gallbladder": "#3fb98f",
    "urinary_bladder": "#62d2e0",
    "lung": "#5b7db1",
    "heart": "#e86a6a",
    "spinal_cord": "#f7e08b",
    "bones": "#cfc9bd",
    "arteries": "#ff6f61",
    "veins": "#6f8dff",
    "airways": "#8fd3e8",
    "prostate": "#c58bb5",
    "uterus": "#e39ac0",
}
_TISSUES = {"bone": "bones", "artery": "arteries", "vein": "veins", "airway": "airways", "heart": "heart"}
"""Tissues whose structures are drawn as one family."""


@dataclass(frozen=True, slots=True)
class Outline:
    """The outline of one family of structures in a plane: closed lines of (x, y) in mm, holes included."""

    name: str
    lines: tuple[Float64[np.ndarray, "n 2"], ...]


@dataclass(frozen=True, slots=True)
class Plane:
    """One slice: grey values with row 0 at the top, its size in mm, and the outlines over it."""

    name: str
    grey: UInt8[np.ndarray, "rows columns"]
    width_mm: float
    height_mm: float
    outlines: tuple[Outline, ...]


@dataclass(frozen=True, slots=True)
class Picture:
    """A case as its three planes: axial, coronal, sagittal."""

    record: CaseRecord
    planes: tuple[Plane, Plane, Plane]

    @property
    def families(self) -> tuple[str, ...]:
        """Names that occur in any plane, tumours first, the rest by name."""
        names = {outline.name for plane in self.planes for outline in plane.outlines}
        return tuple(sorted(names, key=lambda name: (name != TUMOUR, name)))


def draw(record: CaseRecord, arrays: Arrays) -> Picture:
    """Cut a case along three planes through its centre of interest."""
    z, y, x = _centre(record, arrays)
    dz, dy, dx = arrays.grid.spacing_mm_zyx
    cuts = (
        ("axial", np.s_[z], (dy, dx), False),
        ("coronal", np.s_[:, y], (dz, dx), True),
        ("sagittal", np.s_[:, :, x], (dz, dy), True),
    )
    axial, coronal, sagittal = (_plane(arrays, *cut) for cut in cuts)
    return Picture(record, (axial, coronal, sagittal))


def windowed(ct_hu: Int16[np.ndarray, "rows columns"]) -> UInt8[np.ndarray, "rows columns"]:
    """Grey values of the soft-tissue window: 0 at -160 HU and below, 255 at 240 HU and above."""
    low = LEVEL_HU - WINDOW_HU / 2
    grey: UInt8[np.ndarray, "rows columns"] = np.rint(((ct_hu - low) / WINDOW_HU).clip(0, 1) * 255).astype(np.uint8)
    return grey


def colour_of(family: str) -> str:
    """Colour of a family as #rrggbb, the same in every picture."""
    if family in _COLOURS:
        return _COLOURS[family]
    hue = hashlib.sha256(family.encode()).digest()[0] / 256
    red, green, blue = colorsys.hls_to_rgb(hue, 0.66, 0.6)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def _centre(record: CaseRecord, arrays: Arrays) -> tuple[int, int, int]:
    """Voxel at the middle of the largest lesion; else of the body; else of the volume."""
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


def _plane(arrays: Arrays, name: str, cut: Any, spacing: tuple[float, float], upside_down: bool) -> Plane:
    ct, anatomy, lesions = (
        layer[cut][::-1] if upside_down else layer[cut] for layer in (arrays.ct, arrays.anatomy, arrays.lesions)
    )
    scale = [max(1.0, step / _FINEST_MM) for step in spacing]
    fine = zoom(ct.astype(np.float32), scale, order=3, mode="nearest", grid_mode=True)
    return Plane(
        name=name,
        grey=windowed(np.rint(fine.clip(-1024, 3071)).astype(np.int16)),
        width_mm=ct.shape[1] * spacing[1],
        height_mm=ct.shape[0] * spacing[0],
        outlines=tuple(_outlines(anatomy, lesions, spacing)),
    )


def _outlines(
    anatomy: UInt8[np.ndarray, "rows columns"], lesions: UInt8[np.ndarray, "rows columns"], spacing: tuple[float, float]
) -> Iterator[Outline]:
    """Outline each family of structures, tumours last so that they lie on top."""
    members: dict[str, list[int]] = {}
    for value in np.unique(anatomy).tolist():
        if value and (family := _family(by_id(value))):
            members.setdefault(family, []).append(value)
    masks: Iterable[tuple[str, Bool[np.ndarray, "rows columns"]]] = (
        (family, np.isin(anatomy, values)) for family, values in sorted(members.items())
    )
    for family, mask in (*masks, (TUMOUR, lesions > 0)):
        if lines := tuple(_contours(mask, spacing)):
            yield Outline(family, lines)


def _contours(
    mask: Bool[np.ndarray, "rows columns"], spacing: tuple[float, float]
) -> Iterator[Float64[np.ndarray, "n 2"]]:
    """Closed lines around a mask, slightly smoothed; voxel centres lie half a voxel from the edge."""
    if not mask.any():
        return
    padded = gaussian_filter(np.pad(mask, 2).astype(np.float64), _SMOOTHING_VOXELS)
    level = min(0.5, 0.9 * float(padded.max()))  # what is one voxel thin would vanish at a half
    for line in contour_generator(z=padded).lines(level):
        if len(line) > 3:
            yield (np.asarray(line, np.float64) - 1.5) * np.array([spacing[1], spacing[0]])


def _family(entry: Structure) -> str | None:
    """Family under which a structure is drawn and listed; None for what would hide the rest."""
    if entry.tissue in _UNDRAWN:
        return None
    return _TISSUES.get(entry.tissue) or (entry.group if entry.group != "undivided" else entry.name)
