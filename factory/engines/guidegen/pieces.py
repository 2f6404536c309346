"""Where the smooth map of a lesion is cut: at a volume or a diameter, and in one piece."""

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from factory.engines.lesions.growing import axial_diameter_mm

__all__ = ["as_large", "in_one_piece", "largest_piece"]

_LARGER = (1.0, 1.15, 1.3, 1.5)
"""Volumes, in that asked for, that are tried until a lesion is in one piece."""
_SIZES = tuple(np.geomspace(0.4, 2.5, 15).tolist())
"""Volumes, in its own, among which a lesion of a diameter is sought: that is 0.74 to 1.36 times as wide at the same shape."""
_LEAST = 1e-3
_CORNERS = np.ones((3, 3, 3), bool)

Map = Float32[np.ndarray, "z y x"]
Inside = Bool[np.ndarray, "z y x"]


def in_one_piece(found: Map, voxels: float) -> Inside:
    """Where a map is highest: as many voxels as asked for, or up to half as many again if these hold together.

    Where nothing holds together it is the largest piece at the volume asked for.
    """
    pieces = [largest_piece(_highest(found, voxels * factor)) for factor in _LARGER]
    return next((piece for piece, whole in pieces if whole), pieces[0][0])


def as_large(found: Map, voxels: float, spacing_mm_zyx: tuple[float, float, float], mm: float) -> Inside:
    """Where a map is highest, in one piece, of the axial diameter nearest to `mm`; the volume may change as `_SIZES` says."""
    pieces = [largest_piece(_highest(found, voxels * factor))[0] for factor in _SIZES]
    return min(pieces, key=lambda piece: abs(axial_diameter_mm(piece, spacing_mm_zyx[1:]) - mm))


def largest_piece(inside: Inside) -> tuple[Inside, bool]:
    """The largest connected part, and whether it is all there is."""
    parts, count = ndimage.label(inside, _CORNERS)
    if count <= 1:
        return inside, True
    return parts == 1 + int(np.bincount(parts.ravel())[1:].argmax()), False


def _highest(found: Map, voxels: float) -> Inside:
    count = max(1, round(voxels))
    level = np.partition(found.ravel(), -count)[-count] if count < found.size else 0.0
    return np.asarray(found >= max(level, _LEAST))
