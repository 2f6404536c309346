"""Stage II, the anatomy-aware autoencoder: CT to latents and back, beside its masks at every level.

CT goes in and comes out as HU / 1000, one channel, unclipped: bone and metal keep their values.
The masks, embedded and averaged to each resolution, join the features of encoder and decoder
before each level, so that small lesions survive the compression. Past all levels go the coarse picture, linearly (as the
shortcuts of DC-AE, Chen et al. 2024), and the usual HU of each class and of a lesion in it: no level of HU has to find its
way through normalised features. Voxels are normalised one by one, so crops, which train, and tiles are treated as whole volumes are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from factory.models.blocks import ChannelNorm, Conv3d, ResidualBlock, silent
from factory.models.bottleneck import Codebook, Gaussian
from factory.models.mask_encoder import MaskPyramid

__all__ = ["HU_UNIT", "Autoencoder", "AutoencoderSize"]

HU_UNIT = 1000.0
"""HU of one unit inside the networks."""

Volume = Float[Tensor, "b one z y x"]
Latents = Float[Tensor, "b l zl yl xl"]
Labels = Int64[Tensor, "b z y x"]


@dataclass(frozen=True, slots=True)
class AutoencoderSize:
    """How large the autoencoder is.

    Attributes:
        width: channels of the finest level.
        multipliers: factor on the channels of each level, finest first; latents have the resolution of the last.
        blocks: residual blocks of a level, down and up each.
        latent_channels: channels of the latents.
        bottleneck: "kl" for a Gaussian, "vq" for a codebook.
        codes: entries of the codebook.
        label_width: channels of the mask pyramid; 0 leaves the masks out.
    """

    width: int = 16
    multipliers: tuple[int, ...] = (1, 2, 4)
    blocks: int = 1
    latent_channels: int = 4
    bottleneck: Literal["kl", "vq"] = "kl"
    codes: int = 8192
    label_width: int = 8

    @property
    def factor(self) -> int:
        """Voxels of the CT along each side of a latent."""
        return 2 ** (len(self.multipliers) - 1)


class Autoencoder(nn.Module):
    """CT and masks to latents, latents and masks to CT.

    Args:
        size: of the network.
        classes: of the anatomy, the outside included.
    """

    def __init__(self, size: AutoencoderSize, classes: int) -> None:
        super().__init__()
        self.size = size
        levels = [size.width * factor for factor in size.multipliers]
        labels = size.label_width
        self.pyramid = MaskPyramid(classes, labels, len(levels)) if labels else None
        self.encoder = nn.ModuleList(
            _Level(levels[max(0, depth - 1)] if depth else 1, labels, channels, (size.blocks, bool(depth)))
            for depth, channels in enumerate(levels)
        )
        self.to_latent = nn.Sequential(ChannelNorm(levels[-1]), nn.SiLU())
        self.classes = classes
        self.usual = silent(nn.Embedding(2 * classes, 1)) if labels else None  # of each class, then of lesions in it
        self.coarse_in = Conv3d(1, levels[-1], 1)
        latent = size.latent_channels
        self.bottleneck = (
            Gaussian(levels[-1], latent) if size.bottleneck == "kl" else Codebook(levels[-1], latent, size.codes)
        )
        self.decoder = nn.ModuleList(
            _Level(([*levels, latent])[depth + 1], labels, channels, (size.blocks, False))
            for depth, channels in enumerate(levels)
        )
        self.coarse_out = Conv3d(latent, 1, 1)
        self.leave = nn.Sequential(ChannelNorm(levels[0]), nn.SiLU(), Conv3d(levels[0], 1, 3, padding=1))

    def encode(
        self, ct: Volume, anatomy: Labels, lesions: Labels, generators: Sequence[torch.Generator] = ()
    ) -> tuple[Latents, Float[Tensor, ""], Latents]:
        """Encode CT.

        Args:
            ct: HU / 1000; sides divisible by `size.factor`.
            anatomy: class of each voxel.
            lesions: 1 where a lesion is.
            generators: one a case, to draw the sample of a Gaussian bottleneck; none takes its mean.

        Returns:
            What the decoder takes in training (a sample, or codebook entries), the loss of the
            bottleneck, and the deterministic latents that stage III learns.
        """
        masks = self._masks(anatomy, lesions)
        h = ct
        for level, mask in zip(self.encoder, masks, strict=True):
            h = level(h, mask)
        coarse = self.coarse_in(nn.functional.avg_pool3d(ct, self.size.factor))
        return self.bottleneck(self.to_latent(h) + coarse, generators)

    def decode(self, latents: Latents, anatomy: Labels, lesions: Labels) -> Volume:
        """Decode the latents of stage III to HU / 1000; a codebook is applied first."""
        return self.decode_entries(self.bottleneck.settle(latents), anatomy, lesions)

    def decode_entries(self, entries: Latents, anatomy: Labels, lesions: Labels) -> Volume:
        """Decode what `encode` gives for training."""
        h = entries
        masks = self._masks(anatomy, lesions)
        for depth in reversed(range(len(self.decoder))):
            if depth < len(self.decoder) - 1:
                h = nn.functional.interpolate(h, scale_factor=2.0, mode="nearest")
            h = self.decoder[depth](h, masks[depth])
        coarse = nn.functional.interpolate(self.coarse_out(entries), h.shape[2:], mode="trilinear")
        h = self.leave(h) + coarse
        return h if self.usual is None else h + self.usual(anatomy + self.classes * lesions).movedim(-1, 1)

    def forward(
        self, ct: Volume, anatomy: Labels, lesions: Labels, generators: Sequence[torch.Generator] = ()
    ) -> tuple[Volume, Float[Tensor, ""]]:
        """Reconstruction and loss of the bottleneck; arguments as in `encode`."""
        entries, loss, _ = self.encode(ct, anatomy, lesions, generators)
        return self.decode_entries(entries, anatomy, lesions), loss

    def _masks(self, anatomy: Labels, lesions: Labels) -> list[Tensor | None]:
        if self.pyramid is None:
            return [None] * len(self.encoder)
        features: list[Tensor | None] = self.pyramid(anatomy, lesions)
        return features


class _Level(nn.Module):
    """A level: halve the resolution where asked, join the masks, transform; `build` is (blocks, halve)."""

    def __init__(self, inner: int, labels: int, outer: int, build: tuple[int, bool]) -> None:
        super().__init__()
        blocks, halve = build
        self.enter = Conv3d(inner, outer, 3, stride=2 if halve else 1, padding=1)
        self.join = Conv3d(outer + labels, outer, 3, padding=1) if labels else nn.Identity()
        self.blocks = nn.Sequential(*(ResidualBlock(outer, outer, local=True) for _ in range(blocks)))

    def forward(self, x: Float[Tensor, "b c z y x"], mask: Tensor | None) -> Float[Tensor, "b d zl yl xl"]:
        h = self.enter(x)
        if mask is not None:
            h = self.join(torch.cat([h, mask.to(h.dtype)], 1))
        return self.blocks(h)
