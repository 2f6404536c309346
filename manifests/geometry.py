"""The grid of a volume: shape, spacing and origin, all axes aligned with the patient.

Arrays are (z, y, x). x grows to the patient's Left, y to Posterior, z to Superior (LPS, the
convention of DICOM and ITK). World coordinates are millimetres in (x, y, z) order, and
`origin_mm_xyz` is the centre of voxel [0, 0, 0]. Directions are always the identity: ingest
reorients, and refuses what is oblique.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from manifests.errors import InvalidValueError

__all__ = ["HU_MAX", "HU_MIN", "Grid"]

HU_MIN, HU_MAX = -1024, 3071
"""Range of stored CT values in Hounsfield units: 12 bits, as scanners write it."""


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the voxels of an array lie.

    Args:
        shape_zyx: voxels along z, y, x; each at least 1.
        spacing_mm_zyx: distance between voxel centres in mm along z, y, x; each positive.
        origin_mm_xyz: LPS world position in mm of the centre of voxel [0, 0, 0].

    Raises:
        InvalidValueError: if a count or spacing is not positive and finite.
    """

    shape_zyx: tuple[int, int, int]
    spacing_mm_zyx: tuple[float, float, float]
    origin_mm_xyz: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        """Normalise numbers to Python's own types, so that equal grids hash equally."""
        object.__setattr__(self, "shape_zyx", tuple(int(n) for n in self.shape_zyx))
        for name in ("spacing_mm_zyx", "origin_mm_xyz"):
            object.__setattr__(self, name, tuple(float(v) for v in getattr(self, name)))
        sizes = (*self.shape_zyx, *self.spacing_mm_zyx)
        if len(sizes) != 6 or len(self.origin_mm_xyz) != 3 or not np.isfinite(sizes).all() or min(sizes) <= 0:
            raise InvalidValueError(
                "grid",
                got=f"shape {self.shape_zyx}, spacing {self.spacing_mm_zyx} mm",
                need="three positive counts and three positive, finite spacings",
                do="Check the order (z, y, x) and the header of the source image.",
            )
        if not np.isfinite(self.origin_mm_xyz).all():
            raise InvalidValueError(
                "grid origin", got=str(self.origin_mm_xyz), need="finite millimetres", do="Check the image header."
            )

    @property
    def affine_lps(self) -> Float64[np.ndarray, "4 4"]:
        """Matrix from voxel indices in (x, y, z) order to LPS millimetres."""
        affine = np.diag([*self.spacing_mm_zyx[::-1], 1.0])
        affine[:3, 3] = self.origin_mm_xyz
        return affine

    @property
    def affine_ras(self) -> Float64[np.ndarray, "4 4"]:
        """Matrix from voxel indices in (x, y, z) order to RAS millimetres, as NIfTI wants it."""
        affine = self.affine_lps
        affine[:2] *= -1.0
        return affine

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres."""
        z, y, x = self.spacing_mm_zyx
        return z * y * x / 1000.0

    @property
    def extent_mm_zyx(self) -> tuple[float, float, float]:
        """Field of view along z, y, x in mm, voxel edges included."""
        z, y, x = (n * s for n, s in zip(self.shape_zyx, self.spacing_mm_zyx, strict=True))
        return z, y, x

    def axes_mm(self) -> tuple[Float64[np.ndarray, " z"], Float64[np.ndarray, " y"], Float64[np.ndarray, " x"]]:
        """LPS coordinates in mm of the voxel centres along z, y and x."""
        z, y, x = (
            origin + spacing * np.arange(count)
            for origin, spacing, count in zip(
                self.origin_mm_xyz[::-1], self.spacing_mm_zyx, self.shape_zyx, strict=True
            )
        )
        return z, y, x

    def to_json(self) -> dict[str, list[int] | list[float]]:
        """Plain lists, for metadata and hashing."""
        return {
            "shape_zyx": list(self.shape_zyx),
            "spacing_mm_zyx": list(self.spacing_mm_zyx),
            "origin_mm_xyz": list(self.origin_mm_xyz),
        }
