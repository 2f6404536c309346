"""Tissues at large: grain, septa and haze in fat, fat in muscle, skin."""

from types import MappingProxyType

import numpy as np
from jaxtyping import Bool, Float32

from factory.engines.texture.fields import depth_mm, filaments, sheets, smooth_field, smoothstep
from factory.engines.texture.scene import Scene
from manifests.anatomy import structures

__all__ = ["paint_fat", "paint_grain", "paint_muscle", "paint_skin"]

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
"""Standard deviation in HU of fine and coarse heterogeneity by kind of tissue, in the mean patient."""

_MUSCLE_TO_FAT_HU = 145.0
_USUAL_LOSS_HU = 11.0
_FAT_MM = 10.0
_SKIN_MM, _SKIN_HU = 4.0, 150.0
"""Brighter and thicker than skin is: half of it is lost to the air that shares its voxels."""


def paint_grain(scene: Scene) -> None:
    """Add fine and coarse heterogeneity, its strength by kind of tissue."""
    spacing, rng = scene.grid.spacing_mm_zyx, scene.rng("grain")
    for column, scale_mm in enumerate(scene.look.grain_mm):
        strength = np.zeros(256, np.float32)
        for entry in structures():
            strength[entry.id] = _GRAIN[entry.tissue][column] * scene.look.grain
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
    strands = scene.look.stranding
    septa = sheets(pair[0], _FAT_MM, 1.2 + 1.2 * strands, voxel) * smoothstep(pair[2], -0.5 - strands, 1.5)
    vessels = filaments((pair[0], pair[1]), _FAT_MM, 4.5, voxel)
    vessels = np.maximum(vessels, filaments((pair[1], pair[2]), _FAT_MM, 3.5, voxel))
    vessels *= np.where(visceral, 1, np.float32(0.2))
    blood = np.float32(scene.base[_ID["portal_vein_and_splenic_vein"]])
    fatty = values < -40
    # the table's means are of fat with the vessels and septa that most people have
    values -= np.where(fatty, np.where(visceral, np.float32(9), np.float32(4)), 0)
    values += np.where(fatty, septa * (target - values), 0)
    haze = smoothstep(pair[2] + 0.5 * pair[1], 0.4, 2.2) * np.where(visceral, 45, 18).astype(np.float32)
    values += np.where(fatty, np.float32(min(strands, 1.5)) * haze, 0)
    values += np.where(fatty, vessels * (blood - values), 0)
    hu[region.mask] = values


def paint_muscle(scene: Scene) -> None:
    """Streak muscle with fat and part it in layers; more of it in back and buttocks, and the mean falls with it."""
    region = scene.tissue("muscle")
    if region is None:
        return
    rng, spacing, voxel = scene.rng("muscle"), scene.grid.spacing_mm_zyx, scene.voxel_mm
    # fibres run lengthwise: the lattices are longer along z
    along = (spacing[0] / 3, *spacing[1:])
    streak, bundle, gate = (smooth_field(region.mask.shape, along, mm, rng)[region.mask] for mm in (5.0, 20.0, 26.0))
    depth = depth_mm(region.mask, spacing, 9.0)[region.mask]
    prone = _PRONE[scene.anatomy[region.box][region.mask]] * np.float32(scene.look.infiltration)
    threshold = np.float32(2.3) - np.float32(3.0) * prone
    fat = 0.75 * _rise(streak + np.float32(0.5) * gate * prone, threshold, np.float32(1.7))
    # layers of a flat muscle meet some 6 mm below either face, bundles of a thick one anywhere
    layer = np.exp(-np.square((depth - 6 + 0.4 * gate) / max(1.2, voxel / 2))) * np.float32(min(1, 1.6 / voxel))
    planes = np.maximum(layer, sheets(bundle, 20.0, 2.2, voxel) * smoothstep(depth, 4.0, 8.0))
    fat = np.maximum(fat, 0.75 * planes * smoothstep(gate, -0.8, 0.8))
    loss = _MUSCLE_TO_FAT_HU * fat
    # the table's means are of muscle with the fat that most people have
    scene.hu[region.box][region.mask] -= loss - np.float32(_USUAL_LOSS_HU)


def _rise(
    values: Float32[np.ndarray, " n"], low: Float32[np.ndarray, " n"], width: np.float32
) -> Float32[np.ndarray, " n"]:
    """A smoothstep whose start differs from voxel to voxel."""
    return smoothstep((values - low) / width, 0.0, 1.0)


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


_PRONE = np.zeros(256, np.float32)
"""Liability of a muscle to fat; back and buttocks first."""

for _entry in structures():
    _PRONE[_entry.id] = {"autochthon": 1.0, "gluteus_maximus": 1.0, "iliopsoas": 0.35}.get(_entry.group, 0.6)

_ID = {entry.name: entry.id for entry in structures()}
