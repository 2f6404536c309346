"""What lies between the organs of a source that labels none of it: from its CT, or grown around its labels.

Worked out on voxels of 4 to 6 mm, because skin, fat and muscle are smooth at that scale and the
trilinear vote smooths them again. What comes out is plausible soft tissue, not a segmentation.
"""

import numpy as np
from jaxtyping import Bool, Float32, Int16, UInt8
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from factory.engines.bank.resampling import LabelMap
from manifests.anatomy import structures
from manifests.geometry import Grid

__all__ = ["coarse", "outline_from_ct", "outline_from_labels"]

_STEP_MM, _HULL_STEP_MM = 4.0, 6.0
_BODY_HU, _GAS_HU, _FAT_HU = -300.0, -250.0, -30.0
_TABLE_MM = 8.0
"""Half thickness below which what touches the body is taken for table or clothing."""
_GAP_MM = 12.0
"""Half width of the gaps in muscle that count as wall all the same."""
_WALL_MM = 35.0
"""Depth below the fat to which unnamed soft tissue counts as muscle."""
_LUNG_ML = 150.0
_LEVELS_MM = (-8.0, 4.0, 18.0)
"""Distance to the hull of all labels at which visceral fat, muscle and subcutaneous fat end."""
_PAD_MM = 44.0
_WINDOW_MM = 16.0

_ARM_MM = 26.0
"""Flesh around an arm's bone."""

_ID = {entry.name: entry.id for entry in structures()}
_ARMS = [_ID["humerus_left"], _ID["humerus_right"]]


def coarse(labels: UInt8[np.ndarray, "z y x"], grid: Grid, step_mm: float = _STEP_MM) -> LabelMap:
    """Every n-th voxel of a label map, as near to a step as whole numbers allow."""
    factors = _factors(grid, step_mm)
    part = tuple(slice(f // 2, None, f) for f in factors)
    starts = [f // 2 for f in factors]
    return LabelMap(np.ascontiguousarray(labels[part]), _thinned(grid, labels[part].shape, factors, starts))


def outline_from_ct(
    ct: Int16[np.ndarray, "z y x"], labels: UInt8[np.ndarray, "z y x"], grid: Grid, *, whole: bool
) -> LabelMap:
    """Body, fat, muscle and unlabelled lungs by thresholds.

    Args:
        ct: HU.
        labels: what is labelled; it counts as body.
        grid: grid of both.
        whole: otherwise only the outline is asked for, and all of it is subcutaneous fat.
    """
    hu, thin = _block_means(ct, grid)
    known = _nearest(labels, hu.shape, _factors(grid, _STEP_MM)) > 0
    body = _body((hu > _BODY_HU) | known, thin)
    ground = np.zeros(hu.shape, np.uint8)
    ground[body] = _ID["subcutaneous_fat"]
    if not whole:
        return LabelMap(ground, thin)
    soft = body & ((hu > _FAT_HU) | known)
    inner = _filled(_closed(soft | (body & (hu < _GAS_HU)), thin)) & body
    gas = body & (hu <= _GAS_HU) & inner
    ground[inner] = _ID["visceral_fat"]
    depth = ndimage.distance_transform_edt(inner, sampling=thin.spacing_mm_zyx)
    ground[soft] = _ID["body"]
    ground[soft & (depth < _WALL_MM)] = _ID["skeletal_muscle"]
    ground[gas] = _ID["body"]
    if not any(entry.tissue == "lung" for entry in structures() if (labels == entry.id).any()):
        parts, count = ndimage.label(gas)
        large = np.flatnonzero(np.bincount(parts.ravel(), minlength=count + 1) * thin.voxel_volume_ml > _LUNG_ML)
        ground[np.isin(parts, large[large > 0])] = _ID["lungs"]
    return LabelMap(ground, thin)


def outline_from_labels(labels: UInt8[np.ndarray, "z y x"], grid: Grid) -> LabelMap:
    """A hull around all labels: visceral fat inside, a band of muscle on it, and a layer of fat under the skin.

    Each slice takes the convex hull of what is labelled within 16 mm above and below; slices
    without labels take the nearest one's. Arms do not widen it, they get flesh of their own.
    """
    thin = coarse(labels, grid, _HULL_STEP_MM)
    pad = [0, *(int(np.ceil(_PAD_MM / s)) for s in thin.grid.spacing_mm_zyx[1:])]
    known = np.pad(thin.labels > 0, [(p, p) for p in pad])
    dz, dy, dx = thin.grid.spacing_mm_zyx
    x, y, z = thin.grid.origin_mm_xyz
    wide = Grid(known.shape, (dz, dy, dx), (x - pad[2] * dx, y - pad[1] * dy, z))
    arms = np.pad(np.isin(thin.labels, _ARMS), [(p, p) for p in pad])
    hulls = _hulls(known & ~arms, max(1, round(_WINDOW_MM / dz)))
    edge = [np.float32(part) for part in (24.0 / dz, 8.0 / dy, 8.0 / dx)]
    distance = ndimage.gaussian_filter(_signed_mm(hulls, wide.spacing_mm_zyx), edge, mode="nearest")
    if arms.any():
        flesh = ndimage.distance_transform_edt(~arms, sampling=(dz, dy, dx)) - _ARM_MM
        distance = np.minimum(distance, np.maximum(flesh, _LEVELS_MM[0]))
    deep, wall, skin = _LEVELS_MM
    ground = np.zeros(known.shape, np.uint8)
    ground[(distance < skin) | known] = _ID["subcutaneous_fat"]
    ground[distance < wall] = _ID["skeletal_muscle"]
    ground[distance < deep] = _ID["visceral_fat"]
    return LabelMap(ground, wide)


def _factors(grid: Grid, step_mm: float) -> tuple[int, ...]:
    counts = zip(grid.shape_zyx, grid.spacing_mm_zyx, strict=True)
    return tuple(min(max(1, int(step_mm / spacing + 1e-6)), count) for count, spacing in counts)


def _thinned(grid: Grid, shape: tuple[int, ...], factors: tuple[int, ...], starts: list[float] | list[int]) -> Grid:
    """The grid that takes every n-th voxel from a first one on."""
    spacing = tuple(s * f for s, f in zip(grid.spacing_mm_zyx, factors, strict=True))
    moved = zip(grid.origin_mm_xyz, grid.spacing_mm_zyx[::-1], starts[::-1], strict=True)
    origin = tuple(o + s * first for o, s, first in moved)
    return Grid(shape, spacing, origin)  # type: ignore[arg-type]


def _block_means(ct: Int16[np.ndarray, "z y x"], grid: Grid) -> tuple[Float32[np.ndarray, "z y x"], Grid]:
    factors = _factors(grid, _STEP_MM)
    shape = [n // f for n, f in zip(ct.shape, factors, strict=True)]
    cut = ct[tuple(slice(0, n * f) for n, f in zip(shape, factors, strict=True))]
    blocks = cut.reshape([size for n, f in zip(shape, factors, strict=True) for size in (n, f)])
    means = blocks.mean(axis=(1, 3, 5), dtype=np.float32)
    return means, _thinned(grid, means.shape, factors, [(f - 1) / 2 for f in factors])


def _nearest(labels: UInt8[np.ndarray, "z y x"], shape: tuple[int, ...], factors: tuple[int, ...]) -> np.ndarray:
    part = tuple(slice(f // 2, n * f, f) for n, f in zip(shape, factors, strict=True))
    return np.asarray(labels[part])


def _disc(radius_mm: float, grid: Grid) -> Bool[np.ndarray, "1 y x"]:
    """A disc of the axial plane, one slice thick."""
    ry, rx = (int(radius_mm / s) for s in grid.spacing_mm_zyx[1:])
    y, x = np.ogrid[-ry : ry + 1, -rx : rx + 1]
    _, dy, dx = grid.spacing_mm_zyx
    return np.asarray((y * dy) ** 2 + (x * dx) ** 2 <= radius_mm**2)[None]


def _filled(mask: Bool[np.ndarray, "z y x"]) -> Bool[np.ndarray, "z y x"]:
    """Fill the holes of each axial slice."""
    return np.asarray(ndimage.binary_fill_holes(mask, np.array([_CROSS * 0, _CROSS, _CROSS * 0], bool)))


_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]])


def _closed(mask: Bool[np.ndarray, "z y x"], grid: Grid) -> Bool[np.ndarray, "z y x"]:
    """Close gaps of each axial slice, by distances."""
    plane = (1e6, *grid.spacing_mm_zyx[1:])
    grown = ndimage.distance_transform_edt(~mask, sampling=plane) <= _GAP_MM
    return np.asarray((ndimage.distance_transform_edt(grown, sampling=plane) > _GAP_MM) | mask)


def _body(dense: Bool[np.ndarray, "z y x"], grid: Grid) -> Bool[np.ndarray, "z y x"]:
    """The largest dense part that is thicker than a table, its holes filled."""
    filled = _filled(dense)
    opened = ndimage.binary_opening(filled, _disc(_TABLE_MM, grid))
    parts, count = ndimage.label(opened)
    if not count:
        return filled
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return _filled(parts == sizes.argmax())


def _hulls(known: Bool[np.ndarray, "z y x"], window: int) -> Bool[np.ndarray, "z y x"]:
    """Convex hull of the labels around each slice; slices without any copy the nearest."""
    near = ndimage.maximum_filter1d(known.view(np.uint8), 2 * window + 1, axis=0).astype(bool)
    some = np.flatnonzero(near.any(axis=(1, 2)))
    hulls = np.zeros_like(known)
    for index in some:
        hulls[index] = _hull(near[index])
    for index in np.setdiff1d(np.arange(len(known)), some):
        hulls[index] = hulls[some[np.abs(some - index).argmin()]]
    return hulls


def _hull(plane: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    points = np.argwhere(plane)
    try:
        facets = ConvexHull(points).equations
    except QhullError:  # a point or a line
        return plane
    pixels = np.indices(plane.shape).reshape(2, -1).T
    inside = (pixels @ facets[:, :2].T + facets[:, 2] <= 1e-6).all(axis=1)
    return np.asarray(inside.reshape(plane.shape))


def _signed_mm(mask: Bool[np.ndarray, "z y x"], spacing: tuple[float, float, float]) -> Float32[np.ndarray, "z y x"]:
    """Distance in mm to the surface of a mask within each slice, negative inside."""
    plane = (1e6, *spacing[1:])
    outside = ndimage.distance_transform_edt(~mask, sampling=plane)
    inside = ndimage.distance_transform_edt(mask, sampling=plane)
    return np.asarray(np.clip(outside - inside, -200, 200), np.float32)
