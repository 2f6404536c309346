"""CT windows as the reconstruction loss sees through them (HDR): one random window a step, for all that is compared."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Window", "draw_window"]

_NARROWEST, _WIDEST = 0.1, 1.9
"""Widths of windows in units of 1000 HU."""


@dataclass(frozen=True, slots=True)
class Window:
    """A window of the grey scale: its centre and its whole width, in units of 1000 HU."""

    center: float
    width: float

    def __call__(self, ct: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Values as shown: -1 below the window, 1 above it, linear between."""
        return ((ct - self.center) / (self.width / 2)).clamp(-1, 1)


def draw_window(ct: Float[Tensor, "*any"], generator: torch.Generator) -> Window:
    """Draw a window whose centre is the value of a random voxel, so that it always overlaps the data.

    Half of the draws take a voxel as it comes, half take a value between the extremes, so that
    rare dense tissue gets windows too; the width is uniform in logarithm.
    """
    chance = torch.rand(3, generator=generator)
    flat = ct.reshape(-1)
    center = float(flat[int(chance[0] * (flat.numel() - 1))])
    if chance[1] < 0.5:
        low, high = float(flat.min()), float(flat.max())
        center = float(flat[(flat - (low + float(chance[0]) * (high - low))).abs().argmin()])
    return Window(center, _NARROWEST * (_WIDEST / _NARROWEST) ** float(chance[2]))
