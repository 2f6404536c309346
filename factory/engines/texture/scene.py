"""The scene: masks, subject and the volume of HU that the painters fill, structure by structure."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from factory.engines.base import Masks, Request
from factory.engines.texture.appearance import Appearance
from factory.engines.texture.subject import Subject
from manifests.anatomy import Structure, group, structures
from manifests.geometry import Grid

__all__ = ["Box", "Region", "Scene"]

Box = tuple[slice, slice, slice]


@dataclass(frozen=True, slots=True)
class Region:
    """Voxels of one or several structures inside their common bounding box."""

    box: Box
    mask: Bool[np.ndarray, "z y x"]


@dataclass(frozen=True)
class Scene:
    """Everything a painter reads, and `hu`, which it changes in place.

    Attributes:
        request: the case; painters draw from `request.rng("texture/...")`.
        masks: anatomy and lesions, never changed.
        subject: what of the patient and the study decides the image.
        look: what is particular about this patient's tissues.
        hu: float32 HU on the grid.
        base: HU of each anatomy id in this patient and phase; 256 entries, air where undefined.
    """

    request: Request
    masks: Masks
    subject: Subject
    look: Appearance
    base: Float32[np.ndarray, "256"]
    hu: Float32[np.ndarray, "z y x"] = field(repr=False)

    @property
    def grid(self) -> Grid:
        """The grid of all arrays."""
        return self.request.grid

    @property
    def anatomy(self) -> UInt8[np.ndarray, "z y x"]:
        """Ids of the anatomy table."""
        return self.masks.anatomy

    @property
    def voxel_mm(self) -> float:
        """Edge of the cube that has the volume of a voxel."""
        return float(np.cbrt(self.grid.voxel_volume_ml * 1000.0))

    @cached_property
    def boxes(self) -> list[Box | None]:
        """Bounding box of each anatomy id, from id 1; None where absent."""
        return [(box[0], box[1], box[2]) if box else None for box in ndimage.find_objects(self.anatomy, max_label=255)]

    def rng(self, stage: str) -> np.random.Generator:
        """Random generator of one painter."""
        return self.request.rng(f"texture/{stage}")

    def has(self, entry: Structure) -> bool:
        """Tell whether any voxel carries the structure."""
        return self.boxes[entry.id - 1] is not None

    def region(self, *names: str, margin_mm: float = 0.0) -> Region | None:
        """Voxels of the named structures or groups; None if there are none.

        Args:
            names: structures or groups of the anatomy table.
            margin_mm: width added around the bounding box where the grid allows.
        """
        return self._region([entry for name in names for entry in group(name)], margin_mm)

    def tissue(self, *tissues: str, margin_mm: float = 0.0) -> Region | None:
        """Voxels of all structures of some kinds of tissue; None if there are none."""
        return self._region([entry for entry in structures() if entry.tissue in tissues], margin_mm)

    def _region(self, entries: list[Structure], margin_mm: float) -> Region | None:
        ids = [entry.id for entry in entries if self.has(entry)]
        if not ids:
            return None
        box = self.grow([self.boxes[id - 1] for id in ids], margin_mm)
        if len(ids) == 1:
            return Region(box, self.anatomy[box] == ids[0])
        table = np.zeros(256, bool)
        table[ids] = True
        return Region(box, table[self.anatomy[box]])

    def grow(self, boxes: list[Box | None], margin_mm: float) -> Box:
        """Common box of some boxes, widened by a margin and cut at the grid."""
        spans = []
        for axis, (count, spacing) in enumerate(zip(self.grid.shape_zyx, self.grid.spacing_mm_zyx, strict=True)):
            margin = int(np.ceil(margin_mm / spacing))
            low = min(box[axis].start for box in boxes if box) - margin
            high = max(box[axis].stop for box in boxes if box) + margin
            spans.append(slice(max(low, 0), min(high, count)))
        return spans[0], spans[1], spans[2]
