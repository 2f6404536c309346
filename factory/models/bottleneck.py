"""The two bottlenecks of the autoencoder: a Gaussian with a KL term, and a codebook (VQ)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from factory.diffusion.chance import normal
from factory.models.blocks import Conv3d

__all__ = ["Codebook", "Gaussian"]

Volume = Float[Tensor, "b c z y x"]
Latents = Float[Tensor, "b l z y x"]
Triple = tuple[Latents, Float[Tensor, ""], Latents]
_COMMITMENT = 0.25
_ROWS = 16_384
"""Vectors compared with the codebook at once: the table of distances stays within memory at any volume."""


class Gaussian(nn.Module):
    """Mean and variance of each latent; the loss is its KL divergence from a standard normal, a mean over latents."""

    def __init__(self, inner: int, latent: int) -> None:
        super().__init__()
        self.moments = Conv3d(inner, 2 * latent, 1)

    def forward(self, h: Volume, generators: Sequence[torch.Generator]) -> Triple:
        """A sample where there are generators, else the mean; the KL divergence in nats; the mean."""
        mean, log_variance = self.moments(h).float().chunk(2, 1)
        log_variance = log_variance.clamp(-30, 20)
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).mean()
        if not generators:
            return mean, kl, mean
        return mean + normal(generators, mean) * (0.5 * log_variance).exp(), kl, mean

    def settle(self, latents: Latents) -> Latents:
        """Latents as the decoder takes them: unchanged."""
        return latents


class Codebook(nn.Module):
    """Each latent becomes the nearest of `codes` vectors (van den Oord et al. 2017), gradients pass straight through.

    Stage III learns the latents before that, and decoding settles them again.
    """

    def __init__(self, inner: int, latent: int, codes: int) -> None:
        super().__init__()
        self.project = Conv3d(inner, latent, 1)
        self.entries = nn.Embedding(codes, latent)
        nn.init.uniform_(self.entries.weight, -1.0, 1.0)

    def forward(self, h: Volume, generators: Sequence[torch.Generator]) -> Triple:  # noqa: ARG002  # nothing is drawn
        """The nearest entries; codebook and commitment loss; the latents before."""
        latents = self.project(h).float()
        nearest = self._nearest(latents)
        loss = ((nearest - latents.detach()) ** 2).mean() + _COMMITMENT * ((nearest.detach() - latents) ** 2).mean()
        return latents + (nearest - latents).detach(), loss, latents

    def settle(self, latents: Latents) -> Latents:
        """The nearest entry of each latent."""
        return self._nearest(latents)

    def _nearest(self, latents: Latents) -> Latents:
        flat = latents.movedim(1, -1).reshape(-1, latents.shape[1])
        with torch.no_grad():
            table = self.entries.weight.float()
            chosen = torch.cat([torch.cdist(rows, table).argmin(1) for rows in flat.split(_ROWS)])
        return self.entries(chosen).float().view(latents.movedim(1, -1).shape).movedim(-1, 1)
