"""Edits of a drawn anatomy: organs taken out, organs enlarged, stray pieces cleared away."""

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage
from scipy.spatial import KDTree

from factory.engines.bank.resampling import LabelMap, Warp, pull
from manifests.anatomy import group, structure, structures
from manifests.geometry import Grid

__all__ = ["PIECES", "face", "join", "remove", "resize", "smooth_outline", "tidy"]

PIECES = frozenset({"body", "subcutaneous_fat", "visceral_fat", "skeletal_muscle", "costal_cartilages", "kidney_cyst_left",
                    "intervertebral_discs", "kidney_cyst_right", "pulmonary_vein", "vertebral_column", "ribs",
                    "lungs"})  # fmt: skip
"""Structures that are several pieces by nature."""

_YIELDING = frozenset({"fat", "soft", "muscle"})
_PIECE = 0.03
"""Share of a member of a group below which a piece of it is a stray and is not joined to the others."""
_TUBE_MM = 10.0
"""Radius of what joins two pieces."""
_STEP_MM = 3.0
_FADE_MM, _MARGIN_MM = 12.0, 75.0
_CORNERS = np.ones((3, 3, 3), bool)

Mask = Bool[np.ndarray, "z y x"]


def remove(anatomy: UInt8[np.ndarray, "z y x"], names: set[str]) -> None:
    """Take structures out of an anatomy in place; their room goes to the nearest fat or muscle around each.

    Where there is none beside them, it becomes visceral fat.
    """
    yielding = np.zeros(256, bool)
    yielding[[entry.id for entry in structures() if entry.tissue in _YIELDING]] = True
    boxes = ndimage.find_objects(anatomy, max_label=255)
    for entry in structures():
        box = boxes[entry.id - 1]
        if entry.name in names and box is not None:
            near = tuple(slice(max(part.start - 3, 0), part.stop + 3) for part in box)
            _fill(anatomy[near], entry.id, yielding)


def _fill(view: UInt8[np.ndarray, "z y x"], id: int, yielding: Bool[np.ndarray, "256"]) -> None:
    gone, known = view == id, yielding[view]
    known &= ~gone
    if not known.any():
        view[gone] = structure("visceral_fat").id
        return
    index = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    view[gone] = view[tuple(part[gone] for part in index)]


def tidy(anatomy: UInt8[np.ndarray, "z y x"]) -> None:
    """Keep the largest 26-connected piece of each structure, in place; others become what surrounds them most."""
    boxes = ndimage.find_objects(anatomy, max_label=255)
    for entry in structures():
        box = boxes[entry.id - 1]
        if box is None or entry.name in PIECES:
            continue
        parts, count = ndimage.label(anatomy[box] == entry.id, _CORNERS)
        if count > 1:
            sizes = np.bincount(parts.ravel())
            sizes[0] = 0
            _clear(anatomy, box, parts, int(sizes.argmax()))


def _clear(anatomy: UInt8[np.ndarray, "z y x"], box: tuple[slice, ...], parts: np.ndarray, kept: int) -> None:
    """Give every part but one the label that is most frequent around it."""
    for number, part in enumerate(ndimage.find_objects(parts), 1):
        if number == kept:
            continue
        starts = [outer.start + inner.start for outer, inner in zip(box, part, strict=True)]
        near = tuple(
            slice(max(start - 1, 0), start + inner.stop - inner.start + 1)
            for start, inner in zip(starts, part, strict=True)
        )
        view = anatomy[near]
        mask = np.zeros(view.shape, bool)
        inside = tuple(
            slice(start - n.start, start - n.start + p.stop - p.start)
            for start, n, p in zip(starts, near, part, strict=True)
        )
        mask[inside] = parts[part] == number
        shell = ndimage.binary_dilation(mask, _CORNERS) & ~mask
        view[mask] = np.bincount(view[shell], minlength=1).argmax()


def resize(anatomy: UInt8[np.ndarray, "z y x"], grid: Grid, name: str, volume_ml: float) -> UInt8[np.ndarray, "z y x"]:
    """Grow or shrink an organ to a volume, and move what is around it along; unchanged without the organ.

    The map moves points along the normal of the organ's surface and fades over a few centimetres,
    so neighbours are displaced and squeezed or stretched, never overpainted.
    """
    organ = anatomy == structure(name).id
    voxels = int(organ.sum())
    if not voxels:
        return anatomy
    margin = [int(np.ceil(_MARGIN_MM / s)) for s in grid.spacing_mm_zyx]
    box = ndimage.find_objects(organ.view(np.uint8))[0]
    wide = tuple(
        slice(max(p.start - m, 0), min(p.stop + m, n)) for p, m, n in zip(box, margin, anatomy.shape, strict=True)
    )
    part = _part(grid, wide)
    warp = _push(organ[wide], part, volume_ml / (voxels * grid.voxel_volume_ml))
    pushed = pull(LabelMap(anatomy[wide], part), warp, part)
    empty = np.asarray(~anatomy.any(axis=(1, 2)))[wide[0]]
    changed = anatomy.copy()
    # no hole opens where the scan ends beside the organ, and nothing is pushed past its end
    changed[wide] = np.where((pushed == 0) | empty[:, None, None], anatomy[wide], pushed)
    return changed


def _part(grid: Grid, box: tuple[slice, ...]) -> Grid:
    """The grid of a box of voxels."""
    shape = tuple(part.stop - part.start for part in box)
    moved = zip(grid.origin_mm_xyz, grid.spacing_mm_zyx[::-1], box[::-1], strict=True)
    return Grid(shape, grid.spacing_mm_zyx, tuple(o + s * p.start for o, s, p in moved))


def _push(organ: Bool[np.ndarray, "z y x"], grid: Grid, factor: float) -> Warp:
    """Where each point comes from when an organ grows or shrinks by a factor.

    At distance s outside the old surface, a point comes from s - d exp(-|s| / w). With
    d = r exp(|r| / w) the new surface lies at r; with w > 2 |r| the map rises with s
    everywhere, so nothing folds. r is read from the distances themselves: as many voxels lie within
    r as the organ shall have.
    """
    steps = [max(1, round(_STEP_MM / s)) for s in grid.spacing_mm_zyx]
    thin = organ[tuple(slice(0, None, step) for step in steps)]
    dz, dy, dx = (s * step for s, step in zip(grid.spacing_mm_zyx, steps, strict=True))
    lattice = Grid(thin.shape, (dz, dy, dx), grid.origin_mm_xyz)
    outside = ndimage.distance_transform_edt(~thin, sampling=(dz, dy, dx))
    inside = ndimage.distance_transform_edt(thin, sampling=(dz, dy, dx))
    signed = np.asarray(outside - inside, np.float32)
    wanted = int(np.clip(round(int(thin.sum()) * factor), 1, signed.size - 1))
    reach = np.float32(np.partition(signed.ravel(), wanted)[wanted])
    width = np.float32(_FADE_MM + 2 * abs(reach))
    size = reach * np.exp(abs(reach) / width) * np.exp(-np.abs(signed) / width)
    z, y, x = (axis.astype(np.float32) for axis in lattice.axes_mm())
    points = np.stack([np.broadcast_to(axis, signed.shape) for axis in (x, y[:, None], z[:, None, None])])
    return Warp(np.asarray(points - _outward(signed, (dz, dy, dx)) * size, np.float32), lattice)


def _outward(signed: Float32[np.ndarray, "z y x"], spacing: tuple[float, ...]) -> Float32[np.ndarray, "3 z y x"]:
    """Unit vectors (x, y, z) away from a surface; shorter where the direction is unclear."""
    smooth = ndimage.gaussian_filter(signed, 1.0, mode="nearest")
    if min(smooth.shape) < 2:
        return np.zeros((3, *smooth.shape), np.float32)
    slopes = np.stack([np.gradient(smooth, step, axis=axis) for axis, step in enumerate(spacing)][::-1])
    return np.asarray(slopes / np.maximum(np.sqrt((slopes**2).sum(axis=0)), 0.8), np.float32)


def join(anatomy: UInt8[np.ndarray, "z y x"], grid: Grid, name: str) -> None:
    """Join what should be one tube, in place: the larger pieces of each member of a group, and each member to the next.

    The anatomy table has members in the order in which they follow each other. What does not touch is joined where it is
    nearest, by a tube through what yields and bowel; through other tissue it is only as wide as it must be to hold together.
    """
    before = None
    for member in (entry.id for entry in group(name) if (anatomy == entry.id).any()):
        parts, count = ndimage.label(anatomy == member, _CORNERS)
        sizes = np.bincount(parts.ravel())
        sizes[0] = 0
        main, *others = np.argsort(-sizes)[:count]
        for part in others:
            if sizes[part] >= _PIECE * sizes.sum():
                _bridge(anatomy, grid, parts == part, parts == main)
        if before is not None:
            _bridge(anatomy, grid, anatomy == member, anatomy == before)
        before = member


def face(anatomy: UInt8[np.ndarray, "z y x"]) -> None:
    """Exchange, in place, the names of partners that lie on each other's side; not of those that bear tumours, whose sites are named."""
    counts = np.bincount(anatomy.ravel(), minlength=256)
    x = np.broadcast_to(np.arange(anatomy.shape[2]), anatomy.shape)
    mean = np.bincount(anatomy.ravel(), x.ravel(), minlength=256) / np.maximum(counts, 1)
    names = np.arange(256, dtype=np.uint8)
    for entry in structures():
        if entry.side != "left" or entry.mirror is None or entry.organ:
            continue
        left, right = entry.id, structure(entry.mirror).id
        if counts[left] and counts[right] and mean[left] < mean[right]:  # x grows to the left
            names[[left, right]] = right, left
    anatomy[...] = names[anatomy]


def smooth_outline(anatomy: UInt8[np.ndarray, "z y x"], grid: Grid, sigma_mm: float) -> None:
    """Smooth the skin, in place: what sticks out becomes outside, and notches are filled with what is commonest under the skin."""
    inside = anatomy > 0
    near_skin = inside & ndimage.binary_dilation(~inside, _CORNERS)
    if not near_skin.any():
        return
    sigma = [sigma_mm / step for step in grid.spacing_mm_zyx]
    smooth = ndimage.gaussian_filter(inside.astype(np.float32), sigma, mode="nearest") >= 0.5
    under = np.bincount(anatomy[near_skin]).argmax()
    anatomy[inside & ~smooth] = 0
    anatomy[smooth & ~inside] = under


def _bridge(anatomy: UInt8[np.ndarray, "z y x"], grid: Grid, one: Mask, other: Mask) -> None:
    """Give the way between the nearest voxels of two pieces to the first of them, unless they touch."""
    spacing = np.array(grid.spacing_mm_zyx)
    starts, stops = np.argwhere(one), np.argwhere(other)
    far, nearest = (np.asarray(found) for found in KDTree(stops * spacing).query(starts * spacing))
    start, stop = starts[far.argmin()], stops[nearest[far.argmin()]]
    if np.abs(start - stop).max() <= 1:
        return
    value, yields = anatomy[tuple(start)], np.zeros(256, bool)
    yields[[entry.id for entry in structures() if entry.tissue in _YIELDING or entry.tissue == "bowel"]] = True
    yields[anatomy[tuple(stop)]] = False
    margin = np.ceil(_TUBE_MM / spacing).astype(int)
    low = np.maximum(np.minimum(start, stop) - margin, 0)
    box = tuple(slice(a, b) for a, b in zip(low, np.maximum(start, stop) + margin + 1, strict=True))
    way = np.rint(np.linspace(start, stop, 2 * int(np.abs(start - stop).max()) + 1)).astype(int) - low
    view = anatomy[box]
    off_way = np.ones(view.shape, bool)
    off_way[tuple(way.T)] = False
    around = ndimage.distance_transform_edt(off_way, grid.spacing_mm_zyx)
    view[((around <= _TUBE_MM) & yields[view] | ~off_way) & ~other[box]] = value
