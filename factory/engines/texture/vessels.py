"""Vessels inside lungs and liver, and calcified plaque on arterial walls."""

import numpy as np
from jaxtyping import Float64

from factory.engines.texture.fields import smooth_field, smoothstep
from factory.engines.texture.scene import Region, Scene
from factory.engines.texture.trees import Habit, grow, rasterise
from manifests.anatomy import structure, structures

__all__ = ["paint_liver_vessels", "paint_lungs", "paint_plaque"]

_FISSURE_HU = 140.0
_GRAVITY_HU_PER_MM = 0.35


def paint_lungs(scene: Scene) -> None:
    """Fill each lung with a tree from its hilum, denser ground below, and fissures between lobes."""
    both = scene.region("lung")
    if both is None:
        return
    centre = _centre_mm(both, scene)
    for side in ("left", "right"):
        region = scene.region(*(entry.name for entry in structures() if entry.group == "lung" and entry.side == side))
        if region is not None:
            _paint_lung(scene, region, centre, scene.rng(f"lung/{side}"))


def _paint_lung(scene: Scene, region: Region, centre: Float64[np.ndarray, "3"], rng: np.random.Generator) -> None:
    spacing = np.asarray(scene.grid.spacing_mm_zyx)
    y = np.arange(region.mask.shape[1], dtype=np.float32)[None, :, None] * np.float32(spacing[1])
    hu, lobes = scene.hu[region.box], scene.anatomy[region.box]
    ground = (
        hu + np.float32(_GRAVITY_HU_PER_MM) * (y - y.mean()) + _FISSURE_HU * _fissures(lobes, region) / spacing.mean()
    )
    twigs = int(np.clip(9000 / spacing.mean(), 1500, 9000))
    habit = Habit((24, 250, twigs), twig_mm=0.42, trunk_mm=7.0)
    tree = grow(region.mask, tuple(spacing), _nearest(region, centre - _corner(region, spacing), spacing), habit, rng)
    share = rasterise(tree, region.mask.shape, tuple(spacing))
    blood = np.float32(scene.base[structure("pulmonary_vein").id])
    ground += share * (blood - ground)
    ground += scene.base[lobes[region.mask]].mean() - ground[region.mask].mean()
    hu[region.mask] = ground[region.mask]


def _fissures(lobes: np.ndarray, region: Region) -> np.ndarray:
    """Voxels with another lobe of the same lung as a neighbour."""
    border = np.zeros(lobes.shape, np.float32)
    for axis in range(3):
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        a, b = tuple(low), tuple(high)
        border[a] += (lobes[a] != lobes[b]) & region.mask[a] & region.mask[b]
    return np.minimum(border, 1)


def paint_liver_vessels(scene: Scene) -> None:
    """Draw portal and hepatic trees through the liver, with the contrast of their blood."""
    region = scene.region("liver")
    if region is None:
        return
    spacing, hu = scene.grid.spacing_mm_zyx, scene.hu[scene.boxes[structure("liver").id - 1]]  # type: ignore[index]
    sources = (("portal_vein_and_splenic_vein", 0.0, 1.0), ("inferior_vena_cava", 1.0, 0.9))
    for name, height, strength in sources:
        rng = scene.rng(f"liver/{name}")
        root = _nearest(region, _root_mm(scene, region, name, height), np.asarray(spacing))
        tree = grow(region.mask, spacing, root, Habit((10, 60, 260), twig_mm=0.75, trunk_mm=5.5), rng)
        share = rasterise(tree, region.mask.shape, spacing) * np.float32(strength)
        blood = scene.base[structure(name).id]
        hu[region.mask] += (share * (blood - hu))[region.mask]


def _root_mm(scene: Scene, region: Region, name: str, height: float) -> Float64[np.ndarray, "3"]:
    """Where a vessel enters: the nearest of its voxels, or else the lower or upper midline face."""
    spacing, corner = np.asarray(scene.grid.spacing_mm_zyx), _corner(region, np.asarray(scene.grid.spacing_mm_zyx))
    vessel = scene.region(name)
    if vessel is None:
        return np.asarray(region.mask.shape) * spacing * (height, 0.6, 0.6)
    index = np.argwhere(vessel.mask) * spacing + _corner(vessel, spacing)
    top = index[np.argsort(index[:, 0] * (1 if height else -1), kind="stable")[-max(len(index) // 20, 1) :]]
    return top.mean(axis=0) - corner if height else _closest(index, _centre_mm(region, scene)) - corner


def _closest(points: Float64[np.ndarray, "n 3"], target: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3"]:
    return points[np.argmin(((points - target) ** 2).sum(axis=1))]


def _corner(region: Region, spacing: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3"]:
    return np.array([part.start for part in region.box]) * spacing


def _centre_mm(region: Region, scene: Scene) -> Float64[np.ndarray, "3"]:
    spacing = np.asarray(scene.grid.spacing_mm_zyx)
    means = [
        np.average(np.arange(n), weights=region.mask.sum(axis=axes))
        for n, axes in zip(region.mask.shape, ((1, 2), (0, 2), (0, 1)), strict=True)
    ]
    return np.asarray(means) * spacing + _corner(region, spacing)


def _nearest(
    region: Region, target: Float64[np.ndarray, "3"], spacing: Float64[np.ndarray, "3"]
) -> Float64[np.ndarray, "3"]:
    """The point of a region nearest to a target, both in mm from the corner of its box."""
    return _closest(np.argwhere(region.mask) * spacing, target)


def paint_plaque(scene: Scene) -> None:
    """Calcify patches of arterial wall from middle age on."""
    severity = np.clip((scene.subject.age_years - 42) / 40, 0, 1.1)
    region = scene.tissue("artery")
    rng = scene.rng("plaque")
    severity *= rng.uniform(0.2, 1.0)
    if region is None or severity <= 0:
        return
    field = smooth_field(region.mask.shape, scene.grid.spacing_mm_zyx, 6.0, rng)
    inner = np.ones_like(region.mask)
    for axis in (0, 1, 2):
        for shift in (1, -1):
            inner &= np.roll(region.mask, shift, axis)
    wall = region.mask & ~inner
    share = smoothstep(field[wall], 2.6 - 1.3 * severity, 3.4 - 1.3 * severity)
    scene.hu[region.box][wall] += share * np.float32(700 * min(1.0, 2.0 / scene.voxel_mm))
