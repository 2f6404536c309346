"""A random diffeomorphism of the torso, and the affine map that fits a source to a patient.

The velocity field is stationary: smooth Gaussian noise of two scales on a fixed lattice. Its
exponential by scaling and squaring (Arsigny et al., MICCAI 2006) is invertible; the lattice is
fixed in the torso frame, so a case is the same body on every grid.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64
from scipy import ndimage

from manifests.geometry import Grid

__all__ = ["LATTICE", "SCALES_MM", "Affine", "compose", "draw_velocity", "exponential", "jacobian"]

LATTICE = Grid((63, 31, 43), (12.0, 12.0, 12.0), (-252.0, -190.0, -366.0))
"""Covers every scan region and 24 mm around it."""

SCALES_MM = ((60.0, 7.0), (26.0, 2.2))
"""Standard deviation of the smoothing kernel and of the velocity along each axis, in mm."""

_SQUARINGS = 6

Field = Float32[np.ndarray, "3 z y x"]


@dataclass(frozen=True, slots=True)
class Affine:
    """A map of points in mm: `matrix @ xyz + shift`."""

    matrix: Float64[np.ndarray, "3 3"]
    shift_mm_xyz: Float64[np.ndarray, " 3"]

    def __call__(self, field: Field) -> Field:
        """Map a field of points (x, y, z)."""
        turned = np.tensordot(self.matrix.astype(np.float32), field, 1)
        return np.asarray(turned + self.shift_mm_xyz.astype(np.float32)[:, None, None, None], np.float32)

    def after(self, first: "Affine") -> "Affine":
        """The map that applies `first`, then this one."""
        return Affine(self.matrix @ first.matrix, self.matrix @ first.shift_mm_xyz + self.shift_mm_xyz)


def draw_velocity(rng: np.random.Generator) -> Field:
    """Draw a velocity field (x, y, z) in mm on the lattice."""
    total = np.zeros((3, *LATTICE.shape_zyx), np.float32)
    for width_mm, size_mm in SCALES_MM:
        sigma = width_mm / LATTICE.spacing_mm_zyx[0]
        noise = rng.standard_normal(total.shape, np.float32)
        smooth = np.stack([ndimage.gaussian_filter(part, sigma, mode="reflect", truncate=3.0) for part in noise])
        # the standard deviation of white noise after a Gaussian kernel in three dimensions
        total += smooth * np.float32(size_mm * (2 * np.sqrt(np.pi) * sigma) ** 1.5)
    return total


def exponential(velocity: Field) -> Field:
    """Displacement in mm of the flow of a velocity field after unit time."""
    flow = velocity / np.float32(2**_SQUARINGS)
    for _ in range(_SQUARINGS):
        flow = compose(flow, flow)
    return flow


def compose(outer: Field, inner: Field) -> Field:
    """Displacement of `outer` after `inner`: u(x) = inner(x) + outer(x + inner(x))."""
    steps = np.array(LATTICE.spacing_mm_zyx, np.float32)
    index = np.indices(LATTICE.shape_zyx, np.float32) + inner[::-1] / steps[:, None, None, None]
    moved = np.stack([ndimage.map_coordinates(part, index, order=1, mode="nearest") for part in outer])
    return np.asarray(inner + moved, np.float32)


def jacobian(displacement: Field) -> Float32[np.ndarray, "z y x"]:
    """Determinant of the derivative of x + u(x) on the lattice; positive where the map keeps orientation."""
    step = LATTICE.spacing_mm_zyx[0]
    derivative = np.empty((*LATTICE.shape_zyx, 3, 3), np.float32)
    for i in range(3):
        for j, slope in enumerate(np.gradient(displacement[i], step)[::-1]):
            derivative[..., i, j] = slope + (i == j)
    return np.asarray(np.linalg.det(derivative), np.float32)
