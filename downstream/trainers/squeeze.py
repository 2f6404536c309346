"""How HU reach a network: soft tissue spread, air and dense bone squeezed.

nnU-Net scales CT to a standard deviation of one. Where lungs are among the labels that is 450 HU: fat and muscle lie 0.3 apart, disc and
vertebra 0.2, and the augmentation's noise and shifts, which are made for values of that spread, are as large. The inverse hyperbolic sine
is linear within a hundred HU of soft tissue and a logarithm beyond: air, fat, muscle and bone come to lie about one apart.
"""

from collections.abc import Callable, Mapping

import torch

__all__ = ["Squeeze", "squeeze", "unchanged"]

Squeeze = Callable[[torch.Tensor], torch.Tensor]
"""From nnU-Net's normalised values to those that a network is given, of the same shape."""

_MIDDLE_HU, _WIDTH_HU = 40.0, 100.0  # of soft tissue


def squeeze(measured: Mapping[str, float]) -> Squeeze:
    """Squeeze values that nnU-Net normalised.

    Args:
        measured: `mean` and `std` in HU that it normalised with.
    """
    mean_hu, sd_hu = measured["mean"], measured["std"]
    return lambda values: torch.asinh((values * sd_hu + (mean_hu - _MIDDLE_HU)) / _WIDTH_HU)


def unchanged(values: torch.Tensor) -> torch.Tensor:
    """Leave them as nnU-Net normalised them."""
    return values
