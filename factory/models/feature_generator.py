"""Stage III, the latent-guided feature generator: noisy latents, masks and a text to a prediction on the latents."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from factory.models.blocks import Conv3d
from factory.models.condition import Condition, Conditioner
from factory.models.facts import LOOKS
from factory.models.injection import InjectionSize
from factory.models.mask_encoder import MaskEncoder
from factory.models.text_encoder import TextSize
from factory.models.unet import UNet, UNetSize
from factory.models.view import COORDINATES

__all__ = ["FeatureGenerator", "FeatureGeneratorSize"]


@dataclass(frozen=True, slots=True)
class FeatureGeneratorSize:
    """How large the generator is; `mask_width` channels of encoded masks join the latents, 0 leaves the masks out."""

    unet: UNetSize = field(default_factory=UNetSize)
    text: TextSize = field(default_factory=TextSize)
    injection: InjectionSize = field(default_factory=InjectionSize)
    mask_width: int = 16


class FeatureGenerator(nn.Module):
    """Predicts noise, velocity or flow of latents.

    Args:
        size: of the parts.
        classes: of the anatomy, the outside included.
        latents: their channels, and how often their resolution halves that of the masks.
        encoder: of the text.
    """

    def __init__(self, size: FeatureGeneratorSize, classes: int, latents: tuple[int, int], encoder: nn.Module) -> None:
        super().__init__()
        channels, halvings = latents
        width = size.unet.width
        self.factor = 2**halvings
        self.masks = MaskEncoder(classes, size.mask_width, halvings, LOOKS) if size.mask_width else None
        self.guess = Conv3d(size.mask_width, channels, 1) if size.mask_width else None
        """What masks and text alone let expect of the latents, read off `encode_masks`: taught beside the predictions."""
        self.conditioner = Conditioner(
            encoder,
            size.injection,
            4 * width,
            (len(size.unet.multipliers), size.unet.attention),
            classes=classes,
        )
        self.unet = UNet(size.unet, channels + size.mask_width + COORDINATES, channels, 4 * width, encoder.width)

    def encode_masks(
        self, anatomy: Int64[Tensor, "b z y x"], lesions: Int64[Tensor, "b z y x"], condition: Condition
    ) -> Float[Tensor, "b m zl yl xl"]:
        """Features of the masks at the resolution of the latents, none without masks; a sampler needs them once.

        Structures are embedded by what the text says of their looks: its phase, age and weight.
        """
        if self.masks is None:
            b, *sides = anatomy.shape
            return self.conditioner.mix[0].weight.new_empty(b, 0, *(count // self.factor for count in sides))
        return self.masks(anatomy, lesions, self.conditioner.read(condition.ids, condition.keep).looks)

    def forward(
        self,
        latents: Float[Tensor, "b c zl yl xl"],
        t: Int64[Tensor, " b"],
        masks: Float[Tensor, "b m zl yl xl"],
        condition: Condition,
    ) -> Float[Tensor, "b c zl yl xl"]:
        """Predict from latents at step t; the view of `condition` is that of the latents' grid."""
        places = condition.view.coordinates(tuple(latents.shape[2:])).to(latents.dtype)
        vector, contexts, _ = self.conditioner(t, condition)
        return self.unet(torch.cat([latents, masks.to(latents.dtype), places], 1), vector, contexts)
