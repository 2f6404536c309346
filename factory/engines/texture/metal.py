"""Metal in the body: hip prostheses, spinal screws and rods, clips, pacemaker leads. Rare, and made of straight pieces."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float64
from scipy import ndimage

from factory.engines.texture.scene import Region, Scene
from manifests.anatomy import structure

__all__ = ["paint_metal"]

_METAL_HU = 3071.0
_LUMBAR = ("vertebrae_T12", "vertebrae_L1", "vertebrae_L2", "vertebrae_L3", "vertebrae_L4", "vertebrae_L5")
_RATES = {"hip": 0.008, "spine": 0.012, "clips": 0.07, "lead": 0.015}
"""Share of adults with each (chosen); hips after Maradit Kremers 2015 JBJS, 0.8 % of all and 5 % at 80."""

Points = Float64[np.ndarray, "n 3"]


def paint_metal(scene: Scene) -> None:
    """Put implants into some patients; the scanner lets streaks radiate from them."""
    rng = scene.rng("metal")
    chance = dict(zip(_RATES, rng.random(4), strict=True))
    age = float(np.clip((scene.subject.age_years - 50) / 30, 0, 1))
    wide = 1 + 3 * scene.request.randomise
    if chance["hip"] < wide * (_RATES["hip"] / 2 + 0.045 * age):
        _replace_hip(scene, "left" if rng.random() < 0.5 else "right")
    if chance["spine"] < wide * _RATES["spine"]:
        _fix_spine(scene, rng)
    if chance["clips"] < wide * _RATES["clips"] * (1 if scene.region("gallbladder") else 4):
        _clip(scene, rng)
    if chance["lead"] < wide * (_RATES["lead"] + 0.03 * age):
        _lead(scene, rng)


def _centre_mm(region: Region, scene: Scene, *, top_mm: float | None = None) -> Points:
    """Centre of a region in mm, or of its upper part."""
    spacing = np.asarray(scene.grid.spacing_mm_zyx)
    points = (np.argwhere(region.mask) + [part.start for part in region.box]) * spacing
    if top_mm is not None:
        points = points[points[:, 0] > points[:, 0].max() - top_mm]
    centre: Points = points.mean(axis=0)[None]
    return centre


def _replace_hip(scene: Scene, side: str) -> None:
    """Replace a femoral head by a ball and a stem in a cup."""
    femur, hip = scene.region(f"femur_{side}"), scene.region(f"hip_{side}")
    if femur is None or hip is None:
        return
    spacing = np.asarray(scene.grid.spacing_mm_zyx)
    points = (np.argwhere(femur.mask) + [part.start for part in femur.box]) * spacing
    top = points[points[:, 0] > points[:, 0].max() - 45.0]
    socket = _centre_mm(hip, scene)[0]
    medial = np.abs(top[:, 2] - socket[2])
    head = top[medial <= np.quantile(medial, 0.4)].mean(axis=0)
    low = points[points[:, 0] < head[0] - 25.0]
    _stamp(scene, np.stack([head, head]), 14.0)
    if len(low) > 20:
        neck = low[low[:, 0] > low[:, 0].max() - 8.0].mean(axis=0)
        end = low[low[:, 0] < low[:, 0].min() + 8.0].mean(axis=0)
        _stamp(scene, np.stack([head, neck, end]), 7.0)


def _fix_spine(scene: Scene, rng: np.random.Generator) -> None:
    """Join two to four vertebrae by screws and rods."""
    present = [name for name in _LUMBAR if scene.has(structure(name))]
    if len(present) < 2:
        return
    count = int(rng.integers(2, min(4, len(present)) + 1))
    first = int(rng.integers(0, len(present) - count + 1))
    centres = []
    for name in present[first : first + count]:
        region = scene.region(name)
        assert region
        centres.append(_centre_mm(region, scene)[0])
    for side in (-1.0, 1.0):
        heads = np.array(centres) + np.array([0.0, 22.0, 19.0 * side])
        tips = np.array(centres) + np.array([0.0, -14.0, 9.0 * side])
        for head, tip in zip(heads, tips, strict=True):
            _stamp(scene, np.stack([head, tip]), 2.8)
        _stamp(scene, heads, 3.0)


def _clip(scene: Scene, rng: np.random.Generator) -> None:
    """Leave surgical clips beside the liver, or anywhere in the fat of the abdomen."""
    region = scene.region("visceral_fat")
    if region is None:
        return
    spacing = np.asarray(scene.grid.spacing_mm_zyx)
    inside = np.flatnonzero(region.mask)
    start = np.array(np.unravel_index(rng.choice(inside), region.mask.shape)) + [part.start for part in region.box]
    for _ in range(rng.integers(1, 6)):
        place = start * spacing + rng.normal(0, 9.0, 3)
        _stamp(scene, np.stack([place, place + rng.normal(0, 3.0, 3)]), 1.0)


def _lead(scene: Scene, rng: np.random.Generator) -> None:
    """Run a pacemaker lead down the superior caval vein to the tip of the right ventricle."""
    vein, heart = scene.region("superior_vena_cava"), scene.region("heart")
    if vein is None or heart is None:
        return
    start, middle = _centre_mm(vein, scene, top_mm=15.0)[0], _centre_mm(heart, scene)[0]
    bends = [
        start,
        _centre_mm(vein, scene)[0],
        middle - np.array([0.0, 4.0, 22.0]),
        middle - np.array([25.0, 18.0, -4.0]),
    ]
    _stamp(scene, np.array(bends) + rng.normal(0, 2.0, (4, 3)), 1.1)


def _stamp(scene: Scene, corners_mm: Points, radius_mm: float) -> None:
    """Fill a tube along a line of corners with metal, inside the body; fainter where thinner than a voxel."""
    spacing = np.asarray(scene.grid.spacing_mm_zyx)
    low = np.maximum(np.floor((corners_mm.min(axis=0) - radius_mm) / spacing), 0).astype(int)
    high = np.minimum(np.ceil((corners_mm.max(axis=0) + radius_mm) / spacing) + 1, scene.grid.shape_zyx).astype(int)
    if (high <= low).any():
        return
    box = (slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2]))
    axes = np.meshgrid(*(np.arange(a, b) * s for a, b, s in zip(low, high, spacing, strict=True)), indexing="ij")
    place = np.stack(axes, axis=-1)
    gap = np.full(place.shape[:3], np.inf)
    for start, stop in pairwise(corners_mm):
        span = stop - start
        along = np.clip(((place - start) @ span) / max(float(span @ span), 1e-9), 0, 1)
        gap = np.minimum(gap, np.linalg.norm(place - start - along[..., None] * span, axis=-1))
    wide = max(radius_mm, 0.6 * scene.voxel_mm)
    cover = np.clip(0.5 + (wide - gap) / scene.voxel_mm, 0, 1) * min(1.0, (radius_mm / wide) ** 2)
    cover *= ndimage.binary_erosion(scene.anatomy[box] > 0, border_value=1)
    hu = scene.hu[box]
    hu += cover.astype(np.float32) * (np.float32(_METAL_HU) - hu)
