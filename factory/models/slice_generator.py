"""The slice-by-slice generator of the first version of the paper: each axial slice after those below it.

A slice is diffused in HU / 1000 beside the slices already drawn and the masks of its own and both
neighbouring slices. Nothing is rescaled between slices, so HU stay continuous.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from factory.models.condition import Condition, Conditioner
from factory.models.injection import InjectionSize
from factory.models.mask_encoder import LabelEmbedding
from factory.models.text_encoder import TextSize
from factory.models.unet import UNet, UNetSize
from factory.models.view import COORDINATES

__all__ = ["NEIGHBOURS", "SliceGenerator", "SliceGeneratorSize"]

NEIGHBOURS = 3
"""Mask slices that a slice sees: the one below, its own, the one above."""


@dataclass(frozen=True, slots=True)
class SliceGeneratorSize:
    """How large the generator is; `before` slices that are drawn already are seen."""

    unet: UNetSize = field(default_factory=UNetSize)
    text: TextSize = field(default_factory=TextSize)
    injection: InjectionSize = field(default_factory=InjectionSize)
    mask_width: int = 8
    before: int = 2


class SliceGenerator(nn.Module):
    """Predicts noise or velocity of one slice; volumes here have a single slice along z.

    Args:
        size: of the parts.
        classes: of the anatomy, the outside included.
        encoder: of the text.
    """

    def __init__(self, size: SliceGeneratorSize, classes: int, encoder: nn.Module) -> None:
        super().__init__()
        self.size = size
        width = size.unet.width
        self.embedding = LabelEmbedding(classes, size.mask_width)
        levels = (len(size.unet.multipliers), size.unet.attention)
        self.conditioner = Conditioner(encoder, size.injection, 4 * width, levels, classes=classes)
        # each slice before comes with a channel that says whether there is one
        inputs = 1 + 2 * size.before + NEIGHBOURS * size.mask_width + COORDINATES
        self.unet = UNet(size.unet, inputs, 1, 4 * width, encoder.width)

    def surroundings(
        self,
        masks: tuple[Int64[Tensor, "b three y x"], Int64[Tensor, "b three y x"]],
        before: Float[Tensor, "b n y x"],
        height: int,
    ) -> Float[Tensor, "b c 1 y x"]:
        """Channels that stay the same at every step.

        Args:
            masks: anatomy and lesions of the slice below, the slice itself, and the one above.
            before: slices drawn already, the nearest last, as many as the size says.
            height: how many slices lie below; of `before`, as many as that count.
        """
        labels = self.embedding(*masks).flatten(1, 2)
        count = before.shape[1]
        there = torch.zeros_like(before)
        there[:, max(0, count - height) :] = 1
        return torch.cat([labels, before * there, there], 1)[:, :, None]

    def forward(
        self,
        x: Float[Tensor, "b 1 1 y x"],
        t: Int64[Tensor, " b"],
        around: tuple[Float[Tensor, "b c 1 y x"], Float[Tensor, "b 6 1 y x"]],
        condition: Condition,
    ) -> Float[Tensor, "b 1 1 y x"]:
        """Predict from a slice at step t; `around` is its surroundings and the places of its voxels."""
        vector, contexts, _ = self.conditioner(t, condition)
        return self.unet(torch.cat([x, *(part.to(x.dtype) for part in around)], 1), vector, contexts)
