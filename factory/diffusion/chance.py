"""Random numbers of a batch: each case has its own generator, so it draws the same in any batch.

Generators live on the CPU, whatever device computes: a case must not depend on it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float32
from torch import Tensor

__all__ = ["normal", "uniform"]

Generators = Sequence[torch.Generator]


def uniform(generators: Generators, like: Tensor) -> Float32[Tensor, "b ..."]:
    """Numbers of [0, 1) in the shape and on the device of `like`, one generator for each entry of its batch."""
    drawn = [torch.rand(row.shape, generator=one) for one, row in zip(generators, like, strict=True)]
    return torch.stack(drawn).to(like.device)


def normal(generators: Generators, like: Tensor) -> Float32[Tensor, "b ..."]:
    """Standard normal numbers; arguments as in `uniform`."""
    drawn = [torch.randn(row.shape, generator=one) for one, row in zip(generators, like, strict=True)]
    return torch.stack(drawn).to(like.device)
