"""Placing every tumour of a subject: room is searched, the size is met by growth, gaps are kept.

Larger tumours are placed first. Each works in a box around its site, so time depends on the
organ, not on the volume.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from factory.engines.base import Request
from factory.engines.lesions.growing import grow
from factory.engines.lesions.seeding import draw_seeds
from factory.engines.lesions.shape import Style, draw_style, shape_field
from factory.engines.lesions.territory import CONNECTED_26, harmed, prices
from manifests.anatomy import Structure, structure
from manifests.case import Lesion
from manifests.errors import InvalidValueError
from manifests.geometry import Grid
from prompts.schema import Tumour

__all__ = ["place_lesions"]

Box = tuple[slice, slice, slice]

_SMALLER = (0.3, 0.85)
"""Size of the further tumours of a group, relative to the largest."""
_SMALLEST_MM = 3.0
_REACH = 0.8
"""Half edge of a lesion's box as a fraction of its diameter: room to deform where tissue is in the way."""
_RETREATS = 4
"""Times a lesion gives back an organ that it harmed and grows again."""
_FULLNESS = 0.15
"""Share of the ball of its diameter below which a lesion is a string, and another place is tried."""
_LUMEN = 0.65
"""Depth, relative to the deepest point, from which the lumen inside an annular tumour stays open."""


@dataclass(slots=True)
class _Canvas:
    """The volumes being painted, and what is known of them once."""

    grid: Grid
    anatomy: UInt8[np.ndarray, "z y x"]
    lesions: UInt8[np.ndarray, "z y x"]
    voxels: np.ndarray


@dataclass(frozen=True, slots=True)
class _Wanted:
    """One lesion to place."""

    tumour: Tumour
    site: Structure
    size_mm: float
    style: Style


@dataclass(frozen=True, slots=True)
class _Grown:
    """A lesion that fits, not yet painted."""

    box: Box
    mask: Bool[np.ndarray, "z y x"]
    size_mm: float
    error_mm: float
    fullness: float


def place_lesions(
    anatomy: UInt8[np.ndarray, "z y x"], request: Request
) -> tuple[UInt8[np.ndarray, "z y x"], UInt8[np.ndarray, "z y x"], tuple[Lesion, ...]]:
    """Paint the tumours of a request's subject into an anatomy.

    The largest of a tumour's `count` instances has `size_mm` to within a tenth or a voxel; the
    others are smaller. Under a lesion the anatomy is its site. A lesion never takes bone,
    vessels, heart or the outside, keeps a gap to other lesions and to the edge of the grid, and
    never cuts another organ. No tumours: the anatomy unchanged and no lesions.

    Args:
        anatomy: ids of the anatomy table on the request's grid; not modified.
        request: its subject states organ, site, count and size of each tumour.

    Returns:
        Anatomy, instance ids from 1 (0 = none), and one record for each id.

    Raises:
        InvalidValueError: if a tumour is incompletely stated, or its site is missing from the
            anatomy or has no room for it.
    """
    canvas = _Canvas(request.grid, anatomy.copy(), np.zeros_like(anatomy), np.bincount(anatomy.ravel(), minlength=256))
    rng = request.rng("lesions")
    records: list[Lesion] = []
    for tumour in sorted(request.subject.tumours, key=lambda entry: -(entry.size_mm or 0.0)):
        for size_mm in _instance_sizes(tumour, rng):
            wanted = _wanted(canvas, tumour, size_mm, rng)
            records.append(_paint(canvas, wanted, _search(canvas, wanted, rng)))
    return canvas.anatomy, canvas.lesions, tuple(records)


def _instance_sizes(tumour: Tumour, rng: np.random.Generator) -> list[float]:
    """Sizes of a tumour's instances in mm, largest first."""
    if tumour.site is None or tumour.count is None or tumour.size_mm is None:
        raise InvalidValueError(
            f"tumour of the {tumour.organ}",
            got=f"site {tumour.site}, count {tumour.count}, size {tumour.size_mm}",
            need="all three stated",
            do="Complete the prompt first (prompts.sampling.complete).",
        )
    others = np.maximum(tumour.size_mm * rng.uniform(*_SMALLER, size=tumour.count - 1), _SMALLEST_MM)
    return [tumour.size_mm, *sorted(map(float, np.minimum(others, tumour.size_mm)), reverse=True)]


def _wanted(canvas: _Canvas, tumour: Tumour, size_mm: float, rng: np.random.Generator) -> _Wanted:
    site = structure(str(tumour.site))
    if not canvas.voxels[site.id]:
        raise InvalidValueError(
            f"tumour of the {tumour.organ}",
            got=f"no {site.name} in the anatomy",
            need="a site inside the field of view that the patient has",
            do="Ask for another site or a scan region that covers it.",
        )
    return _Wanted(tumour, site, size_mm, draw_style(site, size_mm, rng))


def _search(canvas: _Canvas, wanted: _Wanted, rng: np.random.Generator) -> _Grown:
    """Find the first good lesion, else the best acceptable one: gently first, then among soft organs."""
    voxel_mm = max(canvas.grid.spacing_mm_zyx[1:])
    found: list[_Grown] = []
    for crowded in (False, True):
        for seed in _seeds(canvas, wanted, crowded, rng):
            grown = _grow_at(canvas, wanted, seed, crowded, rng)
            if grown.error_mm <= min(0.1 * wanted.size_mm, voxel_mm) and grown.fullness >= _FULLNESS:
                return grown
            if grown.error_mm <= voxel_mm:
                found.append(grown)
        if any(grown.fullness >= _FULLNESS for grown in found):
            break
    if not found:
        raise InvalidValueError(
            f"tumour of the {wanted.tumour.organ}",
            got=f"no room in and around the {wanted.site.name} for one more of {wanted.size_mm:.0f} mm",
            need="a site that can hold it",
            do="Ask for a smaller or for fewer tumours, or another site.",
        )
    return max(found, key=lambda grown: min(grown.fullness, _FULLNESS) - 0.01 * grown.error_mm / voxel_mm)


def _seeds(canvas: _Canvas, wanted: _Wanted, crowded: bool, rng: np.random.Generator) -> list[tuple[int, int, int]]:
    """Draw starting voxels in the whole volume's indices."""
    window = tuple(wanted.size_mm / spacing for spacing in canvas.grid.spacing_mm_zyx)
    whole = ndimage.find_objects((canvas.anatomy == wanted.site.id).view(np.uint8))[0]
    margin = [int(0.5 * n) + 1 for n in window]
    box = _padded(whole, margin, canvas.anatomy.shape)
    price = _price(canvas, box, prices(wanted.site, crowded=crowded))
    seeds = draw_seeds(canvas.anatomy[box] == wanted.site.id, price, window, wanted.style, rng)
    return [tuple(i + part.start for i, part in zip(seed, box, strict=True)) for seed in seeds]  # type: ignore[misc]


def _grow_at(
    canvas: _Canvas, wanted: _Wanted, seed: tuple[int, int, int], crowded: bool, rng: np.random.Generator
) -> _Grown:
    """Grow a lesion of the wanted size from a seed, retreating from organs that it would harm."""
    spacing = canvas.grid.spacing_mm_zyx
    reach = [int(_REACH * wanted.size_mm / s) + 2 for s in spacing]
    box = _padded(tuple(slice(i, i + 1) for i in seed), reach, canvas.anatomy.shape)  # type: ignore[arg-type]
    local: tuple[int, int, int] = tuple(i - part.start for i, part in zip(seed, box, strict=True))  # type: ignore[assignment]
    offsets = tuple(
        ((np.arange(part.start, part.stop) - i) * s).astype(np.float32)
        for part, i, s in zip(box, seed, spacing, strict=True)
    )
    shape = shape_field(wanted.style, offsets, wanted.size_mm / 2, rng)  # type: ignore[arg-type]
    anatomy = canvas.anatomy[box]
    shape[local] = 0.0
    core = _lumen(anatomy == wanted.site.id, local, spacing) if wanted.style.kind == "annular" else None
    table = prices(wanted.site, crowded=crowded)
    others = np.arange(256) != wanted.site.id
    table[others] = np.maximum(table[others] * wanted.style.outside, 1.0)
    for _ in range(_RETREATS):
        field = shape * _price(canvas, box, table)
        if core is not None:
            field[core] = np.inf
        mask, size_mm = grow(field, local, wanted.size_mm, spacing[1:])
        hurt = harmed(anatomy, mask, wanted.site, canvas.voxels)
        if not hurt:
            break
        table[list(hurt)] = np.inf
    else:
        table[others] = np.inf
        mask, size_mm = grow(shape * _price(canvas, box, table), local, wanted.size_mm, spacing[1:])
    return _judge(canvas.grid, wanted, box, mask, size_mm)


def _judge(grid: Grid, wanted: _Wanted, box: Box, mask: Bool[np.ndarray, "z y x"], size_mm: float) -> _Grown:
    """Rate a lesion; a single voxel is as small as a lesion can be, so it is never too large."""
    voxels = int(mask.sum())
    error = 0.0 if voxels == 1 and size_mm > wanted.size_mm else abs(size_mm - wanted.size_mm)
    ball_ml = np.pi / 6 * size_mm**3 / 1000.0
    return _Grown(box, mask, size_mm, error, voxels * grid.voxel_volume_ml / ball_ml)


def _padded(box: Box, margin: list[int], shape: tuple[int, ...]) -> Box:
    """Widen a box inside the volume."""
    z, y, x = (
        slice(max(0, part.start - m), min(n, part.stop + m)) for part, m, n in zip(box, margin, shape, strict=True)
    )
    return z, y, x


def _price(canvas: _Canvas, box: Box, table: Float32[np.ndarray, " id"]) -> Float32[np.ndarray, "z y x"]:
    """Price of each voxel of a box: infinite beside other lesions, the outside and the grid's edge."""
    price = table[canvas.anatomy[box]]
    closed = (canvas.anatomy[box] == 0) | (canvas.lesions[box] > 0)
    if closed.any():
        price[ndimage.binary_dilation(closed, CONNECTED_26)] = np.inf
    for axis, (part, n) in enumerate(zip(box, canvas.anatomy.shape, strict=True)):
        along = np.moveaxis(price, axis, 0)
        along[: max(0, 1 - part.start)] = np.inf
        along[n - 1 - part.start :] = np.inf
    return price


def _lumen(
    site: Bool[np.ndarray, "z y x"], seed: tuple[int, int, int], spacing: tuple[float, float, float]
) -> Bool[np.ndarray, "z y x"]:
    """The open middle of a tube, without the seed and its neighbours; empty where the tube is thin."""
    depth = ndimage.distance_transform_edt(np.pad(site, 1, mode="edge"), sampling=spacing)[1:-1, 1:-1, 1:-1]
    core = depth > max(_LUMEN * depth.max(), 3.0 * max(spacing))
    core[tuple(slice(max(0, i - 1), i + 2) for i in seed)] = False
    return np.asarray(core)


def _paint(canvas: _Canvas, wanted: _Wanted, grown: _Grown) -> Lesion:
    """Paint a lesion and write its record."""
    instance = int(canvas.lesions.max()) + 1
    taken = np.bincount(canvas.anatomy[grown.box][grown.mask], minlength=256)
    canvas.voxels -= taken
    canvas.voxels[wanted.site.id] += taken.sum()
    canvas.anatomy[grown.box][grown.mask] = wanted.site.id
    canvas.lesions[grown.box][grown.mask] = instance
    index = np.argwhere(grown.mask).mean(axis=0) + [part.start for part in grown.box]
    z, y, x = index * canvas.grid.spacing_mm_zyx + canvas.grid.origin_mm_xyz[::-1]
    return Lesion(
        id=instance,
        organ=wanted.tumour.organ,
        site=wanted.site.name,
        side=wanted.site.side,
        kind=wanted.style.kind,
        size_mm=round(grown.size_mm, 3),
        volume_ml=round(float(grown.mask.sum()) * canvas.grid.voxel_volume_ml, 4),
        center_mm_xyz=(round(float(x), 3), round(float(y), 3), round(float(z), 3)),
    )
