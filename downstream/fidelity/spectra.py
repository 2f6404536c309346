"""Radial power spectra of axial slices: of the image, and of the noise in what is flat in it.

The image spectrum is that of squares about the middle of the body, in a soft-tissue window, under a Hann window. Its
slope tells blur from detail; natural images fall with about the second to third power of frequency (Field 1987,
doi:10.1364/JOSAA.4.002379).

The noise-power spectrum follows Siewerdsen et al. (2002, doi:10.1118/1.1513158): small squares, a plane fitted and taken away, the squared
magnitude of the Fourier transform times the area of a pixel over the number of pixels. Where the squares lie needs no
mask: of all that hold soft tissue alone the flattest quarter counts, after the automatic noise level of Christianson et al.
(2015, doi:10.2214/AJR.14.13613). Choosing the flattest makes the level a little too low, in every dataset alike.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int16, Num

__all__ = ["Spectra", "spectra"]

FIELD_MM = 192.0
WINDOW_HU = (-160, 240)
TISSUE_HU = (-20, 250)
PATCH, STRIDE = 8, 4  # pixels
FLATTEST = 0.25
FEWEST_PATCHES = 8


@dataclass(frozen=True, slots=True)
class Spectra:
    """Spectra of a case.

    Attributes:
        image: power at 1, 2, … cycles in 192 mm, up to half a cycle a pixel, HU^2; NaN without a slice of body.
        noise: noise-power at 1 to 4 cycles in 8 pixels, HU^2 mm^2; NaN without enough flat squares.
        noise_hu: standard deviation of the noise; NaN likewise.
    """

    image: Float64[np.ndarray, "frequencies"]
    noise: Float64[np.ndarray, "4"]
    noise_hu: float


def spectra(ct: Int16[np.ndarray, "z y x"], body: Bool[np.ndarray, "z y x"], spacing_mm: float) -> Spectra:
    """Measure a CT with isotropic voxels and a body that is not empty."""
    noise, noise_hu = _noise(ct, body, spacing_mm)
    return Spectra(_image(ct, body, spacing_mm), noise, noise_hu)


def _image(
    ct: Int16[np.ndarray, "z y x"], body: Bool[np.ndarray, "z y x"], spacing_mm: float
) -> Float64[np.ndarray, "frequencies"]:
    """Mean over the slices in which the body fills half of its largest area."""
    size = 2 * max(4, round(FIELD_MM / spacing_mm / 2))
    areas = body.sum((1, 2))
    chosen = np.flatnonzero(areas >= areas.max() / 2)
    middle = [round(float(places.mean())) for places in np.nonzero(body)[1:]]
    low, high = WINDOW_HU
    padded = np.pad(ct[chosen], ((0, 0), (size, size), (size, size)), mode="edge").clip(low, high).astype(np.float64)
    y, x = (centre + size - size // 2 for centre in middle)
    squares = padded[:, y : y + size, x : x + size]
    hann = np.hanning(size)
    windowed = (squares - squares.mean((1, 2), keepdims=True)) * np.outer(hann, hann)
    return _radial(windowed * size / (hann**2).sum())


def _noise(
    ct: Int16[np.ndarray, "z y x"], body: Bool[np.ndarray, "z y x"], spacing_mm: float
) -> tuple[Float64[np.ndarray, "4"], float]:
    nothing = np.full(PATCH // 2, np.nan), float("nan")
    if min(ct.shape[1:]) < PATCH:
        return nothing
    low, high = TISSUE_HU
    tissue = body & (ct >= low) & (ct <= high)
    whole = np.lib.stride_tricks.sliding_window_view(tissue, (PATCH, PATCH), (1, 2))[:, ::STRIDE, ::STRIDE].all((3, 4))
    patches = np.lib.stride_tricks.sliding_window_view(ct, (PATCH, PATCH), (1, 2))[:, ::STRIDE, ::STRIDE][whole]
    if len(patches) * FLATTEST < FEWEST_PATCHES:
        return nothing
    flat = _without_plane(patches)
    sd = np.sqrt((flat**2).sum((1, 2)) / (PATCH**2 - 3))  # three parameters of a plane
    flattest = np.argsort(sd, kind="stable")[: int(len(sd) * FLATTEST)]
    return _radial(flat[flattest]) * spacing_mm**2, float(np.median(sd[flattest]))


def _without_plane(patches: Num[np.ndarray, "n y x"]) -> Float64[np.ndarray, "n y x"]:
    """Take the plane that fits best away from each square."""
    y, x = np.indices(patches.shape[1:]).reshape(2, -1)
    planes, _ = np.linalg.qr(np.stack([np.ones(y.size), y, x], 1))
    flat = patches.reshape(len(patches), -1).astype(np.float64)
    return np.asarray((flat - flat @ planes @ planes.T).reshape(patches.shape))


def _radial(squares: Float64[np.ndarray, "n size size"]) -> Float64[np.ndarray, "frequencies"]:
    """Power at 1, 2, … up to size / 2 cycles a side, over all directions and squares, over the number of pixels."""
    size = squares.shape[1]
    power = (np.abs(np.fft.fft2(squares)) ** 2).mean(0) / size**2
    cycles = np.fft.fftfreq(size, 1 / size)
    ring = np.rint(np.hypot(*np.meshgrid(cycles, cycles))).astype(np.int64).ravel()
    sums, counts = (np.bincount(ring, weights, minlength=size // 2 + 1) for weights in (power.ravel(), None))
    return np.asarray((sums / counts)[1 : size // 2 + 1])
