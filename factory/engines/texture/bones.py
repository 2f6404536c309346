"""Bones: a bright cortical shell around trabecular marrow, its mean held at the table's value."""

import numpy as np
from jaxtyping import Float32

from factory.engines.texture.fields import depth_mm, smooth_field, smoothstep
from factory.engines.texture.scene import Scene
from manifests.anatomy import structures

__all__ = ["paint_bones"]

_CORTEX_HU = 820.0
_CORTEX_MM = {"femur": 3.0, "humerus": 3.0, "skull": 4.0, "hip": 1.8, "rib": 1.2, "vertebrae": 0.7, "sacrum": 0.7}
_OTHER_CORTEX_MM = 1.4
_MARROW_HU = 20.0


def paint_bones(scene: Scene) -> None:
    """Paint cortex by depth below the surface, trabeculae and marrow by random fields.

    The mean HU of each structure then equals its drawn value: what the shell adds, the
    interior gives up, as in real bones of equal total density.
    """
    region = scene.tissue("bone")
    if region is None:
        return
    spacing, rng = scene.grid.spacing_mm_zyx, scene.rng("bone")
    ids = scene.anatomy[region.box][region.mask]
    depth = depth_mm(region.mask, spacing, 2.0 * scene.voxel_mm)[region.mask]
    grain = smooth_field(region.mask.shape, spacing, 3.0, rng)[region.mask]
    marrow = smooth_field(region.mask.shape, spacing, 18.0, rng)[region.mask]
    thickness = np.full(256, _OTHER_CORTEX_MM, np.float32)
    for entry in structures():
        if entry.group in _CORTEX_MM:
            thickness[entry.id] = _CORTEX_MM[entry.group]
    mean = scene.base[ids]
    shell = _shell(depth, thickness[ids], scene.voxel_mm)
    inner = np.maximum(mean - 70, _MARROW_HU)
    uneven = np.float32(scene.look.marrow)
    values = inner * (1 + uneven * (0.26 * grain + 0.22 * marrow)) + shell * (_CORTEX_HU - inner) * (1 + 0.15 * grain)
    values += _sclerosis(scene, marrow, shell)
    sums, counts = np.bincount(ids, values, 256), np.bincount(ids, minlength=256)
    drawn = (sums / np.maximum(counts, 1)).astype(np.float32)
    scene.hu[region.box][region.mask] = values + (mean - drawn[ids])


def _sclerosis(
    scene: Scene, marrow: Float32[np.ndarray, " n"], shell: Float32[np.ndarray, " n"]
) -> Float32[np.ndarray, " n"]:
    """Dense patches near the surface of worn bones, fatty ones beside them, in HU."""
    patches = smoothstep(marrow, 1.3, 2.2) * (0.3 + 0.7 * shell) - 0.35 * smoothstep(-marrow, 1.2, 2.2)
    return np.float32(420 * scene.look.sclerosis) * patches


def _shell(
    depth: Float32[np.ndarray, " n"], thickness: Float32[np.ndarray, " n"], voxel_mm: float
) -> Float32[np.ndarray, " n"]:
    """Share of cortex in a voxel of some depth: the shell is diluted when thinner than a voxel."""
    reach = np.maximum(thickness, np.float32(voxel_mm))
    diluted = np.minimum(1, thickness / np.float32(voxel_mm))
    share: Float32[np.ndarray, " n"] = diluted * (1 - smoothstep(depth / reach, 0.6, 1.4))
    return share
