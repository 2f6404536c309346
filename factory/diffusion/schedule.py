"""The noise schedule: how much of the data is left after t of T steps, and which steps a sampler visits.

`alpha_bar[t]` for t = 0..T is the share that survives t steps; `alpha_bar[0]` is 1. What survives
from step s to a later step t is `alpha_bar[t] / alpha_bar[s]`, so a sampler may skip any number of
steps and stay exact.
"""

import math
from itertools import pairwise

import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = ["cosine", "growing", "training_chances", "visits"]

_OFFSET = 0.008
_LARGEST_BETA = 0.999
_LEAST_LEFT = 1e-6


def cosine(steps: int) -> Float64[Tensor, " steps_and_one"]:
    """Cosine schedule of Nichol and Dhariwal (2021), eq. 17: beta is clipped at 0.999, so nothing ever vanishes.

    Args:
        steps: T, at least 1.

    Returns:
        `alpha_bar` at t = 0..T.
    """
    assert steps >= 1
    place = torch.arange(steps + 1, dtype=torch.float64) / steps
    left = torch.cos((place + _OFFSET) / (1 + _OFFSET) * math.pi / 2) ** 2
    alpha = (left[1:] / left[:-1]).clamp(1 - _LARGEST_BETA, 1)
    return torch.cat([torch.ones(1, dtype=torch.float64), alpha.cumprod(0)])


def growing(steps: int, factor: float) -> Float64[Tensor, " steps_and_one"]:
    """A schedule under which what is left grows, from T down, by nearly equal factors, `factor` in all.

    Of something small and whole a first part shows, then twice as much, and so on: a sampler that draws each voxel
    apart can see what there is before it draws more. Under the cosine most of it shows within a few jumps.

    Args:
        steps: T, at least 1.
        factor: above 1.

    Returns:
        `alpha_bar` at t = 0..T.
    """
    assert steps >= 1
    place = torch.arange(steps + 1, dtype=torch.float64) / steps
    return ((factor ** (1 - place) - 1) / (factor - 1)).clamp_min(_LEAST_LEFT)


def training_chances(steps: int) -> Float64[Tensor, " steps"]:
    """How often to train on t = 1..T of categorical diffusion: half evenly, half as 1/t.

    The divergence of a step falls about as 1/t, so even draws would rarely meet the few steps that
    make up most of the bound. A loss at t counts 1 / (T * chance) times: its expectation is that of even draws.
    """
    place = torch.arange(1, steps + 1, dtype=torch.float64)
    return 0.5 / steps + 0.5 / place / (1 / place).sum()


def visits(steps: int, count: int) -> list[tuple[int, int]]:
    """Pairs (t, s) of a sampler that goes from T = `steps` to 0 in `count` jumps of nearly equal length."""
    assert 1 <= count <= steps
    stops = [round(steps * (count - k) / count) for k in range(count + 1)]
    return list(pairwise(stops))
