"""How much a drawn anatomy resembles the sources of its bank: the Dice of organs after alignment.

Both anatomies are placed in the torso frame by the same landmarks, size of the frame taken out,
and compared on a lattice of 6 mm. What is left of a source after deformation and edits
shows as a high Dice; two different patients reach about what two sources reach.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import Bool, UInt8

from factory.engines.bank.placing import Placement
from factory.engines.bank.resampling import LabelMap
from factory.engines.bank.sources import GROUND, Source
from manifests.anatomy import structures
from manifests.geometry import Grid

__all__ = ["LATTICE", "alike", "canonical", "organ_dice"]

LATTICE = Grid((112, 52, 72), (6.0, 6.0, 6.0), (-213.0, -163.0, -337.0))
_LEAST_VOXELS = 140
"""About 30 ml: below, borders of 6 mm decide more than organs do."""
_ORGANS = frozenset({"parenchyma", "lung", "heart", "bowel", "fluid"})


def canonical(labels: LabelMap, placement: Placement) -> UInt8[np.ndarray, "z y x"]:
    """Labels on the lattice of the torso frame, nearest voxel; 0 where there is nothing."""
    index = []
    shifts = placement.shift_mm_xyz[::-1]
    for axis, along in enumerate(LATTICE.axes_mm()):
        place = placement.scales_xyz[2 - axis] * along + shifts[axis] - labels.grid.origin_mm_xyz[2 - axis]
        index.append(np.rint(place / labels.grid.spacing_mm_zyx[axis]).astype(int))
    found = np.zeros(LATTICE.shape_zyx, np.uint8)
    kept = [np.flatnonzero((i >= 0) & (i < n)) for i, n in zip(index, labels.labels.shape, strict=True)]
    inner = labels.labels[np.ix_(*(i[k] for i, k in zip(index, kept, strict=True)))]
    found[np.ix_(*kept)] = inner
    return found


def organ_dice(one: UInt8[np.ndarray, "z y x"], other: UInt8[np.ndarray, "z y x"]) -> float:
    """Mean Dice over the organs that both show, from about 30 ml on; 0 where they share none.

    Organs of the trunk alone count: fat and skin would be alike in any two bodies, and ribs, thinner than
    the lattice, unlike in any.
    """
    sizes = [np.bincount(labels.ravel(), minlength=256) for labels in (one, other)]
    shared = np.bincount(one[one == other], minlength=256)
    large = np.minimum(*sizes) >= _LEAST_VOXELS
    large &= _organs()
    return float((2 * shared[large] / (sizes[0] + sizes[1])[large]).mean()) if large.any() else 0.0


@cache
def _organs() -> Bool[np.ndarray, "256"]:
    chosen = np.zeros(256, bool)
    chosen[[entry.id for entry in structures() if entry.tissue in _ORGANS]] = True
    return chosen


def alike(volumes_ml: dict[str, float], sources: Sequence[Source], count: int) -> list[Source]:
    """The sources whose organs are most alike in volume: by mean log ratio over shared organs, ties by id."""
    return sorted(sources, key=lambda source: (_distance(volumes_ml, source.volumes_ml), source.case_id))[:count]


def _distance(one: dict[str, float], other: dict[str, float]) -> float:
    names = [name for name in one if name in other and name not in GROUND]
    ratios = [abs(np.log(max(one[name], 0.1) / max(other[name], 0.1))) for name in names]
    return float(np.mean(ratios)) if ratios else np.inf
