"""Fitting one lesion: search for a place, grow it to its size, retreat from what it would harm.

Works in boxes around the site and around the seed, so time depends on the organ and the lesion,
not on the volume.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from scipy import ndimage

from factory.engines.lesions.canvas import Box, Canvas, Index, closed, padded, shifted
from factory.engines.lesions.growing import grow
from factory.engines.lesions.pushing import Pushed, pushed
from factory.engines.lesions.seeding import draw_seeds
from factory.engines.lesions.shape import Style, shape_field
from factory.engines.lesions.territory import harmed, prices
from manifests.anatomy import Structure
from manifests.errors import InvalidValueError
from manifests.geometry import Grid

__all__ = ["Fitted", "Wanted", "fit"]

_REACH = 0.8
"""Half edge of a lesion's box as a fraction of its diameter: room to deform where tissue is in the way."""
_RETREATS = 4
"""Times a lesion gives back organs that it harmed and grows again, before it keeps to its site."""
_FULLNESS = 0.15
"""Share of the ball of its diameter below which a lesion is a string, and another place is tried."""
_GOOD_FRACTION = 0.1
"""Relative error of the size at which the search ends; one voxel is accepted in the end."""
_NEARBY = 0.75
_SURROUNDS = 0.95
"""Largest width of a tube, relative to its diameter, that an annular lesion surrounds."""
_POLYP_OUTSIDE = 2.0
"""Factor on the price of tissue outside the tube for what could not become annular."""
_LUMEN = 0.65
"""Depth, relative to the deepest point, from which the lumen inside an annular tumour stays open."""
_LUMEN_VOXELS = 3.0
"""Depth in voxels from which a lumen is wide enough to stay open."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One lesion to place: its site, longest axial diameter and growth form.

    Attributes:
        near: where it starts lies within `near_mm` of this voxel; None = anywhere in the site.
    """

    site: Structure
    size_mm: float
    style: Style
    near: Index | None = None
    near_mm: float = 0.0


@dataclass(frozen=True, slots=True)
class Fitted:
    """A lesion that fits, not yet painted: its voxels in a box, and how well it meets the wish."""

    box: Box
    mask: Bool[np.ndarray, "z y x"]
    size_mm: float
    error_mm: float
    fullness: float
    form: str
    pushed: Pushed | None = None


def fit(canvas: Canvas, wanted: Wanted, rng: np.random.Generator) -> Fitted:
    """Find the first good lesion, else the best acceptable one: gently first, then among soft organs.

    What is too small to surround its tube becomes polypoid.

    Raises:
        InvalidValueError: if no place holds a lesion of that size to within a voxel.
    """
    found = _search(canvas, wanted, rng)
    if not found and wanted.style.form == "annular":
        wanted = replace(wanted, style=replace(wanted.style, form="polypoid", outside=_POLYP_OUTSIDE))
        found = _search(canvas, wanted, rng)
    if not found:
        raise InvalidValueError(
            f"tumour of the {wanted.site.organ}",
            got=f"no room in and around the {wanted.site.name} for one more of {wanted.size_mm:.0f} mm",
            need="a site that can hold it",
            do="Ask for a smaller tumour, for fewer, or for another site.",
        )
    voxel_mm = max(canvas.grid.spacing_mm_zyx[1:])
    return max(found, key=lambda fitted: min(fitted.fullness, _FULLNESS) - 0.01 * fitted.error_mm / voxel_mm)


def _search(canvas: Canvas, wanted: Wanted, rng: np.random.Generator) -> list[Fitted]:
    """The first good lesion alone, else all acceptable ones, at most a voxel off in size."""
    voxel_mm = max(canvas.grid.spacing_mm_zyx[1:])
    found: list[Fitted] = []
    for crowded in (False, True):
        for seed in _seeds(canvas, wanted, crowded, rng):
            for push in _pushes(canvas, wanted, seed):
                fitted = _grow_at(canvas, wanted, (seed, push, crowded), rng)
                good = fitted.error_mm <= min(_GOOD_FRACTION * wanted.size_mm, voxel_mm)
                if good and fitted.fullness >= _FULLNESS:
                    return [fitted]
                if fitted.error_mm <= voxel_mm:
                    found.append(fitted)
        if any(fitted.fullness >= _FULLNESS for fitted in found):
            break
    return found


def _pushes(canvas: Canvas, wanted: Wanted, seed: Index) -> Iterator[Pushed | None]:
    """Ways to make room at a seed: push what lies around it, where that does no harm; then leave it as it is."""
    if wanted.style.pushes and (push := pushed(canvas, wanted.site, seed, wanted.size_mm)):
        yield push
    yield None


def _seeds(canvas: Canvas, wanted: Wanted, crowded: bool, rng: np.random.Generator) -> list[Index]:
    """Draw starting voxels, as indices of the whole volume."""
    nz, ny, nx = (wanted.size_mm / spacing for spacing in canvas.grid.spacing_mm_zyx)
    site = ndimage.find_objects((canvas.anatomy == wanted.site.id).view(np.uint8))[0]
    box = padded(site, [int(n / 2) + 1 for n in (nz, ny, nx)], canvas.anatomy.shape)
    price = np.where(closed(canvas, box), np.inf, prices(wanted.site, crowded=crowded)[canvas.anatomy[box]])
    if wanted.near is not None:
        price[_far(box, wanted.near, canvas.grid.spacing_mm_zyx, wanted.near_mm)] = np.inf
    seeds = draw_seeds(canvas.anatomy[box] == wanted.site.id, price, (nz, ny, nx), wanted.style, rng)
    return [shifted(seed, box, 1) for seed in seeds]


def _far(box: Box, near: Index, spacing: tuple[float, float, float], reach_mm: float) -> Bool[np.ndarray, "z y x"]:
    """Voxels of a box beyond a distance of a voxel of the volume."""
    z, y, x = (((np.arange(part.start, part.stop) - i) * s) ** 2 for part, i, s in zip(box, near, spacing, strict=True))
    return np.asarray(z[:, None, None] + y[:, None] + x > reach_mm**2)


def _grow_at(
    canvas: Canvas, wanted: Wanted, start: tuple[Index, Pushed | None, bool], rng: np.random.Generator
) -> Fitted:
    """Grow a lesion of the wanted size from a seed, retreating from the organs that it harms."""
    seed, push, crowded = start
    spacing = canvas.grid.spacing_mm_zyx
    reach = [int(_REACH * wanted.size_mm / s) + 2 for s in spacing]
    middle, wide_mm = _tube_middle(canvas, wanted, seed) if wanted.style.form == "annular" else (seed, 0.0)
    if wide_mm > _SURROUNDS * wanted.size_mm:
        return Fitted((), np.zeros((0, 0, 0), bool), 0.0, np.inf, 0.0, wanted.style.form)
    box = padded(tuple(slice(i, i + 1) for i in middle), reach, canvas.anatomy.shape)
    local = shifted(seed, box, -1)
    anatomy = push.window(box) if push else canvas.anatomy[box]
    shape = _shape(wanted, (anatomy, closed(canvas, box)), shifted(middle, box, -1), spacing, rng)
    shape[local] = 0.0
    table = prices(wanted.site, crowded=crowded)
    others = np.arange(len(table)) != wanted.site.id
    table[others] = np.maximum(table[others] * wanted.style.outside, 1.0)
    for retreat in range(_RETREATS + 1):
        mask, size_mm = grow(shape * table[anatomy], local, wanted.size_mm, spacing[1:])
        hurt = harmed(anatomy, mask, wanted.site, canvas.voxels)
        if not hurt:
            break
        table[others if retreat == _RETREATS - 1 else list(hurt)] = np.inf
    return replace(_rated(canvas.grid, wanted, box, mask, size_mm), pushed=push)


def _tube_middle(canvas: Canvas, wanted: Wanted, seed: Index) -> tuple[Index, float]:
    """The middle of a tube beside a seed on its wall, and its width in mm there.

    It is the deepest voxel within three quarters of the lesion's diameter.
    """
    spacing = canvas.grid.spacing_mm_zyx
    reach = [int(_NEARBY * wanted.size_mm / s) + 1 for s in spacing]
    box = padded(tuple(slice(i, i + 1) for i in seed), reach, canvas.anatomy.shape)
    depth = _depth(canvas.anatomy[box] == wanted.site.id, spacing)
    depth[_far(box, seed, spacing, _NEARBY * wanted.size_mm)] = 0
    z, y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return shifted((int(z), int(y), int(x)), box, 1), 2 * float(depth[z, y, x])


def _depth(site: Bool[np.ndarray, "z y x"], spacing: tuple[float, float, float]) -> Float64[np.ndarray, "z y x"]:
    """Distance in mm to the outside of a structure; beyond the box it goes on."""
    padded_site = np.pad(site, 1, mode="edge")
    return np.asarray(ndimage.distance_transform_edt(padded_site, sampling=spacing)[1:-1, 1:-1, 1:-1])


def _shape(
    wanted: Wanted,
    room: tuple[UInt8[np.ndarray, "z y x"], Bool[np.ndarray, "z y x"]],
    middle: Index,
    spacing: tuple[float, float, float],
    rng: np.random.Generator,
) -> Float32[np.ndarray, "z y x"]:
    """The lesion's own shape in a box, before the prices of tissues; infinite where it is closed.

    Args:
        wanted: the lesion.
        room: anatomy of the box, and where it is closed.
        middle: index of its centre in the box.
        spacing: of the voxels, in mm.
        rng: draws the shape.
    """
    anatomy, shut = room
    z, y, x = (
        ((np.arange(n) - i) * s).astype(np.float32) for n, i, s in zip(anatomy.shape, middle, spacing, strict=True)
    )
    shape = shape_field(wanted.style, (z, y, x), wanted.size_mm / 2, rng)
    shape[shut] = np.inf
    if wanted.style.form == "annular":
        shape[_lumen(anatomy == wanted.site.id, spacing)] = np.inf
    return shape


def _rated(grid: Grid, wanted: Wanted, box: Box, mask: Bool[np.ndarray, "z y x"], size_mm: float) -> Fitted:
    """Rate a lesion; one voxel is as small as a lesion can be, so it is never too large."""
    voxels = int(mask.sum())
    error = 0.0 if voxels == 1 and size_mm > wanted.size_mm else abs(size_mm - wanted.size_mm)
    ball_ml = np.pi / 6 * size_mm**3 / 1000.0
    return Fitted(box, mask, size_mm, error, voxels * grid.voxel_volume_ml / ball_ml, wanted.style.form)


def _lumen(site: Bool[np.ndarray, "z y x"], spacing: tuple[float, float, float]) -> Bool[np.ndarray, "z y x"]:
    """The open middle of a tube; empty where the tube is thin."""
    depth = _depth(site, spacing)
    return np.asarray(depth > max(_LUMEN * depth.max(), _LUMEN_VOXELS * max(spacing)))
