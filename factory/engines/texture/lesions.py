"""Lesions: enhancement by organ and phase, uneven inside, necrotic when large, spiculated in the lung."""

from types import MappingProxyType

import numpy as np
from jaxtyping import Float32

from factory.engines.texture.fields import depth_mm, smooth_field, smoothstep
from factory.engines.texture.scene import Region, Scene
from manifests.anatomy import PHASES, Phase, by_id
from manifests.case import Lesion

__all__ = ["paint_lesions"]

_ABSOLUTE = MappingProxyType(
    {
        "kidney": (36.0, 135.0, 112.0, 85.0),
        "lung": (35.0, 62.0, 68.0, 60.0),
        "colon": (40.0, 85.0, 92.0, 78.0),
        "stomach": (40.0, 85.0, 92.0, 80.0),
        "esophagus": (40.0, 75.0, 80.0, 70.0),
        "small_bowel": (40.0, 90.0, 92.0, 78.0),
        "duodenum": (40.0, 85.0, 90.0, 76.0),
        "urinary_bladder": (36.0, 80.0, 78.0, 70.0),
        "gallbladder": (40.0, 75.0, 82.0, 75.0),
        "adrenal_gland": (32.0, 75.0, 85.0, 62.0),
    }
)
"""Mean HU of a tumour that differs in kind from its surroundings, by phase."""

_RELATIVE = MappingProxyType(
    {
        "liver": (-16.0, -12.0, -45.0, -25.0),
        "pancreas": (-6.0, -48.0, -32.0, -18.0),
        "spleen": (-12.0, -50.0, -45.0, -28.0),
        "prostate": (2.0, 18.0, 8.0, 4.0),
        "uterus": (-2.0, -15.0, -32.0, -25.0),
        "thyroid_gland": (-40.0, -70.0, -60.0, -45.0),
    }
)
"""Mean HU of a tumour relative to its host organ, by phase."""

_OTHER = (-8.0, -20.0, -25.0, -18.0)
_NECROSIS_FROM_MM = 30.0


def paint_lesions(scene: Scene) -> None:
    """Paint every recorded lesion, last, so that no other tissue shows through."""
    for lesion in scene.masks.lesion_records:
        where = np.argwhere(scene.masks.lesions == lesion.id) if scene.masks.lesions.any() else np.empty((0, 3), int)
        if len(where):
            tight = tuple(slice(int(a), int(b) + 1) for a, b in zip(where.min(0), where.max(0), strict=True))
            box = scene.grow([tight], 15.0)  # type: ignore[list-item]
            _paint(scene, lesion, Region(box, scene.masks.lesions[box] == lesion.id))


def _paint(scene: Scene, lesion: Lesion, region: Region) -> None:
    rng, spacing = scene.rng(f"lesion/{lesion.id}"), scene.grid.spacing_mm_zyx
    hu = scene.hu[region.box]
    mean = _mean_hu(scene, lesion, region) + rng.normal(0, 5)
    depth = depth_mm(region.mask, spacing, min(max(lesion.size_mm / 4, scene.voxel_mm), 15.0))
    rough = smooth_field(region.mask.shape, spacing, max(lesion.size_mm / 5, 3.0), rng)
    fine = smooth_field(region.mask.shape, spacing, 4.0, rng)
    values = np.float32(mean) + 7 * rough + 4 * fine
    values = _necrosis(scene, lesion, values, (depth, rough))
    if lesion.organ == "liver" and scene.subject.phase in ("arterial", "portal_venous"):
        rim = smoothstep(depth, 0.0, 1.5) * (1 - smoothstep(depth, 2.5, 6.0))
        values += 16 * rim
    if lesion.organ == "lung":
        _spiculate(scene, region, mean, rng)
    hu[region.mask] = values[region.mask]


def _mean_hu(scene: Scene, lesion: Lesion, region: Region) -> float:
    """Mean HU of the viable tumour in this phase."""
    column = PHASES.index(scene.subject.phase)
    if lesion.organ in _ABSOLUTE:
        return _ABSOLUTE[lesion.organ][column]
    hosts = scene.anatomy[region.box][region.mask]
    host = int(np.bincount(hosts, minlength=256)[1:].argmax()) + 1
    return float(scene.base[host]) + _RELATIVE.get(by_id(host).organ or "", _OTHER)[column]


def _necrosis(
    scene: Scene,
    lesion: Lesion,
    values: Float32[np.ndarray, "z y x"],
    fields: tuple[Float32[np.ndarray, "z y x"], Float32[np.ndarray, "z y x"]],
) -> Float32[np.ndarray, "z y x"]:
    """Let the core of a large tumour die: ragged, near water, unenhanced."""
    phase: Phase = scene.subject.phase
    extent = float(np.clip((lesion.size_mm - _NECROSIS_FROM_MM) / (90.0 - _NECROSIS_FROM_MM), 0, 1))
    if extent <= 0 or lesion.organ in ("prostate", "thyroid_gland"):
        return values
    depth, rough = fields
    start = lesion.size_mm * (0.30 - 0.18 * extent)
    core = smoothstep(depth + 2.5 * rough, min(start, 11.0), min(start, 11.0) + 4.0)
    dead = np.float32(20.0 if phase == "native" else 26.0)
    mixed: Float32[np.ndarray, "z y x"] = values + core * (0.35 + 0.6 * extent) * (dead - values)
    return mixed


def _spiculate(scene: Scene, region: Region, mean: float, rng: np.random.Generator) -> None:
    """Draw short radiating strands into the lung around a tumour, outside its mask."""
    spacing = np.asarray(scene.grid.spacing_mm_zyx)
    centre = np.argwhere(region.mask).mean(axis=0)
    offset = [(np.arange(n) - c) * s for n, c, s in zip(region.mask.shape, centre, spacing, strict=True)]
    z, y, x = offset[0][:, None, None], offset[1][None, :, None], offset[2][None, None, :]
    radius = np.sqrt(z**2 + y**2 + x**2) + 1e-3
    field = np.zeros(region.mask.shape, np.float32)
    for direction in rng.standard_normal((14, 3)):
        direction /= np.linalg.norm(direction)
        cosine = (z * direction[0] + y * direction[1] + x * direction[2]) / radius
        field = np.maximum(field, smoothstep((cosine - 0.93).astype(np.float32), 0.0, 0.07))
    near = 1 - smoothstep(-depth_mm(region.mask, scene.grid.spacing_mm_zyx, 7.0), 3.0, 7.5)
    lung = (scene.hu[region.box] < -500) & ~region.mask
    hu = scene.hu[region.box]
    strand = field * near * 0.55
    hu[lung] += (strand * (np.float32(mean) - hu))[lung]
