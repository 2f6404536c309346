"""How much a drawn anatomy resembles the sources of its bank: the Dice of organs after alignment.

Both anatomies are placed in the torso frame by the same landmarks, size of the frame taken out,
and compared on a lattice of 6 mm. What is left of a source after deformation and edits
shows as a high Dice; two different patients reach about what two sources reach.
"""

from collections.abc import Sequence
from functools import cache

import numpy as np
from jaxtyping import Bool, Float64, Int64, UInt8

from factory.engines.bank.placing import Placement
from factory.engines.bank.resampling import LabelMap
from factory.engines.bank.sources import GROUND, Source
from manifests.anatomy import structure, structures
from manifests.geometry import Grid

__all__ = ["LATTICE", "alike", "canonical", "log_volumes", "organ_dice"]

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


def log_volumes(sources: Sequence[Source]) -> Float64[np.ndarray, "n 256"]:
    """Logarithms of the volumes in ml by source and structure id; NaN where there is none, or only ground."""
    table = np.full((len(sources), 256), np.nan)
    for row, source in zip(table, sources, strict=True):
        for name, volume_ml in source.volumes_ml.items():
            if name not in GROUND:
                row[structure(name).id] = np.log(max(volume_ml, 0.1))
    return table


def alike(
    volumes_ml: Float64[np.ndarray, "256"], table: Float64[np.ndarray, "n 256"], count: int
) -> Int64[np.ndarray, " m"]:
    """Rows of a table of log volumes that are most alike: by mean log ratio over shared organs, ties by order."""
    shown = np.flatnonzero(volumes_ml > 0)
    ratios = np.abs(table[:, shown] - np.log(np.maximum(volumes_ml[shown], 0.1)))
    shared = ~np.isnan(ratios)
    distance = np.where(shared, ratios, 0.0).sum(axis=1) / np.maximum(shared.sum(axis=1), 1)
    distance[~shared.any(axis=1)] = np.inf
    return np.argsort(distance, kind="stable")[:count]
