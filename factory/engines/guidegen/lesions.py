"""From a map of lesions to instances with records: connected parts, each of the organ that holds it.

Both are told on the grid that was drawn on. A small organ or lesion has few voxels there, and none of its
own once borders are smoothed on the way to a finer grid.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from scipy import ndimage

from factory.engines.lesions.growing import axial_diameter_mm
from manifests.anatomy import Structure, structures
from manifests.case import Lesion
from manifests.geometry import Grid

__all__ = ["lesion_parts", "recorded"]

_CORNERS = np.ones((3, 3, 3), bool)
_MOST = 255


def lesion_parts(
    anatomy: UInt8[np.ndarray, "z y x"], mask: UInt8[np.ndarray, "z y x"]
) -> tuple[UInt8[np.ndarray, "z y x"], tuple[Structure, ...]]:
    """Number the 26-connected parts of a lesion map, largest first, and tell the site of each.

    The site is the structure, among those whose tumours have a name, that most of a part lies in. A part
    that lies in none is no lesion of anything and is left out; so is what is beyond the 255th.
    """
    found, count = ndimage.label(mask, _CORNERS)
    organs = {entry.id: entry for entry in structures() if entry.organ}
    sizes = np.bincount(found.ravel())
    parts = np.zeros(anatomy.shape, np.uint8)
    sites: list[Structure] = []
    for number in sorted(range(1, count + 1), key=lambda number: -sizes[number]):
        inside = found == number
        under = np.bincount(anatomy[inside], minlength=256)
        bearing = {value: int(under[value]) for value in organs if under[value]}
        if bearing and len(sites) < _MOST:
            sites.append(organs[max(bearing, key=lambda site: bearing[site])])
            parts[inside] = len(sites)
    return parts, tuple(sites)


def recorded(
    anatomy: UInt8[np.ndarray, "z y x"], parts: UInt8[np.ndarray, "z y x"], sites: Sequence[Structure], grid: Grid
) -> tuple[UInt8[np.ndarray, "z y x"], tuple[Lesion, ...]]:
    """Instances and records of parts on the grid of a case; the anatomy under each becomes its site, in place."""
    instances = np.zeros(anatomy.shape, np.uint8)
    records: list[Lesion] = []
    boxes = ndimage.find_objects(parts, len(sites))
    for number, (site, box) in enumerate(zip(sites, boxes, strict=True), 1):
        if not box:  # it lies beyond the field of view
            continue
        inside = parts[box] == number
        anatomy[box][inside] = site.id
        instances[box][inside] = len(records) + 1
        index = np.argwhere(inside).mean(axis=0) + [side.start for side in box]
        z, y, x = (float(v) for v in index * grid.spacing_mm_zyx + grid.origin_mm_xyz[::-1])
        records.append(
            Lesion(
                id=len(records) + 1,
                organ=str(site.organ),
                site=site.name,
                side=site.side,
                size_mm=axial_diameter_mm(inside, grid.spacing_mm_zyx[1:]),
                volume_ml=float(inside.sum()) * grid.voxel_volume_ml,
                center_mm_xyz=(x, y, z),
            )
        )
    return instances, tuple(records)
