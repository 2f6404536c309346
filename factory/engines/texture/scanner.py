"""The scanner: what surrounds the patient, motion, slices, point spread, artefacts, noise, calibration.

Slices are reconstructed at the increment of the protocol and interpolated to the grid, as a real
scan of thick slices is when it is resampled.
"""

import numpy as np
from jaxtyping import Float32, Int16
from scipy import ndimage, sparse, special

from factory.engines.texture.artefacts import harden, radiate, stir
from factory.engines.texture.noise import add_noise
from factory.engines.texture.protocol import Protocol
from factory.engines.texture.randomising import disturb
from factory.engines.texture.scene import Scene
from factory.engines.texture.surroundings import crop_field, surround
from manifests.geometry import HU_MAX, HU_MIN

__all__ = ["acquire", "slice_matrices"]

_BINARY_VARIANCE = 0.18
"""Blur, in squared voxels, that gives binary label edges the softness of averaged ones.

A voxel's own box has 1/12; rounding the boundary to voxels loses another 1/12 or more. The
value gives about one part-filled voxel for each crossing of an edge, as in real 3 mm images.
"""
_EDGE_MM = 1.4
_METAL_HU = 3071.0


def acquire(scene: Scene) -> Int16[np.ndarray, "z y x"]:
    """Scan what was painted and write int16 HU; consumes `scene.hu`."""
    rng, spacing, dial = scene.rng("scanner"), scene.grid.spacing_mm_zyx, scene.request.randomise
    protocol = Protocol.draw(spacing[0], dial, rng)
    surround(scene)
    stir(scene)
    profile, between = slice_matrices(scene.grid.shape_zyx[0], spacing[0], protocol)
    hu = _along_z(profile, np.minimum(scene.hu, _METAL_HU, out=scene.hu))
    slices_mm = (protocol.increment_mm, *spacing[1:])
    _blur(hu, spacing, protocol)
    radiate(hu, slices_mm, scene.rng("metal streaks"))
    harden(hu, slices_mm, protocol.hardening)
    add_noise(hu, slices_mm, protocol, rng, level=(scene.subject.weight_kg / 75.0) ** 0.35)
    if between is not None:
        hu = _along_z(between, hu)
    disturb(hu, scene, protocol)
    crop_field(hu, scene)
    np.clip(hu, HU_MIN, HU_MAX, out=hu)
    ct: Int16[np.ndarray, "z y x"] = np.rint(hu, out=hu).astype(np.int16)
    return ct


def slice_matrices(
    count: int, spacing_mm: float, protocol: Protocol
) -> tuple[sparse.csr_array, sparse.csr_array | None]:
    """Averages of grid slices that make the scan's slices, and the interpolation back; None where they coincide.

    Both have rows that sum to one. The profile is a box of the slice thickness with soft edges.
    """
    step = protocol.increment_mm / spacing_mm
    coincide = step < 1.2
    centres = np.arange(count) if coincide else np.arange(0, count - 1 + step, step)
    sigma, half = np.sqrt(_BINARY_VARIANCE), protocol.slice_mm / spacing_mm / 2
    apart = np.arange(count) - centres[:, None]
    weights = special.ndtr((apart + half) / sigma) - special.ndtr((apart - half) / sigma)
    weights[weights < 1e-3] = 0
    weights[~weights.any(axis=1), -1] = 1  # a thin slice behind the end: what is last goes on
    profile = sparse.csr_array((weights / weights.sum(axis=1, keepdims=True)).astype(np.float32))
    if coincide:
        return profile, None
    between = np.maximum(1 - np.abs(np.arange(count)[:, None] - centres) / step, 0)
    return profile, sparse.csr_array((between / between.sum(axis=1, keepdims=True)).astype(np.float32))


def _along_z(matrix: sparse.csr_array, hu: Float32[np.ndarray, "z y x"]) -> Float32[np.ndarray, "k y x"]:
    made: Float32[np.ndarray, "k y x"] = (matrix @ hu.reshape(hu.shape[0], -1)).reshape(-1, *hu.shape[1:])
    return made


def _blur(hu: Float32[np.ndarray, "z y x"], spacing_mm: tuple[float, float, float], protocol: Protocol) -> None:
    """Apply the in-plane point spread, and the over- and undershoot of a sharp kernel, in place."""
    for axis in (1, 2):
        sigma = np.sqrt(_BINARY_VARIANCE + (protocol.psf_mm / 2.355 / spacing_mm[axis]) ** 2)
        ndimage.gaussian_filter1d(hu, sigma, axis=axis, mode="nearest", truncate=2.5, output=hu)
    if protocol.edge > 0.02:
        soft = hu
        for axis in (1, 2):
            sigma = max(_EDGE_MM / spacing_mm[axis], 0.45)
            soft = ndimage.gaussian_filter1d(soft, sigma, axis=axis, mode="nearest", truncate=2.5)
        hu += np.float32(protocol.edge) * (hu - soft)
