"""Stage I, the text-conditional semantic synthesizer: noisy masks and a text to what the masks were.

A case has two label layers, so the model has two categorical variables a voxel: the anatomy, and
whether a lesion lies there. They are noised apart and predicted together, each by its own head.
The organ thus stays under its lesion, and the lesion's loss has a weight of its own: rare as
lesions are, they do not drown, and no class weight distorts how often they occur.
"""

from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from factory.models.condition import Condition, Conditioner
from factory.models.injection import InjectionSize
from factory.models.text_encoder import TextSize
from factory.models.unet import UNet, UNetSize
from factory.models.view import COORDINATES

__all__ = ["LESION_CLASSES", "Synthesizer", "SynthesizerSize"]

LESION_CLASSES = 2

Labels = Int64[Tensor, "b z y x"]


@dataclass(frozen=True, slots=True)
class SynthesizerSize:
    """How large the synthesizer is.

    Attributes:
        label_width: channels that stand for each voxel's labels, and for it before the heads.
        patch: voxels along a side that the U-Net takes as one; labels are many and cheap, convolutions are not.
    """

    unet: UNetSize = field(default_factory=UNetSize)
    text: TextSize = field(default_factory=TextSize)
    injection: InjectionSize = field(default_factory=InjectionSize)
    label_width: int = 16
    patch: int = 2


class Synthesizer(nn.Module):
    """Predicts the distribution of the clean anatomy and lesion of each voxel.

    The U-Net works on patches; behind it each voxel gets its share of its patch's features back, and
    its own noisy labels with those of its neighbours.

    Args:
        size: of the parts.
        classes: of the anatomy, the outside included.
        encoder: of the text.
    """

    def __init__(self, size: SynthesizerSize, classes: int, encoder: nn.Module) -> None:
        super().__init__()
        self.patch, labels = size.patch, size.label_width
        width, volume = size.unet.width, size.patch**3
        self.anatomy = nn.Embedding(classes, labels)
        self.lesions = nn.Embedding(LESION_CLASSES, labels)
        levels = (len(size.unet.multipliers), size.unet.attention)
        self.conditioner = Conditioner(encoder, size.injection, 4 * width, levels)
        self.unet = UNet(size.unet, labels * volume + COORDINATES, width, 4 * width, encoder.width)
        self.spread = nn.Conv3d(width, labels * volume, 1)
        self.join = nn.Sequential(nn.Conv3d(2 * labels, labels, 3, padding=1), nn.SiLU())
        self.heads = nn.ModuleList(nn.Conv3d(labels, count, 1) for count in (classes, LESION_CLASSES))

    def forward(
        self, anatomy: Labels, lesions: Labels, t: Int64[Tensor, " b"], condition: Condition
    ) -> tuple[Float[Tensor, "b k z y x"], Float[Tensor, "b two z y x"]]:
        """Logits of the clean anatomy and of the clean lesions, from both as they are at step t."""
        nz, ny, nx = anatomy.shape[1:]
        labels = (self.anatomy(anatomy) + self.lesions(lesions)).movedim(-1, 1)
        missing = [-count % self.patch for count in (nz, ny, nx)]
        labels = nn.functional.pad(labels, (0, missing[2], 0, missing[1], 0, missing[0]))
        patches = _gathered(labels, self.patch)
        view = replace(condition.view, spacing_mm=condition.view.spacing_mm * self.patch)
        places = view.coordinates(tuple(patches.shape[2:])).to(labels.dtype)
        vector, contexts = self.conditioner(t, condition)
        features = self.unet(torch.cat([patches, places], 1), vector, contexts)
        spread = _scattered(self.spread(features), self.patch)
        joined = self.join(torch.cat([spread, labels.to(spread.dtype)], 1))[:, :, :nz, :ny, :nx]
        return self.heads[0](joined), self.heads[1](joined)


def _gathered(x: Float[Tensor, "b c z y x"], side: int) -> Float[Tensor, "b cp zp yp xp"]:
    """Space to depth: the voxels of each patch as channels."""
    b, c, *sides = x.shape
    nz, ny, nx = (count // side for count in sides)
    parts = x.view(b, c, nz, side, ny, side, nx, side).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return parts.reshape(b, c * side**3, nz, ny, nx)


def _scattered(x: Float[Tensor, "b cp zp yp xp"], side: int) -> Float[Tensor, "b c z y x"]:
    """Depth to space, the inverse of `_gathered`."""
    b, c, nz, ny, nx = x.shape
    parts = x.view(b, c // side**3, side, side, side, nz, ny, nx).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return parts.reshape(b, c // side**3, nz * side, ny * side, nx * side)
