"""The protocol of one scan: kernel, slices, dose, and small errors of the scanner."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Protocol"]

_KERNELS = (
    # share, point spread in mm, peak of the noise in 1/mm, median noise in HU, edge gain
    (0.45, (1.4, 2.0), (0.10, 0.13), 9.5, (0.0, 0.05)),
    (0.35, (1.1, 1.5), (0.14, 0.19), 12.0, (0.0, 0.3)),
    (0.20, (0.7, 1.0), (0.20, 0.27), 16.0, (0.2, 0.7)),
)
"""Soft, medium and sharp; peaks as measured on real scans of soft and sharp kernels, the rest chosen."""

_SLICES_MM, _SLICE_SHARES = (1.0, 1.5, 2.0, 2.5, 3.0, 5.0), (0.18, 0.12, 0.1, 0.15, 0.2, 0.25)


@dataclass(frozen=True, slots=True)
class Protocol:
    """How one scan is made.

    Attributes:
        psf_mm: full width at half maximum of the in-plane point spread.
        edge: over- and undershoot at edges: share of what a blur takes away that is added.
        slice_mm: nominal slice thickness.
        increment_mm: distance of reconstructed slices, at least the grid's.
        noise_hu: noise in the middle of a body of 240 mm water-equivalent diameter.
        peak_per_mm: spatial frequency at which the noise spectrum peaks.
        streaks: strength of streaks by photon starvation, relative to the noise.
        hardening: HU lost per millimetre of bone on both sides (bone of 1100 HU).
        scale, offset_hu: errors of calibration.
    """

    psf_mm: float
    edge: float
    slice_mm: float
    increment_mm: float
    noise_hu: float
    peak_per_mm: float
    streaks: float = 0.0
    hardening: float = 0.0
    scale: float = 1.0
    offset_hu: float = 0.0

    @classmethod
    def draw(cls, spacing_z_mm: float, dial: float, rng: np.random.Generator) -> "Protocol":
        """Choose one; the dial makes slices thicker and blur and noise up to three times as wide.

        The number of draws does not depend on anything.
        """
        which, size, overlap = rng.random(3)
        psf, peak, edge = rng.random(3)
        loud, drift, bias, blur = rng.standard_normal(4)
        streaks, hardening = rng.uniform((0.2, 0.4), (1.0, 1.6))
        _, psf_range, peak_range, noise_hu, edge_range = _KERNELS[int(np.searchsorted((0.45, 0.8), which))]
        slice_mm = _SLICES_MM[int(np.searchsorted(np.cumsum(_SLICE_SHARES)[:-1], size))]
        slice_mm = max(spacing_z_mm, slice_mm * (1 + dial * float(np.clip(0.5 * blur, -0.3, 1.0))))
        return cls(
            psf_mm=_between(psf_range, psf) * (1 + dial * float(np.clip(blur, -0.4, 2.0))),
            edge=_between(edge_range, edge),
            slice_mm=slice_mm,
            increment_mm=max(spacing_z_mm, slice_mm * (1.0 if overlap < 0.5 else 0.7)),
            noise_hu=noise_hu * float(np.exp(np.clip((0.28 + 0.4 * dial) * loud, -1.5, 1.1))),
            peak_per_mm=_between(peak_range, peak),
            streaks=float(streaks) * (1 + dial),
            hardening=float(hardening) * (1 + dial),
            scale=1.0 + 0.006 * (1 + 3 * dial) * float(np.clip(drift, -2, 2)),
            offset_hu=2.0 * (1 + 3 * dial) * float(np.clip(bias, -2, 2)),
        )


def _between(span: tuple[float, float], part: float) -> float:
    return span[0] + (span[1] - span[0]) * part
