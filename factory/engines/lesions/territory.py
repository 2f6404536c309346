"""What a growing lesion may take: a price for each structure, and the harm that a claim would do.

A lesion fills its own site at price 1, bulges into fat and unnamed tissue, takes a little of the
neighbouring segment of the same organ and of muscle, and never takes bone, vessels, heart,
airways, nerves, cartilage or the outside. Where there is no room it may indent soft named organs,
each by a small fraction and without cutting one in two.
"""

from functools import cache

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from manifests.anatomy import Structure, structure, structures

__all__ = ["CONNECTED_26", "harmed", "prices"]

CONNECTED_26 = np.ones((3, 3, 3), bool)

_FAT = 1.25
_MUSCLE = 2.0
_SIBLING = 1.35
_CHEST_WALL = 2.5
_INDENTED = 3.0
_SOFT_ORGANS = frozenset({"parenchyma", "bowel", "fluid", "muscle"})
_YIELDING = frozenset({"fat", "soft"})
_MAX_FRACTION = 0.08
"""Largest part of another organ that one lesion may take."""


@cache
def _price_table(site_name: str, crowded: bool) -> Float32[np.ndarray, " id"]:
    site = structure(site_name)
    table = np.full(256, np.inf, np.float32)
    for entry in structures():
        table[entry.id] = _price(entry, site, crowded)
    return table


def _price(entry: Structure, site: Structure, crowded: bool) -> float:
    if entry.name == site.name:
        return 1.0
    if entry.organ and entry.organ == site.organ and entry.side == site.side:
        return _SIBLING
    if entry.tissue in _YIELDING:
        return _CHEST_WALL if site.tissue == "lung" else _FAT
    if entry.name == "skeletal_muscle":
        return _MUSCLE
    return _INDENTED if crowded and entry.tissue in _SOFT_ORGANS else np.inf


def prices(site: Structure, *, crowded: bool) -> Float32[np.ndarray, " id"]:
    """Price of each anatomy id for a lesion of a site: 1 = free, infinite = never; 256 values, a new array.

    Args:
        site: structure that holds the lesion.
        crowded: also offer soft named organs, at a high price.
    """
    return _price_table(site.name, crowded).copy()


def harmed(
    anatomy: UInt8[np.ndarray, "z y x"],
    lesion: Bool[np.ndarray, "z y x"],
    site: Structure,
    voxels: np.ndarray,
) -> tuple[int, ...]:
    """Name the structures that a lesion would take too much of, or cut in pieces.

    Args:
        anatomy: ids in the lesion's box.
        lesion: voxels of the lesion in that box.
        site: structure that holds the lesion.
        voxels: size in voxels of each id in the whole volume.

    Returns:
        Ids, ascending; a local cut counts even where a loop elsewhere would keep the parts joined.
    """
    box = ndimage.find_objects(lesion.view(np.uint8))[0]
    near = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in box)
    anatomy, lesion = anatomy[near], lesion[near]
    yielding = {entry.id for entry in structures() if entry.tissue in _YIELDING} | {site.id}
    taken = np.bincount(anatomy[lesion], minlength=256)
    others = [int(i) for i in np.flatnonzero(taken) if i not in yielding]
    return tuple(i for i in others if taken[i] > _MAX_FRACTION * voxels[i] or _cut(anatomy == i, lesion))


def _cut(organ: Bool[np.ndarray, "z y x"], lesion: Bool[np.ndarray, "z y x"]) -> bool:
    before = ndimage.label(organ, CONNECTED_26)[1]
    return int(ndimage.label(organ & ~lesion, CONNECTED_26)[1]) != int(before)
