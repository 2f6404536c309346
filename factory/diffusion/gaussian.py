"""Gaussian diffusion and rectified flow as one process x = scale * x_0 + noise * e, e standard normal.

    prediction   scale, noise at t                          the network predicts
    eps          sqrt(abar_t), sqrt(1 - abar_t)             e
    v            the same (Salimans and Ho 2022)            scale * e - noise * x_0
    flow         1 - t/T, t/T (Liu et al. 2023)             e - x_0

From any prediction follow x_0 and e, and a deterministic step goes to scale_s x_0 + noise_s e.
That is DDIM with eta = 0 (Song et al. 2021) for `eps` and `v`, and Euler's step of the flow for `flow`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from factory.diffusion.schedule import visits

__all__ = ["Gaussian", "Prediction"]

Prediction = Literal["eps", "v", "flow"]
Data = Float[Tensor, "b c *space"]
Times = Int64[Tensor, " b"]


@dataclass(frozen=True, eq=False, slots=True)
class Gaussian:
    """The process under a schedule `alpha_bar` of T + 1 values; `flow` uses its length alone."""

    prediction: Prediction
    alpha_bar: Float[Tensor, " steps_and_one"]

    @property
    def steps(self) -> int:
        """T."""
        return len(self.alpha_bar) - 1

    def noised(self, x0: Data, e: Data, t: Times) -> Data:
        """x_t for given data and noise."""
        scale, noise = self._levels(t, x0)
        return scale * x0 + noise * e

    def target(self, x0: Data, e: Data, t: Times) -> Data:
        """What the network should predict at x_t."""
        if self.prediction == "eps":
            return e
        if self.prediction == "flow":
            return e - x0
        scale, noise = self._levels(t, x0)
        return scale * e - noise * x0

    def parts(self, x_t: Data, predicted: Data, t: Times) -> tuple[Data, Data]:
        """x_0 and e that a prediction at x_t stands for."""
        scale, noise = self._levels(t, x_t)
        if self.prediction == "eps":
            return (x_t - noise * predicted) / scale, predicted
        if self.prediction == "flow":
            return x_t - noise * predicted, x_t + scale * predicted
        return scale * x_t - noise * predicted, noise * x_t + scale * predicted

    def sample(self, predict: Callable[[Data, Times], Data], noise: Data, count: int) -> Data:
        """Go from noise to x_0 in `count` deterministic steps.

        Args:
            predict: the network, given x_t and t.
            noise: x_T.
            count: steps, 1 to T.
        """
        x = noise
        for jump in visits(self.steps, count):
            t, s = (torch.full(x.shape[:1], step, device=x.device) for step in jump)
            x0, e = self.parts(x, predict(x, t), t)
            scale, noise = self._levels(s, x)
            x = scale * x0 + noise * e
        return x

    def _levels(self, t: Times, like: Data) -> tuple[Float[Tensor, "b *ones"], Float[Tensor, "b *ones"]]:
        """Scale and noise at t, to be broadcast over `like`."""
        if self.prediction == "flow":
            noise = t.double() / self.steps
            levels = 1 - noise, noise
        else:
            kept = self.alpha_bar.to(t.device).double()[t]
            levels = kept.sqrt(), (1 - kept).sqrt()
        scale, noise = (level.to(like.dtype).view(-1, *[1] * (like.ndim - 1)) for level in levels)
        return scale, noise
