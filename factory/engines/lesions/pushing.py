"""Mass effect: the tissue around a growing tumour is pushed away before the tumour takes its place.

Around the centre of a tumour of radius R, the point at distance r comes from r - h(r), with
h = a r for r <= R and h = a R (R / r)^2 fading to 0 at the reach: inside, the host swells; outside,
the shell keeps its volume, as tissue that cannot be compressed does, until it fades. Next to
bone and the outside of the body h goes to 0, so that what lies between is squeezed. h falls with
r and its slope stays below 1, so nothing folds.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from scipy import ndimage
from scipy.spatial import cKDTree

from factory.engines.lesions.canvas import Box, Canvas, Index, padded
from factory.engines.lesions.territory import CONNECTED_26
from manifests.anatomy import Structure, structures

__all__ = ["Pushed", "pushed"]

_AMOUNTS = (0.4, 0.4, 0.3, 0.2)
"""Shares a of the radius by which the surface of a tumour was moved outward, tried in turn: with 0.4 four
fifths of the tumour's volume displace and one fifth replaces. Chosen."""
_REACH = 2.2
"""Radius, in radii of the tumour, beyond which nothing moves."""
_LEAST_MM, _LEAST_VOXELS = 15.0, 3.0
"""Diameter in mm and radius in voxels of the smallest tumour that pushes."""
_RIGID = frozenset({"bone", "cartilage", "nervous", "airway"})
_LOOSE = frozenset({"fat", "soft"})
_STEP_MM = 3.0
"""Spacing at which the distance to what is rigid is measured."""
_CRUMBS = 0.01
"""Largest part of a structure that may come off it and is given to its surroundings."""
_MAX_LOSS = 0.12
"""Largest part of its voxels that a structure may lose by being squeezed."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """The anatomy of a box after a push; not yet painted."""

    box: Box
    anatomy: UInt8[np.ndarray, "z y x"]

    def window(self, box: Box) -> UInt8[np.ndarray, "z y x"]:
        """The part of it in a smaller box of the volume."""
        return self.anatomy[
            tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(box, self.box, strict=True))
        ]


def pushed(canvas: Canvas, site: Structure, centre: Index, size_mm: float) -> Pushed | None:
    """Push the tissue around a tumour outward, as far as nothing is torn or crushed by it.

    None for small tumours, for sites that give way themselves (lung, hollow organs), and where even a weak push
    tears the site. Another structure that would fall in pieces, or lose more than 12 %, holds out instead. Bone,
    discs, nerves, airways, other lesions and the outside stay exactly as they are.

    Args:
        canvas: volumes; not modified.
        site: structure that holds the tumour.
        centre: voxel in the middle of it.
        size_mm: its longest axial diameter.
    """
    spacing = canvas.grid.spacing_mm_zyx
    if site.tissue != "parenchyma" or size_mm < _LEAST_MM or size_mm / 2 < _LEAST_VOXELS * max(spacing):
        return None
    reach = [int(np.ceil(_REACH * size_mm / 2 / s)) + 2 for s in spacing]
    box = padded(tuple(slice(i, i + 1) for i in centre), reach, canvas.anatomy.shape)
    before = canvas.anatomy[box]
    rigid = _rigid(before, canvas.lesions[box])
    middle = [i - part.start for i, part in zip(centre, box, strict=True)]
    for amount in _AMOUNTS:
        after = _moved(before, rigid, _spots(rigid, middle, spacing, size_mm / 2), (amount, size_mm / 2))
        hurt = _hurt(before, after, site, canvas.voxels)
        if not hurt:
            return Pushed(box, after)
        rigid |= np.isin(before, [i for i in hurt if i != site.id])  # what would tear holds out
    return None


def _rigid(anatomy: UInt8[np.ndarray, "z y x"], lesions: UInt8[np.ndarray, "z y x"]) -> Bool[np.ndarray, "z y x"]:
    table = np.zeros(256, bool)
    table[[0, *(entry.id for entry in structures() if entry.tissue in _RIGID)]] = True
    rigid: Bool[np.ndarray, "z y x"] = table[anatomy]
    if lesions.any():
        rigid |= ndimage.maximum_filter((lesions > 0).view(np.uint8), 3) > 0
    return rigid


@dataclass(frozen=True, slots=True)
class _Spots:
    """Voxels that may move: index along z, y, x, offset from the centre in mm, distance, and freedom from 0 to 1."""

    index: Int[np.ndarray, "3 n"]
    offset_mm: Float32[np.ndarray, "3 n"]
    distance_mm: Float32[np.ndarray, " n"]
    free: Float32[np.ndarray, " n"]
    spacing_mm: tuple[float, float, float]


def _spots(
    rigid: Bool[np.ndarray, "z y x"], centre: list[int], spacing: tuple[float, float, float], radius_mm: float
) -> _Spots:
    """Find what lies within reach and is not rigid, and how freely it moves: not at all beside what is rigid."""
    axes = [((np.arange(n) - c) * s).astype(np.float32) for n, c, s in zip(rigid.shape, centre, spacing, strict=True)]
    squared = (axes[0] ** 2)[:, None, None] + (axes[1] ** 2)[None, :, None] + (axes[2] ** 2)[None, None, :]
    index = np.array(np.nonzero((squared < np.float32((_REACH * radius_mm) ** 2)) & ~rigid))
    offset = np.stack([axis[i] for axis, i in zip(axes, index, strict=True)])
    steps = [max(1, round(_STEP_MM / s)) for s in spacing]
    thin = rigid[tuple(slice(0, None, step) for step in steps)]
    depth = ndimage.distance_transform_edt(
        np.pad(~thin, 1, mode="edge"), sampling=[s * step for s, step in zip(spacing, steps, strict=True)]
    )[1:-1, 1:-1, 1:-1]
    # a wall this thick keeps the slope of freedom times displacement below 1
    share = np.clip(depth / max(15.0, 1.5 * max(_AMOUNTS) * radius_mm), 0, 1).astype(np.float32)
    places = index / np.array(steps, np.float32)[:, None]
    free = ndimage.map_coordinates(share, places, order=1, mode="nearest").astype(np.float32)
    return _Spots(index, offset, np.sqrt(squared[tuple(index)]), free, spacing)


def _moved(
    before: UInt8[np.ndarray, "z y x"],
    rigid: Bool[np.ndarray, "z y x"],
    spots: _Spots,
    push: tuple[float, float],
) -> UInt8[np.ndarray, "z y x"]:
    """The anatomy after a push of an amount around a radius in mm."""
    amount, radius_mm = push
    beyond = np.maximum(spots.distance_mm / np.float32(radius_mm), 1)
    fade = np.clip((_REACH - beyond) / (_REACH - 1), 0, 1)
    # relative displacement h / r; fade makes it end at the reach
    relative = amount * fade * beyond ** np.float32(-3) * spots.free
    source = [
        np.rint(i - relative * offset / np.float32(s)).astype(np.intp)
        for i, offset, s in zip(spots.index, spots.offset_mm, spots.spacing_mm, strict=True)
    ]
    here, there = tuple(spots.index), tuple(source)
    after = before.copy()
    after[here] = np.where(rigid[there], before[here], before[there])
    return after


def _hurt(
    before: UInt8[np.ndarray, "z y x"], after: UInt8[np.ndarray, "z y x"], site: Structure, voxels: np.ndarray
) -> list[int]:
    """Ids of named structures that were torn, or lost more than they may; crumbs of `after` are tidied in place."""
    changed = before != after
    loose = {entry.id for entry in structures() if entry.tissue in _LOOSE or entry.name == "skeletal_muscle"}
    left, came = (np.bincount(part[changed], minlength=256) for part in (before, after))
    touched = [int(i) for i in np.flatnonzero(left + came) if i not in loose]
    torn = _torn(before, after, touched, voxels) | _parted(before, after, set(touched))
    return [i for i in touched if i in torn or (i != site.id and left[i] - came[i] > _MAX_LOSS * voxels[i])]


def _parted(before: UInt8[np.ndarray, "z y x"], after: UInt8[np.ndarray, "z y x"], ids: set[int]) -> set[int]:
    """Ids of the segments of the colon, if any was moved and they no longer follow each other."""
    colon = {entry.id for entry in structures() if entry.organ == "colon"}
    if not colon & ids:
        return set()
    now, then = (ndimage.label(np.isin(part, list(colon)), CONNECTED_26)[1] for part in (after, before))
    return colon if now > then else set()


def _torn(
    before: UInt8[np.ndarray, "z y x"], after: UInt8[np.ndarray, "z y x"], ids: list[int], voxels: np.ndarray
) -> set[int]:
    """Ids that fell into more parts than they had, crumbs aside, which are given to what lies beside them."""
    crumbs, torn = np.zeros(after.shape, bool), set()
    old, new = (ndimage.find_objects(part, max_label=255) for part in (before, after))
    for i in ids:
        if new[i - 1] is None:
            continue
        number = int(ndimage.label(before[old[i - 1]] == i, CONNECTED_26)[1]) if old[i - 1] else 0
        labels, count = ndimage.label(after[new[i - 1]] == i, CONNECTED_26)
        if count > number:
            sizes = np.bincount(labels.ravel())[1:]
            small = np.argsort(-sizes, kind="stable")[number:]
            if sizes[small].sum() <= max(_CRUMBS * voxels[i], 3):
                crumbs[new[i - 1]] |= np.isin(labels, small + 1)
            else:
                torn.add(i)
    if crumbs.any():
        ring = np.argwhere((ndimage.maximum_filter(crumbs.view(np.uint8), 3) > 0) & ~crumbs)
        nearest = ring[cKDTree(ring).query(np.argwhere(crumbs))[1]]
        after[crumbs] = after[tuple(nearest.T)]
    return torn
