"""Vessels inside lungs and liver, and in the fat between the coils of the small bowel."""

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from factory.engines.texture.fields import depth_mm
from factory.engines.texture.scene import Region, Scene
from factory.engines.texture.trees import Habit, Tree, companion, grow, rasterise
from manifests.anatomy import structure, structures

__all__ = ["paint_liver_vessels", "paint_lungs", "paint_mesentery"]

_FISSURE_HU = 140.0
_GRAVITY_HU_PER_MM = 0.35
_MESENTERY_HABIT, _MESENTERY_MM = Habit((12, 60, 220), twig_mm=0.8, trunk_mm=3.2), 24.0
_LIVER_HABIT = Habit((8, 40, 170), twig_mm=1.1, trunk_mm=6.0)


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
    spacing = scene.grid.spacing_mm_zyx
    step = float(np.mean(spacing))
    y = np.arange(region.mask.shape[1], dtype=np.float32)[None, :, None] * np.float32(spacing[1])
    hu, lobes = scene.hu[region.box], scene.anatomy[region.box]
    values = hu + np.float32(_GRAVITY_HU_PER_MM) * (y - y.mean()) + _FISSURE_HU / step * _fissures(lobes, region)
    blood = np.float32(scene.base[structure("pulmonary_vein").id])
    root = _nearest(region, centre - _corner(region, np.asarray(spacing)), np.asarray(spacing))
    twigs = int(np.clip(3600 / step, 700, 3600))
    for number, (height, trunk_mm) in enumerate(((8.0, 7.5), (-14.0, 6.0))):
        habit = Habit((20, 120, 500, twigs), twig_mm=0.5, trunk_mm=trunk_mm)
        tree = grow(region.mask, spacing, root + np.array([height, 0, 0]), habit, rng)
        if number == 0:
            _paint_bronchi(values, tree, spacing)
        values += rasterise(tree, region.mask.shape, spacing) * (blood - values)
    values += scene.base[lobes[region.mask]].mean() - values[region.mask].mean()
    hu[region.mask] = values[region.mask]


def _paint_bronchi(values: Float32[np.ndarray, "z y x"], tree: Tree, spacing_mm: tuple[float, float, float]) -> None:
    """Lay a bronchus beside every larger artery: a wall, then air inside it."""
    for extra_mm, hu in ((1.2, -150.0), (0.0, -960.0)):
        tube = companion(tree, smallest_mm=2.2, extra_mm=extra_mm)
        values += rasterise(tube, values.shape, spacing_mm) * (np.float32(hu) - values)


def _fissures(lobes: UInt8[np.ndarray, "z y x"], region: Region) -> Float32[np.ndarray, "z y x"]:
    """Voxels with another lobe of the same lung as a neighbour."""
    border = np.zeros(lobes.shape, np.float32)
    for axis in range(3):
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        a, b = tuple(low), tuple(high)
        border[a] += (lobes[a] != lobes[b]) & region.mask[a] & region.mask[b]
    np.minimum(border, 1, out=border)
    return border


def paint_liver_vessels(scene: Scene) -> None:
    """Draw portal and hepatic trees through the liver, with the contrast of their blood."""
    region = scene.region("liver")
    if region is None:
        return
    spacing, hu = scene.grid.spacing_mm_zyx, scene.hu[region.box]
    for name, strength in (("portal_vein_and_splenic_vein", 1.0), ("inferior_vena_cava", 0.9)):
        root = _nearest(region, _entry_mm(scene, region, name), np.asarray(spacing))
        tree = grow(region.mask, spacing, root, _LIVER_HABIT, scene.rng(f"liver/{name}"))
        share = rasterise(tree, region.mask.shape, spacing) * np.float32(strength)
        blood = scene.base[structure(name).id]
        hu[region.mask] += (share * (blood - hu))[region.mask]


def paint_mesentery(scene: Scene) -> None:
    """Spread the branches of the superior mesenteric vein through the fat around the small bowel."""
    bowel, vein = scene.region("small_bowel"), scene.region("superior_mesenteric_vein")
    if bowel is None or vein is None:
        return
    spacing = np.asarray(scene.grid.spacing_mm_zyx)
    fat = scene.anatomy[bowel.box] == structure("visceral_fat").id
    near = fat & (depth_mm(bowel.mask, scene.grid.spacing_mm_zyx, _MESENTERY_MM) > -0.85 * _MESENTERY_MM)
    if not near.any():
        return
    points = np.argwhere(vein.mask) * spacing + _corner(vein, spacing)
    stem = points[points[:, 0] <= np.quantile(points[:, 0], 0.5)].mean(axis=0) - _corner(bowel, spacing)
    tree = grow(near, scene.grid.spacing_mm_zyx, stem, _MESENTERY_HABIT, scene.rng("mesentery"))
    share = rasterise(tree, near.shape, scene.grid.spacing_mm_zyx)
    blood = np.float32(scene.base[structure("superior_mesenteric_vein").id])
    hu = scene.hu[bowel.box]
    hu[fat] += (share * (blood - hu))[fat]


def _entry_mm(scene: Scene, region: Region, name: str) -> Float64[np.ndarray, "3"]:
    """Where a vein enters the liver, in mm from the corner of its box.

    The portal vein enters where it comes nearest to the liver's centre, the caval vein drains
    it at the top. Without the vein in the masks: the lower or upper face, towards the back.
    """
    spacing, cava = np.asarray(scene.grid.spacing_mm_zyx), name == "inferior_vena_cava"
    vein, corner = scene.region(name), _corner(region, np.asarray(scene.grid.spacing_mm_zyx))
    entry: Float64[np.ndarray, "3"] = np.asarray(region.mask.shape) * spacing * (0.95 if cava else 0.2, 0.6, 0.6)
    if vein is None:
        return entry
    points = np.argwhere(vein.mask) * spacing + _corner(vein, spacing)
    inside = points[(points[:, 0] >= corner[0]) & (points[:, 0] < corner[0] + region.mask.shape[0] * spacing[0])]
    points = inside if len(inside) else points
    if cava:
        entry = points[points[:, 0] == points[:, 0].max()].mean(axis=0) - corner
    else:
        entry = _closest(points, _centre_mm(region, scene)) - corner
    return entry


def _closest(points: Float64[np.ndarray, "n 3"], target: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3"]:
    found: Float64[np.ndarray, "3"] = points[np.argmin(((points - target) ** 2).sum(axis=1))]
    return found


def _corner(region: Region, spacing: Float64[np.ndarray, "3"]) -> Float64[np.ndarray, "3"]:
    corner: Float64[np.ndarray, "3"] = np.array([float(part.start) for part in region.box]) * spacing
    return corner


def _centre_mm(region: Region, scene: Scene) -> Float64[np.ndarray, "3"]:
    spacing = np.asarray(scene.grid.spacing_mm_zyx)
    means = [
        np.average(np.arange(n), weights=region.mask.sum(axis=axes))
        for n, axes in zip(region.mask.shape, ((1, 2), (0, 2), (0, 1)), strict=True)
    ]
    centre: Float64[np.ndarray, "3"] = np.asarray(means) * spacing + _corner(region, spacing)
    return centre


def _nearest(
    region: Region, target: Float64[np.ndarray, "3"], spacing: Float64[np.ndarray, "3"]
) -> Float64[np.ndarray, "3"]:
    """The point of a region nearest to a target, both in mm from the corner of its box."""
    return _closest(np.argwhere(region.mask) * spacing, target)
