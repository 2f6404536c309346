"""Muon for convolution kernels, Adam for the rest.

Each kernel, read as a matrix of output channels by what they look at, moves along its momentum made orthogonal, so that no
direction of the gradient is drowned by the strongest (Jordan et al., "Muon: an optimizer for hidden layers in neural
networks", 2024). Five Newton-Schulz steps stand for the singular value decomposition. PyTorch's own takes matrices alone.

`downstream/trainers/muon.py` moves kernels alike (a test holds the two together): neither package may know the other, and
what lies below both knows no torch.
"""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Muon", "orthogonal"]

_KERNEL_RATE = 12.5
"""Rate of kernels, in rates of all else."""
_MOMENTUM, _BETAS, _EPSILON = 0.95, (0.9, 0.99), 1e-8
_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of Jordan et al."""


def orthogonal(matrix: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """Bring the singular values of a matrix near 1 (0.7 to 1.2); a matrix of zeros stays one.

    Each step multiplies by a polynomial of the square of what it is given, which is small beside the matrix, so the
    polynomials are multiplied first and meet the matrix once: two products of its size instead of ten.
    """
    a, b, c = _QUINTIC
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    square = wide @ wide.T
    whole = torch.eye(len(square), dtype=square.dtype, device=square.device)
    for _ in range(5):
        factor = b * square + c * square @ square
        factor.diagonal().add_(a)
        whole = factor @ whole
        square = factor @ square @ factor  # all are polynomials of the first square, so they commute
    wide = whole @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T


class Muon(torch.optim.Optimizer):
    """One optimiser with one rate for a whole network.

    Args:
        parameters: kernels are those of three or more dimensions.
        lr: rate of all but kernels; these take 12.5 times as much.
        weight_decay: of kernels and matrices, decoupled.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        known = list(parameters)
        groups = [
            {"params": [one for one in known if one.ndim > 2], "kernels": True},
            {"params": [one for one in known if one.ndim <= 2], "kernels": False},
        ]
        super().__init__([group for group in groups if group["params"]], {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def step(self, closure: Any = None) -> None:  # torch's signature; there is no closure
        """Move every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            move = _move_kernel if group["kernels"] else _move_other
            for one in group["params"]:
                if one.grad is not None:
                    move(one, self.state[one], group["lr"], group["weight_decay"])


def _move_kernel(one: Tensor, state: dict[str, Any], lr: float, decay: float) -> None:
    momentum = state.setdefault("momentum", torch.zeros_like(one)).lerp_(one.grad, 1 - _MOMENTUM)
    nesterov = one.grad.lerp(momentum, _MOMENTUM)
    last = nesterov.movedim(1, -1)  # as kernels lie in memory that are channels last, so nothing is copied
    matrix = orthogonal(last.reshape(len(one), -1))
    rate = _KERNEL_RATE * lr * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5
    one.mul_(1 - _KERNEL_RATE * lr * decay).add_(matrix.reshape(last.shape).movedim(-1, 1), alpha=-rate)


def _move_other(one: Tensor, state: dict[str, Any], lr: float, decay: float) -> None:
    state["steps"] = state.get("steps", torch.zeros(())) + 1
    steps = float(state["steps"])
    first = state.setdefault("first", torch.zeros_like(one)).lerp_(one.grad, 1 - _BETAS[0])
    second = state.setdefault("second", torch.zeros_like(one)).lerp_(one.grad.square(), 1 - _BETAS[1])
    scale = (second / (1 - _BETAS[1] ** steps)).sqrt_().add_(_EPSILON)
    one.mul_(1 - lr * decay * (one.ndim == 2)).addcdiv_(first, scale, value=-lr / (1 - _BETAS[0] ** steps))
