"""Shapes of lesions: an ellipsoid with smooth radial noise, given as a field whose level sets nest.

The voxels with `field <= s` form the lesion at scale s; a lesion of a wanted size is found by
raising s. One field therefore serves every size, and a price on a tissue (a factor on the
field) makes the lesion avoid it without forbidding it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

__all__ = ["Style", "shape_field"]

_WAVES = 7
"""Plane waves that make the radial noise."""
_WAVE_NUMBERS = (1.5, 4.5)
"""Range of their frequencies in radians per lesion radius: two to three lobes around a lesion."""
_SPICULES = 9
_SPICULE_SHARPNESS = 40.0
"""A spicule is exp(k (cos angle - 1)) wide: k = 40 is a half width of about 11 degrees."""


@dataclass(frozen=True, slots=True)
class Style:
    """How a lesion grows.

    Attributes:
        form: word kept in the lesion's record.
        axes: relative semi-axes: long axial, short axial, craniocaudal.
        roughness: amplitude of the radial noise as a fraction of the radius.
        spicules: height of the spicules as a fraction of the radius.
        outside: factor on the price of tissue outside the site; below 1 it seeks the outside.
        pushes: whether it displaces what lies around it.
    """

    form: str
    axes: tuple[float, float, float]
    roughness: float
    spicules: float = 0.0
    outside: float = 1.0
    pushes: bool = True


def shape_field(
    style: Style,
    offsets_mm: tuple[Float32[np.ndarray, " z"], Float32[np.ndarray, " y"], Float32[np.ndarray, " x"]],
    radius_mm: float,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "z y x"]:
    """Evaluate the scaled distance from the centre: about 1 on the surface of a lesion of that radius.

    Args:
        style: proportions and roughness.
        offsets_mm: distance of the voxel centres of a box from the lesion's centre along z, y and x.
        radius_mm: half the longest axial diameter; positive.
        rng: draws orientation, noise and spicules.
    """
    z, y, x = (axis.astype(np.float32) / np.float32(radius_mm) for axis in offsets_mm)
    turn = rng.uniform(0.0, np.pi)
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    along = x[None, :] * cos + y[:, None] * sin
    across = y[:, None] * cos - x[None, :] * sin
    axial = (along / style.axes[0]) ** 2 + (across / style.axes[1]) ** 2
    distance = np.sqrt(axial[None] + ((z / style.axes[2]) ** 2)[:, None, None])
    radius = 1.0 + style.roughness * _noise((z, y, x), rng)
    if style.spicules:
        radius += style.spicules * _spicules((z, y, x), rng)
    return (distance / np.maximum(radius, 0.3)).astype(np.float32)


def _noise(axes: tuple[np.ndarray, np.ndarray, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Sum of random plane waves with unit variance; each is a product of three 1-D phases, so it is cheap."""
    total = np.zeros(tuple(len(axis) for axis in axes), np.float32)
    for _ in range(_WAVES):
        direction = rng.normal(size=3)
        wave = direction / np.linalg.norm(direction) * rng.uniform(*_WAVE_NUMBERS)
        z, y, x = (np.exp(1j * k * axis).astype(np.complex64) for k, axis in zip(wave, axes, strict=True))
        plane = (y[:, None] * x[None, :]) * np.exp(1j * rng.uniform(0, 2 * np.pi)).astype(np.complex64)
        total += z.real[:, None, None] * plane.real[None] - z.imag[:, None, None] * plane.imag[None]
    return np.asarray(total * np.sqrt(2.0 / _WAVES), np.float32)


def _spicules(axes: tuple[np.ndarray, np.ndarray, np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Narrow bumps of height 1 in random directions from the centre."""
    z, y, x = axes
    norm = np.sqrt((z**2)[:, None, None] + (y**2)[None, :, None] + (x**2)[None, None, :]) + 1e-6
    directions = rng.normal(size=(_SPICULES, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    total = np.zeros(norm.shape, np.float32)
    for dz, dy, dx in directions.astype(np.float32):
        cosine = ((dz * z)[:, None, None] + (dy * y)[None, :, None] + (dx * x)[None, None, :]) / norm
        np.maximum(total, np.exp(_SPICULE_SHARPNESS * (cosine - 1.0)), out=total)
    return total
