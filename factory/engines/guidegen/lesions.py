"""From a map of lesions to instances with records: connected parts, each of the organ that holds it."""

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage

from factory.engines.lesions.growing import axial_diameter_mm
from manifests.anatomy import structures
from manifests.case import Lesion
from manifests.geometry import Grid

__all__ = ["find_lesions"]

_CORNERS = np.ones((3, 3, 3), bool)
_MOST = 255


def find_lesions(
    anatomy: UInt8[np.ndarray, "z y x"], mask: Bool[np.ndarray, "z y x"], grid: Grid
) -> tuple[UInt8[np.ndarray, "z y x"], tuple[Lesion, ...]]:
    """Number the 26-connected parts of a lesion map, largest first, and tell where each lies.

    The site of a part is the structure, among those whose tumours have a name, that most of it lies
    in; its anatomy becomes that site, in place. A part that lies in none is no lesion of anything
    and is left out; so is what is beyond the 255th.
    """
    parts, count = ndimage.label(mask, _CORNERS)
    instances = np.zeros(anatomy.shape, np.uint8)
    if not count:
        return instances, ()
    organs = {entry.id: entry for entry in structures() if entry.organ}
    sizes = np.bincount(parts.ravel())
    boxes = ndimage.find_objects(parts)
    records: list[Lesion] = []
    for part in sorted(range(1, count + 1), key=lambda number: -sizes[number])[:_MOST]:
        box = boxes[part - 1]
        inside = parts[box] == part
        under = np.bincount(anatomy[box][inside], minlength=256)
        sites = {value: int(under[value]) for value in organs if under[value]}
        if not sites:
            continue
        site = organs[max(sites, key=lambda site: sites[site])]
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
                volume_ml=float(sizes[part]) * grid.voxel_volume_ml,
                center_mm_xyz=(x, y, z),
            )
        )
    return instances, tuple(records)
