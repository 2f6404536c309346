"""Noise of the dose, the kernel and the patient.

Gaussian with the spectrum of filtered back-projection, the ramp times the roll-off of the kernel,
aliased into the grid's band (Riederer 1978; Solomon 2012). Its variance follows the attenuation
along the lateral and the sagittal path through every voxel, half undone by tube-current
modulation; where the lateral path is long, photons starve and streaks run from side to side.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from scipy import fft, ndimage

from factory.engines.texture.fields import spline
from factory.engines.texture.protocol import Protocol

__all__ = ["Paths", "add_noise", "noise_spectrum"]

_WATER_PER_MM = 0.0195
_REFERENCE_MM = 240.0
_MODULATED = 0.5
_CHUNK_VOXELS = 4_000_000
_STARVED_MM = 390.0
"""Lateral water path from which streaks show (chosen: broad pelves and shoulders exceed it)."""
_STREAK_MM = 70.0


@dataclass(frozen=True, slots=True)
class Paths:
    """Water-equivalent paths through a body in mm: from side to side by row, from front to back by column."""

    lateral_mm: Float32[np.ndarray, "z y"]
    sagittal_mm: Float32[np.ndarray, "z x"]

    @classmethod
    def through(cls, hu: Float32[np.ndarray, "z y x"], spacing_mm: tuple[float, float, float]) -> "Paths":
        """Measure the paths, smoothed over 20 mm; every second row and column stands for two."""
        part = np.clip(hu[:, ::2, ::2] * np.float32(0.001) + np.float32(1.0), 0, 3)
        lateral = np.repeat(part.sum(axis=2) * np.float32(2 * spacing_mm[2]), 2, axis=1)[:, : hu.shape[1]]
        sagittal = np.repeat(part.sum(axis=1) * np.float32(2 * spacing_mm[1]), 2, axis=1)[:, : hu.shape[2]]
        return cls(
            ndimage.gaussian_filter1d(lateral, 10 / spacing_mm[1], axis=1, mode="nearest"),
            ndimage.gaussian_filter1d(sagittal, 10 / spacing_mm[2], axis=1, mode="nearest"),
        )

    def variance(self) -> tuple[Float32[np.ndarray, "z y"], Float32[np.ndarray, "z x"]]:
        """Shares of the noise variance by row and by column; a round body of 240 mm has 1 in all, in its middle."""
        scale = np.float32(_MODULATED * _WATER_PER_MM)
        rows, columns = (
            0.5 * np.exp(scale * (path - np.float32(_REFERENCE_MM))) for path in (self.lateral_mm, self.sagittal_mm)
        )
        return rows, columns


def add_noise(
    hu: Float32[np.ndarray, "z y x"],
    spacing_mm: tuple[float, float, float],
    protocol: Protocol,
    rng: np.random.Generator,
    level: float = 1.0,
) -> None:
    """Add noise in place, slab by slab; neighbouring slices share none.

    Args:
        hu: reconstructed slices.
        spacing_mm: their spacing.
        protocol: level and spectrum.
        rng: source of randomness.
        level: factor on the noise, for what the arrays do not show.
    """
    paths = Paths.through(hu, spacing_mm)
    rows, columns = paths.variance()
    weight = noise_spectrum(hu.shape[1:], spacing_mm[1:], protocol.peak_per_mm)
    count = max(_CHUNK_VOXELS // (hu.shape[1] * hu.shape[2]), 1)
    for start in range(0, hu.shape[0], count):
        part = slice(start, min(start + count, hu.shape[0]))
        size = (part.stop - part.start, *weight.shape)
        spectrum = np.empty(size, np.complex64)
        spectrum.real = rng.standard_normal(size, dtype=np.float32)
        spectrum.imag = rng.standard_normal(size, dtype=np.float32)
        spectrum *= weight
        noise = fft.irfft2(spectrum, s=hu.shape[1:], workers=1, norm="ortho", overwrite_x=True)
        deviation = rows[part, :, None] + columns[part, None, :]
        noise *= np.sqrt(deviation, out=deviation)
        noise *= np.float32(protocol.noise_hu * level)
        hu[part] += noise
    _add_streaks(hu, spacing_mm, protocol, (paths, rng))


def _add_streaks(
    hu: Float32[np.ndarray, "z y x"],
    spacing_mm: tuple[float, float, float],
    protocol: Protocol,
    source: tuple[Paths, np.random.Generator],
) -> None:
    """Add streaks from side to side in the rows where photons starve."""
    paths, rng = source
    excess = np.exp(np.minimum(_MODULATED * _WATER_PER_MM * (paths.lateral_mm - _STARVED_MM), 2.0)) - 1
    strength = protocol.streaks * protocol.noise_hu * np.maximum(excess, 0)
    along = spline(hu.shape[2], max(_STREAK_MM / spacing_mm[2], 1.0), 0.5)
    lengths = rng.standard_normal((*hu.shape[:2], along.shape[1]), dtype=np.float32)
    for z in np.flatnonzero(strength.max(axis=1) > 0.5):
        hu[z] += strength[z][:, None] * (lengths[z] @ along.T)


def noise_spectrum(
    shape: tuple[int, ...], spacing_mm: tuple[float, ...], peak_per_mm: float
) -> Float32[np.ndarray, "y k"]:
    """Square root of the noise power over the half-plane of frequencies, for unit variance.

    The power |f| exp(-(f / f_peak)^2 / 2) peaks at f_peak. Frequencies above the grid's band
    fold back, which a coarse grid shows as nearly white noise.
    """
    fy, fx = fft.fftfreq(shape[0], spacing_mm[0]), fft.rfftfreq(shape[1], spacing_mm[1])
    power = np.zeros((fy.size, fx.size))
    for shift_y in (-1, 0, 1):
        for shift_x in (-1, 0, 1):
            f = np.hypot((fy + shift_y / spacing_mm[0])[:, None], fx + shift_x / spacing_mm[1])
            power += f * np.exp(-np.square(f / peak_per_mm) / 2) * np.sinc(f * spacing_mm[0]) ** 2
    # real scans keep some noise at the lowest frequencies
    power += 0.06 * power.max() * np.exp(-np.square(np.hypot(fy[:, None], fx) / peak_per_mm) / 2)
    power += 0.02 * power.max()
    # what irfft2 keeps: both halves of the plane, of the first and last column only the real half
    twice = np.full(fx.size, 2.0)
    twice[0] = 1.0
    if shape[1] % 2 == 0:
        twice[-1] = 1.0
    power *= (shape[0] * shape[1]) / (power * twice).sum()
    scale = np.where(twice == 1.0, 1.0, np.sqrt(0.5))
    return (np.sqrt(power) * scale).astype(np.float32)
