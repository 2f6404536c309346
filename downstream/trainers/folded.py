"""A network that computes at half the resolution of its image and answers at the full one.

Blocks of 2 x 2 x 2 voxels become channels on the way in, and channels become such blocks on the way out (sub-pixel
convolution, Shi et al., CVPR 2016, in three dimensions). On a processor the finest resolution of a U-Net costs as much as
the other four together and does little; here it is gone, and its detail is carried in the channels of the next one.
"""

from typing import Any

import torch
from torch import nn

__all__ = ["FOLD", "Folded", "fold", "unfold"]

FOLD = 8  # voxels of a block


def fold(image: torch.Tensor) -> torch.Tensor:
    """Turn (b, c, z, y, x) with even sides into (b, 8 c, z/2, y/2, x/2)."""
    b, c, *sides = image.shape
    z, y, x = (n // 2 for n in sides)
    blocks = image.reshape(b, c, z, 2, y, 2, x, 2)
    return blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(b, c * FOLD, z, y, x)


def unfold(features: torch.Tensor) -> torch.Tensor:
    """Undo `fold`."""
    b, c, z, y, x = features.shape
    blocks = features.reshape(b, c // FOLD, 2, 2, 2, z, y, x)
    return blocks.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(b, c // FOLD, 2 * z, 2 * y, 2 * x)


class Folded(nn.Module):  # type: ignore[misc]
    """Another network between `fold` and `unfold`.

    Args:
        inner: takes 8 channels for each of the image's and gives 8 for each label; with deep supervision a list of them.
    """

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    @property
    def decoder(self) -> Any:
        """Where nnU-Net switches deep supervision."""
        return self.inner.decoder

    def forward(self, image: torch.Tensor) -> torch.Tensor | list[torch.Tensor]:
        """Scores (b, labels, z, y, x) for an image (b, channels, z, y, x), or a list of them, each half as fine as the one before."""
        folded = fold(image).contiguous(memory_format=torch.channels_last_3d)
        answer = self.inner(folded)
        return [unfold(one) for one in answer] if isinstance(answer, list) else unfold(answer)
