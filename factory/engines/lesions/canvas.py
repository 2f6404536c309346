"""The volumes being painted, and boxes in them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

from manifests.geometry import Grid

__all__ = ["Box", "Canvas", "Index", "closed", "padded", "shifted"]

Box = tuple[slice, ...]
Index = tuple[int, int, int]


@dataclass(slots=True)
class Canvas:
    """The volumes being painted, and the size in voxels of each id in them."""

    grid: Grid
    anatomy: UInt8[np.ndarray, "z y x"]
    lesions: UInt8[np.ndarray, "z y x"]
    voxels: np.ndarray


def padded(box: Box, margin: list[int], shape: tuple[int, ...]) -> Box:
    """Widen a box inside the volume."""
    return tuple(
        slice(max(0, part.start - m), min(n, part.stop + m)) for part, m, n in zip(box, margin, shape, strict=True)
    )


def shifted(index: Index, box: Box, sign: int) -> Index:
    """Translate an index from a box to the volume (+1) or back (-1)."""
    z, y, x = (i + sign * part.start for i, part in zip(index, box, strict=True))
    return z, y, x


def closed(canvas: Canvas, box: Box) -> Bool[np.ndarray, "z y x"]:
    """Voxels of a box beside other lesions or the outside, and the faces of the box.

    The closed faces keep lesions off the edge of the grid, and let what happens inside a box be
    judged inside it.
    """
    taken = (canvas.anatomy[box] == 0) | (canvas.lesions[box] > 0)
    shut: np.ndarray = ndimage.maximum_filter(taken.view(np.uint8), 3) > 0
    for axis in range(3):
        np.moveaxis(shut, axis, 0)[[0, -1]] = True
    return shut
