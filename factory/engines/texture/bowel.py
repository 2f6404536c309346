"""Hollow organs: wall, fluid, food and stool, gas above with a level, urine and bile.

The patient lies supine, so gas collects anteriorly. Each pool of an axial slice has one
horizontal level; how far it is filled varies smoothly through the body.
"""

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from factory.engines.texture.fields import depth_mm, smooth_field, smoothstep
from factory.engines.texture.scene import Region, Scene
from manifests.anatomy import structure

__all__ = ["paint_bladder", "paint_bowel"]

_GAS_HU = -970.0
_WALL_MM = 2.5
_POOL_MM = 18.0
_COLON = ("colon",)
_SMALL = ("small_bowel", "duodenum")


def paint_bowel(scene: Scene) -> None:
    """Fill stomach, small bowel, colon and oesophagus."""
    rng = scene.rng("bowel")
    oral = rng.random() < 0.15
    prepared = rng.random() < 0.12
    stomach = scene.region("stomach", margin_mm=6.0)
    if stomach is not None:
        content = _mixed(scene, stomach, rng, (20.0 if not oral else 190.0, 14.0))
        _fill(scene, stomach, content, _single_level(stomach, rng.uniform(0.05, 0.3)))
    small = scene.region(*_SMALL, margin_mm=6.0)
    if small is not None:
        content = _mixed(scene, small, rng, (18.0 if not oral else 210.0, 9.0))
        _fill(scene, small, content, _levels(scene, small, rng, (-2.4, 0.3)))
    colon = scene.region(*_COLON, margin_mm=6.0)
    if colon is not None:
        content = _mixed(scene, colon, rng, (14.0, 8.0)) if prepared else _stool(scene, colon, rng)
        _fill(scene, colon, content, _levels(scene, colon, rng, (rng.uniform(-1.7, -0.5), 0.6)))
    gullet = scene.region("esophagus", margin_mm=6.0)
    if gullet is not None:
        _fill(scene, gullet, _mixed(scene, gullet, rng, (30.0, 6.0)), _levels(scene, gullet, rng, (-2.0, 0.5)))


def _fill(scene: Scene, region: Region, content: Float32[np.ndarray, "z y x"], gas: Bool[np.ndarray, "z y x"]) -> None:
    """Replace the lumen by its content and gas; the wall keeps the base value of the structure."""
    spacing = scene.grid.spacing_mm_zyx
    lumen = smoothstep(
        depth_mm(region.mask, spacing, max(_WALL_MM, scene.voxel_mm)), 0.15 * scene.voxel_mm, 0.75 * scene.voxel_mm
    )
    inside = np.where(gas, np.float32(_GAS_HU), content)
    hu = scene.hu[region.box]
    hu[region.mask] += (lumen * (inside - hu))[region.mask]


def _mixed(
    scene: Scene, region: Region, rng: np.random.Generator, look: tuple[float, float]
) -> Float32[np.ndarray, "z y x"]:
    """Fluid with some food in it: mean and spread in HU."""
    mean, spread = look
    field = smooth_field(region.mask.shape, scene.grid.spacing_mm_zyx, 9.0, rng)
    return np.float32(mean + rng.normal(0, 4)) + np.float32(spread) * field


def _stool(scene: Scene, region: Region, rng: np.random.Generator) -> Float32[np.ndarray, "z y x"]:
    """Mottled stool: soft matter with pockets of gas."""
    spacing, shape = scene.grid.spacing_mm_zyx, region.mask.shape
    coarse, fine = (smooth_field(shape, spacing, scale, rng) for scale in (22.0, 4.5))
    bubbles = smoothstep(fine + 0.5 * coarse, 0.5, 2.0)
    content: Float32[np.ndarray, "z y x"] = 35 + 18 * coarse + 14 * fine - 560 * bubbles
    return content


def _single_level(region: Region, share: float) -> Bool[np.ndarray, "z y x"]:
    """One level through the whole organ, so that gas fills a share of its volume."""
    profile = region.mask.sum(axis=(0, 2)).cumsum()
    level = np.searchsorted(profile, share * profile[-1])
    gas = np.zeros(region.mask.shape, bool)
    gas[:, :level] = True
    return gas


def _levels(
    scene: Scene, region: Region, rng: np.random.Generator, gassy: tuple[float, float]
) -> Bool[np.ndarray, "z y x"]:
    """A level in each pool of each axial slice; `gassy` sets how much gas there is and its largest share."""
    mean, most = gassy
    plane = ndimage.generate_binary_structure(3, 1)
    plane[0] = plane[2] = False
    labels, _ = ndimage.label(region.mask, plane)
    field = smooth_field(region.mask.shape, scene.grid.spacing_mm_zyx, 60.0, rng)
    boxes = ndimage.find_objects(labels)
    tops = np.array([box[1].start for box in boxes], np.float32)
    stops = np.array([box[1].stop for box in boxes], np.float32)
    centres = tuple(np.array([(box[axis].start + box[axis].stop) // 2 for box in boxes], int) for axis in range(3))
    share = np.clip(0.5 + 0.55 * (field[centres] * 1.3 + mean), 0, most)
    levels = np.concatenate([[-1], tops + share * (stops - tops)])
    y = np.arange(region.mask.shape[1], dtype=np.float32)[None, :, None]
    gas = (y < levels[labels]).astype(np.float32)
    # a pool spans several slices: what differs from its neighbours above and below follows them
    size = 2 * round(_POOL_MM / 2 / scene.grid.spacing_mm_zyx[0]) + 1
    pooled: Bool[np.ndarray, "z y x"] = ndimage.uniform_filter1d(gas, size, axis=0) > 0.5
    return pooled


def paint_bladder(scene: Scene) -> None:
    """Fill the bladder with urine; excreted contrast layers below it in the delayed phase."""
    region = scene.region("urinary_bladder", margin_mm=6.0)
    if region is None:
        return
    rng, spacing = scene.rng("bladder"), scene.grid.spacing_mm_zyx
    mean = scene.base[structure("urinary_bladder").id]
    content = np.full(region.mask.shape, min(mean, 15.0), np.float32)
    if scene.subject.phase == "delayed":
        y = np.arange(region.mask.shape[1], dtype=np.float32)[None, :, None] * np.float32(spacing[1])
        filled = region.mask.sum(axis=(0, 2)).cumsum() / region.mask.sum()
        level = np.searchsorted(filled, rng.uniform(0.55, 0.85)) * spacing[1]
        layer = smoothstep(y - np.float32(level), -6.0, 10.0) * region.mask
        content += layer * np.float32(max(mean - min(mean, 15.0), 0) / max(layer[region.mask].mean(), 1e-3))
    depth = depth_mm(region.mask, spacing, max(3.0, scene.voxel_mm))
    wall = 1 - smoothstep(depth, 0.1 * scene.voxel_mm, 0.7 * scene.voxel_mm)
    content += wall * np.float32(18.0)
    scene.hu[region.box][region.mask] = content[region.mask]
