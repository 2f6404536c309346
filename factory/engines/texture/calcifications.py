"""Calcium: plaque on arterial walls, in coronary arteries and cartilage, phleboliths, stones."""

import numpy as np
from jaxtyping import Bool

from factory.engines.texture.fields import smooth_field, smoothstep
from factory.engines.texture.scene import Region, Scene

__all__ = ["paint_calcifications"]

_STONES = {"gallstones": ("gallbladder", 5.0), "gallstone": ("gallbladder", 7.0), "kidney_stones": ("kidney", 2.5)}
"""Variants that a mask model may note, where their stones lie, and the stones' median radius in mm."""
_SILENT_GALLSTONES = 0.08
"""Share of gallbladders with stones where the mask model does not tell (chosen; about 10 % of adults have some)."""


def paint_calcifications(scene: Scene) -> None:
    """Calcify what ages, and lay stones where the masks' notes or chance say so."""
    rng = scene.rng("calcium")
    severity = float(np.clip((scene.subject.age_years - 42) / 40, 0, 1.1)) * rng.uniform(0.2, 1.0)
    if severity > 0:
        _line_arteries(scene, severity, rng)
        _dot(scene, scene.region("heart"), 5 * severity, rng)
        _mottle_cartilage(scene, severity, rng)
    _dot(scene, scene.region("urinary_bladder", margin_mm=25.0), 3 * severity, rng, outside=True)
    _lay_stones(scene, rng)


def _line_arteries(scene: Scene, severity: float, rng: np.random.Generator) -> None:
    """Calcify patches of arterial wall."""
    region = scene.tissue("artery")
    if region is None:
        return
    field = smooth_field(region.mask.shape, scene.grid.spacing_mm_zyx, 6.0, rng)
    inner = np.ones_like(region.mask)
    for axis in (0, 1, 2):
        for shift in (1, -1):
            inner &= np.roll(region.mask, shift, axis)
    wall = region.mask & ~inner
    share = smoothstep(field[wall], 2.3 - 1.3 * severity, 3.0 - 1.3 * severity)
    scene.hu[region.box][wall] += share * np.float32(700 * min(1.0, 2.0 / scene.voxel_mm))


def _mottle_cartilage(scene: Scene, severity: float, rng: np.random.Generator) -> None:
    """Calcify costal cartilage in patches."""
    region = scene.region("costal_cartilages")
    if region is None:
        return
    field = smooth_field(region.mask.shape, scene.grid.spacing_mm_zyx, 7.0, rng)[region.mask]
    scene.hu[region.box][region.mask] += 320 * smoothstep(field, 1.8 - 1.2 * severity, 2.6 - 1.2 * severity)


def _dot(scene: Scene, region: Region | None, mean: float, rng: np.random.Generator, *, outside: bool = False) -> None:
    """Strew small dots over the surface of a region, or around it."""
    count = int(rng.poisson(mean))
    if region is None or not count:
        return
    allowed = ~region.mask & (scene.anatomy[region.box] > 0) if outside else region.mask & ~_inner(region)
    places = np.flatnonzero(allowed)
    for place in rng.choice(places, count) if places.size else ():
        _ball(scene, region, int(place), (rng.uniform(1.0, 2.6), rng.uniform(300, 800)))


def _inner(region: Region) -> Bool[np.ndarray, "z y x"]:
    """The region without its outermost voxels along x and y."""
    inner = region.mask.copy()
    for axis in (1, 2):
        for shift in (2, -2):
            inner &= np.roll(region.mask, shift, axis)
    return inner


def _lay_stones(scene: Scene, rng: np.random.Generator) -> None:
    """Lay stones: in the gallbladder they sink, in the kidney they lie anywhere inside."""
    noted = str(scene.masks.notes.get("variants", ""))
    kinds = {_STONES[name] for name in _STONES if name in noted}
    if rng.random() < _SILENT_GALLSTONES and "variants" not in scene.masks.notes:
        kinds.add(_STONES["gallstones"])
    for organ, radius_mm in sorted(kinds):
        region = scene.region(organ, margin_mm=3.0)
        inside = np.argwhere(region.mask & _inner(region)) if region else np.empty((0, 3), int)
        if region is None or not len(inside):
            continue
        if organ == "gallbladder":
            inside = inside[inside[:, 1] >= np.quantile(inside[:, 1], 0.8)]
        for row in inside[rng.integers(0, len(inside), rng.integers(1, 5))]:
            place = int(np.ravel_multi_index(tuple(row), region.mask.shape))
            _ball(scene, region, place, (radius_mm * rng.uniform(0.5, 1.6), rng.uniform(120, 900)))


def _ball(scene: Scene, region: Region, place: int, look: tuple[float, float]) -> None:
    """Put a ball of a radius in mm and HU around a voxel of the region's box; fainter where smaller than a voxel."""
    radius, hu = look
    spacing, shape = scene.grid.spacing_mm_zyx, region.mask.shape
    centre = np.unravel_index(place, shape)
    reach = [int(np.ceil((radius + scene.voxel_mm) / step)) for step in spacing]
    box = tuple(
        slice(max(int(c) - n, 0), min(int(c) + n + 1, size)) for c, n, size in zip(centre, reach, shape, strict=True)
    )
    z, y, x = (
        ((np.arange(part.start, part.stop) - c) * step) ** 2 for part, c, step in zip(box, centre, spacing, strict=True)
    )
    gap = np.sqrt(z[:, None, None] + y[None, :, None] + x)
    wide = max(radius, 0.6 * scene.voxel_mm)
    cover = np.clip(0.5 + (wide - gap) / scene.voxel_mm, 0, 1) * min(1.0, (radius / wide) ** 3)
    values = scene.hu[region.box][box]
    values += (cover * np.maximum(hu - values, 0)).astype(np.float32)
