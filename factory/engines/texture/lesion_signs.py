"""What a lesion does to its surroundings in the image: strands, stranding of fat, dilated ducts, atelectasis.

These signs stand in the CT alone; the labels know nothing of them.
"""

import numpy as np
from jaxtyping import Bool, Float32, Float64

from factory.engines.texture.fields import depth_mm, sheets, smooth_field, smoothstep
from factory.engines.texture.scene import Region, Scene
from factory.engines.texture.trees import Habit, Tree, grow, rasterise
from manifests.anatomy import structure, structures
from manifests.case import Lesion

__all__ = ["paint_signs"]

_STRANDS_FROM_MM, _STRANDS, _STRAND_MM = 6.0, 22, 1.2
"""Smallest tumour with strands, their number, and half their width; chosen."""
_STRANDING_FROM_MM, _STRANDING_HU = 25.0, 55.0
_DUCT_FROM_MM, _DUCT_HU, _DUCT_SHARE, _DUCT_MM = 8.0, 8.0, 0.7, (1.5, 4.0)
"""Smallest tumour of the pancreas that dilates the duct, its HU, how often, and range of its radius; chosen."""
_HEAD = 0.35
"""Share of the pancreas, from the right, in which a tumour also dilates the bile ducts."""
_BILE = Habit((6, 24, 70), twig_mm=1.0, trunk_mm=4.5)
_COLLAPSE_FROM_MM, _COLLAPSE_SHARE, _COLLAPSED = 25.0, 0.5, (0.04, 0.12)
"""Smallest central tumour that collapses lung, how often, and which share of the lobe; chosen."""
_COLLAPSED_HU = {"native": 35.0, "arterial": 95.0, "portal_venous": 100.0, "delayed": 85.0}
_CENTRAL = frozenset({"heart", "artery", "vein", "airway"})


def paint_signs(scene: Scene, lesion: Lesion, region: Region, viable_hu: float) -> None:
    """Paint the signs around one lesion; they depend on organ, form and size.

    Args:
        scene: changed in place.
        lesion: its record.
        region: its voxels, in a box with a margin.
        viable_hu: mean HU of its tissue.
    """
    rng = scene.rng(f"lesion/{lesion.id}/signs")
    chance, other = rng.random(2)
    if lesion.organ == "lung" and lesion.kind not in ("ground_glass", "calcified") and lesion.role != "metastasis":
        if lesion.size_mm >= _COLLAPSE_FROM_MM and chance < _COLLAPSE_SHARE:
            _collapse(scene, lesion, region, rng)
        if lesion.form in ("spiculated", None) and lesion.size_mm >= _STRANDS_FROM_MM:
            _spiculate(scene, region, viable_hu, rng)
    elif lesion.organ == "pancreas" and lesion.size_mm >= _DUCT_FROM_MM and chance < _DUCT_SHARE:
        _dilate_ducts(scene, lesion, rng, bile=bool(other < _DUCT_SHARE))
    elif lesion.form == "annular" and lesion.size_mm >= _STRANDING_FROM_MM:
        _strand_fat(scene, region, rng)


def _spiculate(scene: Scene, region: Region, mean: float, rng: np.random.Generator) -> None:
    """Draw short radiating strands into the lung around a tumour, outside its mask."""
    spacing = np.asarray(scene.grid.spacing_mm_zyx)
    centre = np.argwhere(region.mask).mean(axis=0)
    offset = [(np.arange(n) - c) * s for n, c, s in zip(region.mask.shape, centre, spacing, strict=True)]
    z, y, x = offset[0][:, None, None], offset[1][None, :, None], offset[2][None, None, :]
    radius = np.sqrt(z**2 + y**2 + x**2) + 1e-3
    field, width = np.zeros(region.mask.shape, np.float32), max(_STRAND_MM, scene.voxel_mm / 2)
    for direction in rng.standard_normal((_STRANDS, 3)):
        direction /= np.linalg.norm(direction)
        along = z * direction[0] + y * direction[1] + x * direction[2]
        across = np.maximum(radius**2 - along**2, 0)
        field = np.maximum(field, np.where(along > 0, np.exp(-across / width**2), 0).astype(np.float32))
    reach_mm = float(rng.uniform(7.0, 12.0))
    near = 1 - smoothstep(-depth_mm(region.mask, scene.grid.spacing_mm_zyx, reach_mm), 3.0, reach_mm)
    lung = (scene.hu[region.box] < -500) & ~region.mask
    hu = scene.hu[region.box]
    strand = field * near * min(0.85, 2 * _STRAND_MM / scene.voxel_mm)
    hu[lung] += (strand * (np.float32(mean) - hu))[lung]


def _strand_fat(scene: Scene, region: Region, rng: np.random.Generator) -> None:
    """Draw hazy streaks into the fat within a centimetre of a tumour."""
    spacing, hu = scene.grid.spacing_mm_zyx, scene.hu[region.box]
    near = 1 - smoothstep(-depth_mm(region.mask, spacing, 9.0), 2.0, 8.5)
    streaks = sheets(smooth_field(region.mask.shape, spacing, 6.0, rng), 6.0, 1.5, scene.voxel_mm)
    fat = scene.anatomy[region.box] == structure("visceral_fat").id
    hu[fat] += (np.float32(_STRANDING_HU) * near * (0.3 + streaks))[fat]


def _dilate_ducts(scene: Scene, lesion: Lesion, rng: np.random.Generator, *, bile: bool) -> None:
    """Dilate the pancreatic duct between a tumour and the tail, and with a tumour of the head the ducts of the liver."""
    pancreas = scene.region("pancreas")
    if pancreas is None:
        return
    spacing = scene.grid.spacing_mm_zyx
    tumour = np.argwhere(scene.masks.lesions[pancreas.box] == lesion.id)
    if not len(tumour):
        return
    columns = np.flatnonzero(pancreas.mask.any(axis=(0, 1)))
    first, last = int(columns[0]), int(columns[-1])
    points = _midline(pancreas.mask & (scene.masks.lesions[pancreas.box] == 0), int(tumour[:, 2].max()) + 1, spacing)
    if len(points) * spacing[2] >= 15.0:
        radius = np.linspace(float(rng.uniform(*_DUCT_MM)), 0.8, len(points))
        _dilute(scene, pancreas, Tree(points, np.arange(len(points)) - 1, radius))
    liver = scene.region("liver")
    if bile and liver is not None and tumour[:, 2].mean() - first < _HEAD * (last - first):
        corner = np.array([part.start for part in liver.box])
        target = (tumour.mean(axis=0) + [part.start for part in pancreas.box] - corner) * spacing
        inside = np.argwhere(liver.mask) * spacing
        root = inside[np.square(inside - target).sum(axis=1).argmin()]
        _dilute(scene, liver, grow(liver.mask, spacing, root, _BILE, rng))


def _midline(
    mask: Bool[np.ndarray, "z y x"], start: int, spacing: tuple[float, float, float]
) -> Float64[np.ndarray, "n 3"]:
    """Smoothed centres of the sagittal sections of a gland from a column to its left end, in mm (z, y, x)."""
    places = [np.argwhere(mask[:, :, x]) for x in range(start, mask.shape[2])]
    kept = [(*found.mean(axis=0), start + i) for i, found in enumerate(places) if len(found) >= 4]
    points = np.array(kept, np.float64).reshape(-1, 3) * spacing
    width = max(1, round(9.0 / spacing[2]) | 1)
    if len(points) > width:
        padded = np.pad(points[:, :2], ((width // 2, width // 2), (0, 0)), mode="edge")
        kernel = np.full(width, 1 / width)
        points[:, :2] = np.stack([np.convolve(padded[:, i], kernel, mode="valid") for i in (0, 1)], axis=1)
    return points


def _dilute(scene: Scene, region: Region, tree: Tree) -> None:
    """Fill a tree of ducts with bile or juice, inside a region and outside lesions."""
    share = rasterise(tree, region.mask.shape, scene.grid.spacing_mm_zyx)
    share[~region.mask | (scene.masks.lesions[region.box] > 0)] = 0
    hu = scene.hu[region.box]
    hu += share * (np.float32(_DUCT_HU) - hu)


def _collapse(scene: Scene, lesion: Lesion, region: Region, rng: np.random.Generator) -> None:
    """Collapse lung beyond a central tumour: a wedge of its lobe, away from the mediastinum."""
    table = np.zeros(256, bool)
    table[[entry.id for entry in structures() if entry.tissue in _CENTRAL]] = True
    centre = np.argwhere(region.mask).mean(axis=0)
    hilum = np.argwhere(table[scene.anatomy[region.box]])
    lobe = scene.region(lesion.site)
    if not len(hilum) or lobe is None:
        return
    spacing, corner = np.asarray(scene.grid.spacing_mm_zyx), [part.start for part in region.box]
    away = (centre - hilum.mean(axis=0)) * spacing
    spots = np.argwhere(lobe.mask & (scene.masks.lesions[lobe.box] == 0))
    ray = (spots + [part.start for part in lobe.box] - corner - centre) * spacing
    cosine = (ray @ away) / (np.linalg.norm(ray, axis=1) * np.linalg.norm(away) + 1e-6)
    edge = float(np.quantile(cosine, 1 - rng.uniform(*_COLLAPSED)))
    share: Float32[np.ndarray, " n"] = smoothstep(cosine.astype(np.float32), edge - 0.01, edge + 0.03)
    hu, index = scene.hu[lobe.box], tuple(spots.T)
    airless = np.float32(_COLLAPSED_HU[scene.subject.phase] + rng.normal(0, 6))
    # bronchi that stay open show as dark branches
    share = share * np.where(hu[index] < -930, np.float32(0.35), np.float32(rng.uniform(0.9, 1.0)))
    hu[index] += share * (airless - hu[index])
