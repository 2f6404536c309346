"""The slices of a case as a page holds them: pictures of a few kB, outlines as path data.

The middle slice is the one that `picture.draw` shows; the others follow in steps of about 6 mm, or of more where
a case would otherwise exceed its share of the page.
"""

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64
from matplotlib.path import Path as Curve
from PIL import Image

from downstream.report.grey import encoded
from downstream.report.picture import PLANES, Cutter, Outline, Plane, PlaneName, families_of
from manifests.case import Arrays, CaseRecord

__all__ = ["MAX_CASE_BYTES", "PATH_UNITS_PER_MM", "Frame", "Stack", "Viewer", "stacked"]

MAX_CASE_BYTES = 1_800_000
"""What the slices of one case may take on the page, as text."""

PATH_UNITS_PER_MM = 2
"""Outlines are stored in whole half millimetres."""

_STEP_MM = 6.0
_QUALITY = 80  # of WebP; what it loses at 2.8 HU a level is less than the noise of a scan
_TOLERANCE = 0.25  # of a path unit, by which an outline may be moved to save points
_DIRECTIONS: dict[PlaneName, tuple[int, str, str]] = {
    "axial": (2, "S", "I"),
    "coronal": (1, "P", "A"),
    "sagittal": (0, "L", "R"),
}
"""By plane: coordinate of LPS space, letter of its positive and of its negative side."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One slice.

    Attributes:
        offset: where it lies in the two other planes, in path units from their upper or left edge.
        place: its position in patient space, such as "25 mm I".
        picture: WebP of the 8-bit code of `grey.encoded`, in base64.
        paths: SVG path data by family.
    """

    offset: float
    place: str
    picture: str
    paths: dict[str, str]

    @property
    def size(self) -> int:
        """Characters that it takes on the page."""
        return len(self.picture) + sum(len(name) + len(path) + 8 for name, path in self.paths.items())


@dataclass(frozen=True, slots=True)
class Stack:
    """The slices of one plane, ordered by offset; `middle` is the one shown first."""

    plane: PlaneName
    width: float
    height: float
    frames: tuple[Frame, ...]
    middle: int

    @property
    def size(self) -> int:
        """Characters that it takes on the page."""
        return sum(frame.size for frame in self.frames)

    @property
    def shown(self) -> Frame:
        """The slice shown first."""
        return self.frames[self.middle]

    @property
    def families(self) -> tuple[str, ...]:
        """Families that occur in any slice, as they are drawn: tumours last, on top."""
        return tuple(reversed(families_of({name for frame in self.frames for name in frame.paths})))

    def thinned(self) -> "Stack":
        """Every second slice, the middle one kept."""
        first = self.middle % 2
        return Stack(self.plane, self.width, self.height, self.frames[first::2], self.middle // 2)

    def to_json(self) -> dict[str, Any]:
        """What the page's script reads; the picture that the page shows anyway is left out."""
        return {
            "offsets": [frame.offset for frame in self.frames],
            "places": [frame.place for frame in self.frames],
            "pictures": ["" if frame is self.shown else frame.picture for frame in self.frames],
            "paths": [frame.paths for frame in self.frames],
        }


@dataclass(frozen=True, slots=True)
class Viewer:
    """A case in three stacks: axial, coronal, sagittal."""

    record: CaseRecord
    stacks: tuple[Stack, Stack, Stack]

    @property
    def families(self) -> tuple[str, ...]:
        """Families that occur in any stack, tumours first, the rest by name."""
        return families_of({name for stack in self.stacks for name in stack.families})


def stacked(record: CaseRecord, arrays: Arrays, *, slices: bool) -> Viewer:
    """Cut a case for the page; without `slices` each stack is the middle slice alone.

    The stacks take at most `MAX_CASE_BYTES`, and as many slices as that allows.
    """
    cutter = Cutter(record, arrays)
    axial, coronal, sagittal = (_stack(cutter, plane, slices=slices) for plane in PLANES)
    while sum(stack.size for stack in (axial, coronal, sagittal)) > MAX_CASE_BYTES and len(axial.frames) > 1:
        axial, coronal, sagittal = axial.thinned(), coronal.thinned(), sagittal.thinned()
    return Viewer(record, (axial, coronal, sagittal))


def _stack(cutter: Cutter, plane: PlaneName, *, slices: bool) -> Stack:
    axis = PLANES.index(plane)
    centre = cutter.centre[axis]
    step = max(1, round(_STEP_MM / cutter.arrays.grid.spacing_mm_zyx[axis]))
    indexes = range(centre % step, cutter.count(plane), step) if slices else range(centre, centre + 1)
    planes = [(index, cutter.cut(plane, index)) for index in indexes]
    frames = sorted((_frame(cutter, index, cut) for index, cut in planes), key=lambda frame: frame.offset)
    middle = [frame.offset for frame in frames].index(_offset(cutter, plane, centre))
    size = planes[0][1].width_mm, planes[0][1].height_mm
    return Stack(plane, size[0] * PATH_UNITS_PER_MM, size[1] * PATH_UNITS_PER_MM, tuple(frames), middle)


def _frame(cutter: Cutter, index: int, cut: Plane) -> Frame:
    stream = io.BytesIO()
    Image.fromarray(encoded(cut.ct_hu)).save(stream, "WEBP", quality=_QUALITY, method=4)
    return Frame(
        offset=_offset(cutter, cut.name, index),
        place=_place(cutter, cut.name, index),
        picture=base64.b64encode(stream.getvalue()).decode(),
        paths={outline.name: path for outline in cut.outlines if (path := _path(outline))},
    )


def _offset(cutter: Cutter, plane: PlaneName, index: int) -> float:
    return round(cutter.offset_mm(plane, index) * PATH_UNITS_PER_MM, 2)


def _place(cutter: Cutter, plane: PlaneName, index: int) -> str:
    """Position of a slice in patient space, as viewers print it."""
    coordinate, positive, negative = _DIRECTIONS[plane]
    grid = cutter.arrays.grid
    position = round(grid.origin_mm_xyz[coordinate] + index * grid.spacing_mm_zyx[PLANES.index(plane)])
    return f"{abs(position)} mm {positive if position >= 0 else negative}"


def _path(outline: Outline) -> str:
    """Path data in whole units, relative but for the first point of each line."""
    return "".join(filter(None, (_line(line * PATH_UNITS_PER_MM) for line in outline.lines)))


def _line(points: Float64[np.ndarray, "n 2"]) -> str:
    curve = Curve(points[:-1])
    curve.simplify_threshold = _TOLERANCE
    kept = np.rint(np.asarray(curve.cleaned(simplify=True).vertices)[:-1]).astype(int)  # the last one only ends it
    steps = np.diff(kept, axis=0)
    steps = steps[steps.any(axis=1)]
    if len(steps) < 2:
        return ""
    return f"M{kept[0, 0]} {kept[0, 1]}l{' '.join(f'{x} {y}' for x, y in steps.tolist())}z".replace(" -", "-")
