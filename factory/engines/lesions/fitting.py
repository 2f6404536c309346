"""Fitting one lesion: search for a place, grow it to its size, retreat from what it would harm.

Works in boxes around the site and around the seed, so time depends on the organ and the lesion,
not on the volume.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from factory.engines.lesions.growing import grow
from factory.engines.lesions.seeding import draw_seeds
from factory.engines.lesions.shape import Style, shape_field
from factory.engines.lesions.territory import harmed, prices
from manifests.anatomy import Structure
from manifests.errors import InvalidValueError
from manifests.geometry import Grid

__all__ = ["Box", "Canvas", "Fitted", "Index", "Wanted", "closed", "fit", "padded"]

Box = tuple[slice, ...]
Index = tuple[int, int, int]

_REACH = 0.8
"""Half edge of a lesion's box as a fraction of its diameter: room to deform where tissue is in the way."""
_RETREATS = 4
"""Times a lesion gives back organs that it harmed and grows again, before it keeps to its site."""
_FULLNESS = 0.15
"""Share of the ball of its diameter below which a lesion is a string, and another place is tried."""
_GOOD_FRACTION = 0.1
"""Relative error of the size at which the search ends; one voxel is accepted in the end."""
_LUMEN = 0.65
"""Depth, relative to the deepest point, from which the lumen inside an annular tumour stays open."""
_LUMEN_VOXELS = 3.0
"""Depth in voxels from which a lumen is wide enough to stay open."""


@dataclass(slots=True)
class Canvas:
    """The volumes being painted, and the size in voxels of each id in them."""

    grid: Grid
    anatomy: UInt8[np.ndarray, "z y x"]
    lesions: UInt8[np.ndarray, "z y x"]
    voxels: np.ndarray


@dataclass(frozen=True, slots=True)
class Wanted:
    """One lesion to place: its site, longest axial diameter and growth form."""

    site: Structure
    size_mm: float
    style: Style


@dataclass(frozen=True, slots=True)
class Fitted:
    """A lesion that fits, not yet painted: its voxels in a box, and how well it meets the wish."""

    box: Box
    mask: Bool[np.ndarray, "z y x"]
    size_mm: float
    error_mm: float
    fullness: float


def fit(canvas: Canvas, wanted: Wanted, rng: np.random.Generator) -> Fitted:
    """Find the first good lesion, else the best acceptable one: gently first, then among soft organs.

    Raises:
        InvalidValueError: if no place holds a lesion of that size to within a voxel.
    """
    voxel_mm = max(canvas.grid.spacing_mm_zyx[1:])
    found: list[Fitted] = []
    for crowded in (False, True):
        for seed in _seeds(canvas, wanted, crowded, rng):
            fitted = _grow_at(canvas, wanted, seed, crowded, rng)
            good = fitted.error_mm <= min(_GOOD_FRACTION * wanted.size_mm, voxel_mm)
            if good and fitted.fullness >= _FULLNESS:
                return fitted
            if fitted.error_mm <= voxel_mm:
                found.append(fitted)
        if any(fitted.fullness >= _FULLNESS for fitted in found):
            break
    if not found:
        raise InvalidValueError(
            f"tumour of the {wanted.site.organ}",
            got=f"no room in and around the {wanted.site.name} for one more of {wanted.size_mm:.0f} mm",
            need="a site that can hold it",
            do="Ask for a smaller tumour, for fewer, or for another site.",
        )
    return max(found, key=lambda fitted: min(fitted.fullness, _FULLNESS) - 0.01 * fitted.error_mm / voxel_mm)


def _seeds(canvas: Canvas, wanted: Wanted, crowded: bool, rng: np.random.Generator) -> list[Index]:
    """Draw starting voxels, as indices of the whole volume."""
    nz, ny, nx = (wanted.size_mm / spacing for spacing in canvas.grid.spacing_mm_zyx)
    site = ndimage.find_objects((canvas.anatomy == wanted.site.id).view(np.uint8))[0]
    box = padded(site, [int(n / 2) + 1 for n in (nz, ny, nx)], canvas.anatomy.shape)
    price = np.where(closed(canvas, box), np.inf, prices(wanted.site, crowded=crowded)[canvas.anatomy[box]])
    seeds = draw_seeds(canvas.anatomy[box] == wanted.site.id, price, (nz, ny, nx), wanted.style, rng)
    return [_shifted(seed, box, 1) for seed in seeds]


def _grow_at(canvas: Canvas, wanted: Wanted, seed: Index, crowded: bool, rng: np.random.Generator) -> Fitted:
    """Grow a lesion of the wanted size from a seed, retreating from the organs that it harms."""
    spacing = canvas.grid.spacing_mm_zyx
    reach = [int(_REACH * wanted.size_mm / s) + 2 for s in spacing]
    box = padded(tuple(slice(i, i + 1) for i in seed), reach, canvas.anatomy.shape)
    local = _shifted(seed, box, -1)
    shape, anatomy = _shape(canvas, wanted, box, local, rng), canvas.anatomy[box]
    table = prices(wanted.site, crowded=crowded)
    others = np.arange(len(table)) != wanted.site.id
    table[others] = np.maximum(table[others] * wanted.style.outside, 1.0)
    for retreat in range(_RETREATS + 1):
        mask, size_mm = grow(shape * table[anatomy], local, wanted.size_mm, spacing[1:])
        hurt = harmed(anatomy, mask, wanted.site, canvas.voxels)
        if not hurt:
            break
        table[others if retreat == _RETREATS - 1 else list(hurt)] = np.inf
    return _rated(canvas.grid, wanted, box, mask, size_mm)


def _shape(
    canvas: Canvas, wanted: Wanted, box: Box, seed: Index, rng: np.random.Generator
) -> Float32[np.ndarray, "z y x"]:
    """The lesion's own shape in a box, before the prices of tissues; infinite where it is closed."""
    spacing = canvas.grid.spacing_mm_zyx
    z, y, x = (
        ((np.arange(part.stop - part.start) - i) * s).astype(np.float32)
        for part, i, s in zip(box, seed, spacing, strict=True)
    )
    shape = shape_field(wanted.style, (z, y, x), wanted.size_mm / 2, rng)
    shape[closed(canvas, box)] = np.inf
    if wanted.style.kind == "annular":
        shape[_lumen(canvas.anatomy[box] == wanted.site.id, spacing)] = np.inf
    shape[seed] = 0.0
    return shape


def _rated(grid: Grid, wanted: Wanted, box: Box, mask: Bool[np.ndarray, "z y x"], size_mm: float) -> Fitted:
    """Rate a lesion; one voxel is as small as a lesion can be, so it is never too large."""
    voxels = int(mask.sum())
    error = 0.0 if voxels == 1 and size_mm > wanted.size_mm else abs(size_mm - wanted.size_mm)
    ball_ml = np.pi / 6 * size_mm**3 / 1000.0
    return Fitted(box, mask, size_mm, error, voxels * grid.voxel_volume_ml / ball_ml)


def padded(box: Box, margin: list[int], shape: tuple[int, ...]) -> Box:
    """Widen a box inside the volume."""
    return tuple(
        slice(max(0, part.start - m), min(n, part.stop + m)) for part, m, n in zip(box, margin, shape, strict=True)
    )


def _shifted(index: Index, box: Box, sign: int) -> Index:
    """Translate an index from a box to the volume (+1) or back (-1)."""
    z, y, x = (i + sign * part.start for i, part in zip(index, box, strict=True))
    return z, y, x


def closed(canvas: Canvas, box: Box) -> Bool[np.ndarray, "z y x"]:
    """Voxels of a box beside other lesions or the outside, and the faces of the box.

    The closed faces keep lesions off the edge of the grid, and let what happens inside a box be
    judged inside it.
    """
    taken = (canvas.anatomy[box] == 0) | (canvas.lesions[box] > 0)
    shut: np.ndarray = ndimage.maximum_filter(taken.view(np.uint8), 3) > 0
    for axis in range(3):
        np.moveaxis(shut, axis, 0)[[0, -1]] = True
    return shut


def _lumen(site: Bool[np.ndarray, "z y x"], spacing: tuple[float, float, float]) -> Bool[np.ndarray, "z y x"]:
    """The open middle of a tube; empty where the tube is thin."""
    depth = ndimage.distance_transform_edt(np.pad(site, 1, mode="edge"), sampling=spacing)[1:-1, 1:-1, 1:-1]
    return np.asarray(depth > max(_LUMEN * depth.max(), _LUMEN_VOXELS * max(spacing)))
