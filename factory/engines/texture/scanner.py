"""The scanner: point spread, partial volume, table, and noise of the dose, kernel and patient.

Noise is Gaussian with the spectrum of filtered back-projection, the ramp times the roll-off
of the kernel, aliased into the grid's band (Riederer 1978; Solomon 2012). Its level follows the water-equivalent
path through each slice, flattened as tube-current modulation does.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int16
from scipy import fft, ndimage

from factory.engines.texture.scene import Scene
from manifests.geometry import HU_MAX, HU_MIN

__all__ = ["Protocol", "acquire", "noise_spectrum"]

_WATER_PER_MM = 0.0195
_CHUNK_VOXELS = 4_000_000
_BINARY_VARIANCE = 0.18
"""Blur, in squared voxels, that gives binary label edges the softness of averaged ones.

A voxel's own box has 1/12; rounding the boundary to voxels loses another 1/12 or more. The
value gives about one part-filled voxel for each crossing of an edge, as in real 3 mm images.
"""


@dataclass(frozen=True, slots=True)
class Protocol:
    """How one scan is made.

    Attributes:
        psf_mm: full width at half maximum of the in-plane point spread.
        slice_mm: nominal slice thickness.
        noise_hu: noise in the middle of a body of 240 mm water-equivalent diameter.
        peak_per_mm: spatial frequency at which the noise spectrum peaks.
        table_mm: gap between back and table.
    """

    psf_mm: float
    slice_mm: float
    noise_hu: float
    peak_per_mm: float
    table_mm: float

    @classmethod
    def draw(cls, spacing_z_mm: float, rng: np.random.Generator) -> "Protocol":
        """Choose kernel, dose and slice: two scans in three are reconstructed soft."""
        soft = rng.random() < 0.65
        return cls(
            psf_mm=rng.uniform(1.3, 1.8) if soft else rng.uniform(0.8, 1.1),
            slice_mm=max(spacing_z_mm, rng.choice((1.0, 2.5, 3.0, 5.0))),
            noise_hu=rng.uniform(6.0, 11.0) if soft else rng.uniform(9.0, 16.0),
            peak_per_mm=0.12 if soft else 0.23,
            table_mm=rng.uniform(2.0, 10.0),
        )


def acquire(scene: Scene) -> Int16[np.ndarray, "z y x"]:
    """Blur, put on the table, add noise, and write int16 HU; consumes `scene.hu`."""
    rng, spacing = scene.rng("scanner"), scene.grid.spacing_mm_zyx
    protocol = Protocol.draw(spacing[0], rng)
    _lay_on_table(scene, protocol)
    hu = scene.hu
    # standard deviation of the slice profile (a box) and of the in-plane point spread
    widths = (protocol.slice_mm / np.sqrt(12), protocol.psf_mm / 2.355, protocol.psf_mm / 2.355)
    for axis, (width, step) in enumerate(zip(widths, spacing, strict=True)):
        sigma = np.sqrt(_BINARY_VARIANCE + (width / step) ** 2)
        hu = ndimage.gaussian_filter1d(hu, sigma, axis=axis, mode="nearest", truncate=2.5)
    _add_noise(hu, scene, protocol, rng)
    np.clip(hu, HU_MIN, HU_MAX, out=hu)
    ct: Int16[np.ndarray, "z y x"] = np.rint(hu, out=hu).astype(np.int16)
    return ct


def _lay_on_table(scene: Scene, protocol: Protocol) -> None:
    """Draw a shallow curved shell below the patient, in air only."""
    (_, sy, sx), (_, ny, nx) = scene.grid.spacing_mm_zyx, scene.grid.shape_zyx
    rows = np.flatnonzero((scene.anatomy > 0).any(axis=(0, 2)))
    if not rows.size:
        return
    x = (np.arange(nx) - (nx - 1) / 2) * sx
    top = (rows[-1] + 1) * sy + protocol.table_mm - (x / 200.0) ** 2 * 28.0
    y = np.arange(ny)[:, None] * sy
    thickness = max(sy, 2.5)
    shell = np.exp(-np.square((y - top) / thickness * 2)) * min(1, 2.5 / sy) * (np.abs(x) < 205)
    core = ((y > top) & (y < top + 45) & (np.abs(x) < 205)) * 25.0
    table = (shell * 520 + core).astype(np.float32)
    np.add(scene.hu, table, out=scene.hu, where=(scene.anatomy == 0) & (table > 1))


def _add_noise(hu: Float32[np.ndarray, "z y x"], scene: Scene, protocol: Protocol, rng: np.random.Generator) -> None:
    """Add correlated noise in place, slab by slab; neighbouring slices share none but what thickness implies."""
    level = protocol.noise_hu * _noise_level(scene)
    shape, spacing = scene.grid.shape_zyx, scene.grid.spacing_mm_zyx
    weight = noise_spectrum(shape[1:], spacing[1:], protocol)
    body = _body_profile(scene)
    count = max(_CHUNK_VOXELS // (shape[1] * shape[2]), 1)
    for start in range(0, shape[0], count):
        stop = min(start + count, shape[0])
        size = (stop - start, *weight.shape)
        spectrum = np.empty(size, np.complex64)
        spectrum.real = rng.standard_normal(size, dtype=np.float32)
        spectrum.imag = rng.standard_normal(size, dtype=np.float32)
        spectrum *= weight
        noise = fft.irfft2(spectrum, s=shape[1:], workers=1, norm="ortho", overwrite_x=True)
        noise *= level[start:stop, None, None]
        noise *= body
        hu[start:stop] += noise


def noise_spectrum(
    shape: tuple[int, int], spacing: tuple[float, float], protocol: Protocol
) -> Float32[np.ndarray, "y k"]:
    """Square root of the noise power over the half-plane of frequencies, for unit variance.

    The power |f| exp(-(f / f_peak)^2 / 2) peaks at f_peak. Frequencies above the grid's band
    fold back, which a coarse grid shows as nearly white noise.
    """
    fy, fx = fft.fftfreq(shape[0], spacing[0]), fft.rfftfreq(shape[1], spacing[1])
    power = np.zeros((fy.size, fx.size))
    for shift_y in (-1, 0, 1):
        for shift_x in (-1, 0, 1):
            f = np.hypot((fy + shift_y / spacing[0])[:, None], fx + shift_x / spacing[1])
            box = np.sinc(f * spacing[0]) ** 2
            power += f * np.exp(-np.square(f / protocol.peak_per_mm) / 2) * box
    power += 0.02 * power.max()
    # what irfft2 keeps: both halves of the plane, of the first and last column only the real half
    twice = np.full(fx.size, 2.0)
    twice[0] = 1.0
    if shape[1] % 2 == 0:
        twice[-1] = 1.0
    power *= (shape[0] * shape[1]) / (power * twice).sum()
    scale = np.where(twice == 1.0, 1.0, np.sqrt(0.5))
    return (np.sqrt(power) * scale).astype(np.float32)


def _noise_level(scene: Scene) -> Float32[np.ndarray, " z"]:
    """Noise of each slice relative to a 75 kg patient and a 240 mm body.

    It grows as exp(mu d / 2); tube-current modulation undoes half of that. Weight adds what the
    field of view cuts off, arms for instance.
    """
    area = (scene.hu > -500).sum(axis=(1, 2)) * scene.grid.spacing_mm_zyx[1] * scene.grid.spacing_mm_zyx[2]
    diameter = ndimage.gaussian_filter1d(2 * np.sqrt(area / np.pi), 2.0, mode="nearest")
    weight = (scene.subject.weight_kg / 75.0) ** 0.35
    level: Float32[np.ndarray, " z"] = (weight * np.exp(0.25 * _WATER_PER_MM * (diameter - 240.0))).astype(np.float32)
    return level


def _body_profile(scene: Scene) -> Float32[np.ndarray, "y x"]:
    """Noise falls towards the edge of the body and further in air."""
    (_, sy, sx), (_, ny, nx) = scene.grid.spacing_mm_zyx, scene.grid.shape_zyx
    y, x = (np.arange(ny) - ny / 2) * sy, (np.arange(nx) - nx / 2) * sx
    squared = (y[:, None] / 130.0) ** 2 + (x / 190.0) ** 2
    return (0.55 + 0.5 * np.exp(-squared)).astype(np.float32)
