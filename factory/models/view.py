"""Spacing and field of view as conditions: a vector for the whole volume, and where each voxel lies in it.

Nothing is stretched to a cube: a network sees millimetres.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["COORDINATES", "VIEW_WIDTH", "View"]

VIEW_WIDTH = 6
COORDINATES = 6
_UNIT_MM = 200.0


@dataclass(frozen=True, eq=False, slots=True)
class View:
    """Spacing and extent in mm along z, y, x of each volume of a batch.

    The extent is that of the case, before any padding; padding lies behind the last voxel.
    """

    spacing_mm: Float[Tensor, "b 3"]
    extent_mm: Float[Tensor, "b 3"]

    def vector(self) -> Float[Tensor, "b 6"]:
        """Logarithms of spacing (over 4 mm) and extent (over 400 mm)."""
        return torch.cat([(self.spacing_mm / 4).log(), (self.extent_mm / 400).log()], 1)

    def coordinates(self, shape_zyx: tuple[int, ...]) -> Float[Tensor, "b 6 z y x"]:
        """Place of each voxel: mm from the centre in units of 200 mm, and as a fraction of half the extent."""
        b = len(self.spacing_mm)
        axes = []
        for axis, count in enumerate(shape_zyx):
            along = torch.arange(count, device=self.spacing_mm.device) + 0.5
            mm = along * self.spacing_mm[:, axis, None] - self.extent_mm[:, axis, None] / 2
            shape = [b, 1, *(count if i == axis else 1 for i in range(3))]
            units = (torch.full_like(mm[:, :1], _UNIT_MM), self.extent_mm[:, axis, None] / 2)
            axes += [(mm / unit).view(shape).expand(b, 1, *shape_zyx) for unit in units]
        return torch.cat(axes, 1)
