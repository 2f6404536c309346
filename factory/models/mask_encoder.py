"""Masks to features: labels are looked up, never read as numbers, and averaged where they get coarser."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from factory.models.blocks import Conv3d, ResidualBlock, silent

__all__ = ["LabelEmbedding", "MaskEncoder", "MaskPyramid"]

Labels = Int64[Tensor, "b z y x"]


class LabelEmbedding(nn.Module):
    """Channels for the anatomy and the lesion of each voxel: a 1 x 1 x 1 convolution of their one-hot maps.

    Args:
        classes: of the anatomy, the outside included.
        width: channels out.
        facts: numbers a case that the channels of each class depend on, linearly: an aorta of one phase is not that of another.
    """

    def __init__(self, classes: int, width: int, facts: int = 0) -> None:
        super().__init__()
        self.anatomy = nn.Embedding(classes, width)
        self.lesions = nn.Embedding(2, width)
        self.by_fact = silent(nn.Linear(facts, classes * width, bias=False)) if facts else None

    def forward(
        self, anatomy: Labels, lesions: Labels, facts: Float[Tensor, "b f"] | None = None
    ) -> Float[Tensor, "b w z y x"]:
        """Embed classes and lesions; `facts` as many as the constructor was told."""
        if self.by_fact is None:
            embedded = self.anatomy(anatomy)
        else:
            tables = self.anatomy.weight + self.by_fact(facts).unflatten(1, self.anatomy.weight.shape)
            cases = [nn.functional.embedding(*pair) for pair in zip(anatomy, tables, strict=True)]
            embedded = torch.stack(cases)
        return (embedded + self.lesions(lesions)).movedim(-1, 1)


class MaskPyramid(nn.Module):
    """Embedded masks at each of `levels` resolutions, finest first, each half the one before.

    Averaging an embedding is averaging one-hot maps: a voxel of a coarse level knows the share of
    every structure in it, so that a lesion smaller than the voxel still shows.
    """

    def __init__(self, classes: int, width: int, levels: int) -> None:
        super().__init__()
        self.embedding = LabelEmbedding(classes, width)
        self.levels = levels

    def forward(self, anatomy: Labels, lesions: Labels) -> list[Float[Tensor, "b w zl yl xl"]]:
        """Features by level; every side must be divisible by 2 to the power of levels - 1."""
        features = [self.embedding(anatomy, lesions)]
        while len(features) < self.levels:
            features.append(nn.functional.avg_pool3d(features[-1], 2))
        return features


class MaskEncoder(nn.Module):
    """Masks at the resolution of the CT to features at that of its latents, for concatenation.

    Args:
        classes: of the anatomy, the outside included.
        width: channels out.
        halvings: how often the resolution is halved.
        facts: as in `LabelEmbedding`.
    """

    def __init__(self, classes: int, width: int, halvings: int, facts: int = 0) -> None:
        super().__init__()
        self.embedding = LabelEmbedding(classes, width, facts)
        layers: list[nn.Module] = []
        for _ in range(halvings):
            layers += [Conv3d(width, width, 3, stride=2, padding=1), ResidualBlock(width, width)]
        self.layers = nn.Sequential(*layers)

    def forward(
        self, anatomy: Labels, lesions: Labels, facts: Float[Tensor, "b f"] | None = None
    ) -> Float[Tensor, "b w zl yl xl"]:
        """Features of masks whose sides are divisible by 2 to the power of `halvings`."""
        features: Tensor = self.layers(self.embedding(anatomy, lesions, facts))
        return torch.nn.functional.silu(features)
