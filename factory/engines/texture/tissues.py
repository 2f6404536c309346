"""Tissues at large: mean HU of each structure in one patient, grain, fat septa, muscle streaks, skin.

Means come from the anatomy table by contrast phase. Deviations between patients are drawn per
group (both kidneys share one), with a common share for blood, since cardiac output and injected
dose shift all vessels and organs together.
"""

from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float32

from factory.engines.texture.fields import depth_mm, filaments, sheets, smooth_field, smoothstep
from factory.engines.texture.scene import Scene, Subject
from manifests.anatomy import Structure, structures

__all__ = ["AIR_HU", "base_hu", "paint_fat", "paint_grain", "paint_muscle", "paint_skin"]

AIR_HU = -1000.0

_GRAIN = MappingProxyType(
    {
        "parenchyma": (3.5, 3.0),
        "muscle": (7.0, 4.0),
        "soft": (9.0, 12.0),
        "heart": (3.0, 3.0),
        "artery": (2.0, 2.0),
        "vein": (2.5, 3.0),
        "fat": (4.0, 4.0),
        "lung": (14.0, 18.0),
        "bowel": (5.0, 4.0),
        "fluid": (1.5, 1.5),
        "nervous": (3.0, 3.0),
        "cartilage": (6.0, 8.0),
        "bone": (0.0, 0.0),
        "airway": (3.0, 0.0),
    }
)
"""Standard deviation in HU of fine (4 mm) and coarse (16 mm) heterogeneity by kind of tissue."""

_BLOOD = ("artery", "vein", "heart")
_SHARED = 0.7
_PLAIN_SD_HU = 6.0
_BONE_LOSS_HU_PER_YEAR = 1.3
_MIDDLE_AGE = 55.0
_MUSCLE_TO_FAT_HU = 145.0
_FAT_MM = 10.0
_SKIN_MM, _SKIN_HU = 4.0, 150.0
"""Brighter and thicker than skin is: half of it is lost to the air that shares its voxels."""


def base_hu(subject: Subject, rng: np.random.Generator) -> Float32[np.ndarray, "256"]:
    """Draw the mean HU of every structure in one patient; air for ids without structure.

    Bone loses 1.3 HU per year from age 55 on and gains as much before it, within the table's
    spread (the trend of trabecular bone in Pickhardt 2013 is -2.1; cortex dilutes it).
    """
    table = np.full(256, AIR_HU, np.float32)
    groups = sorted({entry.group for entry in structures()})
    own = dict(zip(groups, rng.standard_normal(len(groups)), strict=True))
    shared = rng.standard_normal()
    for entry in structures():
        deviation = _deviation(entry, own[entry.group], shared)
        table[entry.id] = entry.hu[subject.phase] + _spread(entry, subject) * deviation
        if entry.tissue == "bone":
            years = np.clip(subject.age_years - _MIDDLE_AGE, -30, 30)
            table[entry.id] -= _BONE_LOSS_HU_PER_YEAR * years * min(entry.hu["native"] / 200, 1.0)
    return table


def _spread(entry: Structure, subject: Subject) -> float:
    """The table's spread covers all phases; without contrast, blood and urine hardly vary."""
    plain = (entry.tissue in _BLOOD and subject.phase == "native") or (
        entry.tissue == "fluid" and subject.phase != "delayed"
    )
    return min(entry.hu_sd, _PLAIN_SD_HU) if plain else entry.hu_sd


def _deviation(entry: Structure, own: float, shared: float) -> float:
    weight = _SHARED if entry.tissue in (*_BLOOD, "bone") else 0.4
    return float(np.clip(weight * shared + np.sqrt(1 - weight**2) * own, -2.0, 2.0)) * 0.6


def paint_grain(scene: Scene) -> None:
    """Add fine and coarse heterogeneity, its strength by kind of tissue."""
    spacing, rng = scene.grid.spacing_mm_zyx, scene.rng("grain")
    for column, scale_mm in enumerate((4.0, 16.0)):
        strength = np.zeros(256, np.float32)
        for entry in structures():
            strength[entry.id] = _GRAIN[entry.tissue][column]
        field = smooth_field(scene.grid.shape_zyx, spacing, scale_mm, rng)
        field *= strength[scene.anatomy]
        np.add(scene.hu, field, out=scene.hu)


def paint_fat(scene: Scene) -> None:
    """Draw septa through fat, and small vessels through visceral fat."""
    region = scene.tissue("fat", "soft")
    if region is None:
        return
    spacing, rng, voxel = scene.grid.spacing_mm_zyx, scene.rng("fat"), scene.voxel_mm
    shape = region.mask.shape
    pair = [smooth_field(shape, spacing, _FAT_MM, rng)[region.mask] for _ in range(3)]
    ids = scene.anatomy[region.box][region.mask]
    visceral = np.isin(ids, [entry.id for entry in structures() if entry.name == "visceral_fat"])
    hu = scene.hu[region.box]
    values = hu[region.mask]
    target = np.float32(scene.base[_ID["skeletal_muscle"]])
    septa = sheets(pair[0], _FAT_MM, 1.6, voxel) * smoothstep(pair[2], -0.5, 1.5)
    vessels = filaments((pair[0], pair[1]), _FAT_MM, 4.5, voxel)
    vessels = np.maximum(vessels, filaments((pair[1], pair[2]), _FAT_MM, 3.5, voxel))
    vessels *= np.where(visceral, 1, np.float32(0.2))
    blood = np.float32(scene.base[_ID["portal_vein_and_splenic_vein"]])
    fatty = values < -40
    values += np.where(fatty, septa * (target - values), 0)
    values += np.where(fatty, vessels * (blood - values), 0)
    hu[region.mask] = values


def paint_muscle(scene: Scene) -> None:
    """Streak muscle with fat, more of it in old age, and part it in layers; its mean stays."""
    region = scene.tissue("muscle")
    if region is None:
        return
    rng, spacing, voxel = scene.rng("muscle"), scene.grid.spacing_mm_zyx, scene.voxel_mm
    # fibres run lengthwise: the lattices are longer along z
    along = (spacing[0] / 3, *spacing[1:])
    streak, bundle, gate = (smooth_field(region.mask.shape, along, mm, rng)[region.mask] for mm in (5.0, 20.0, 26.0))
    depth = depth_mm(region.mask, spacing, 9.0)[region.mask]
    threshold = 2.1 - 0.9 * np.clip((scene.subject.age_years - 20) / 60, 0, 1.2)
    fat = 0.7 * smoothstep(streak, threshold - 0.3, threshold + 1.4)
    # layers of a flat muscle meet some 6 mm below either face, bundles of a thick one anywhere
    layer = np.exp(-np.square((depth - 6 + 0.4 * gate) / max(1.2, voxel / 2))) * np.float32(min(1, 1.6 / voxel))
    planes = np.maximum(layer, sheets(bundle, 20.0, 2.2, voxel) * smoothstep(depth, 4.0, 8.0))
    fat = np.maximum(fat, 0.75 * planes * smoothstep(gate, -0.8, 0.8))
    loss = _MUSCLE_TO_FAT_HU * fat
    scene.hu[region.box][region.mask] -= loss - min(float(loss.mean()), 12.0)


def paint_skin(scene: Scene) -> None:
    """Lay skin over the body, diluted to the voxel size; a little of it in the layer below."""
    spacing = max(scene.grid.spacing_mm_zyx[1:])
    share = min(1.0, _SKIN_MM / spacing)
    body = scene.anatomy > 0
    for strength in (share, 0.3 * float(np.clip(_SKIN_MM / spacing - 1, 0, 1))):
        inner = _eroded(body)
        shell = body & ~inner
        values = scene.hu[shell]
        scene.hu[shell] = values + np.float32(strength) * np.maximum(_SKIN_HU - values, 0)
        body = inner


def _eroded(mask: Bool[np.ndarray, "z y x"]) -> Bool[np.ndarray, "z y x"]:
    """Take one voxel off in the axial plane; the grid's edge is no surface."""
    inner = mask.copy()
    inner[:, :-1] &= mask[:, 1:]
    inner[:, 1:] &= mask[:, :-1]
    inner[:, :, :-1] &= mask[:, :, 1:]
    inner[:, :, 1:] &= mask[:, :, :-1]
    return inner


_ID = {entry.name: entry.id for entry in structures()}
