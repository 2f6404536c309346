"""The conditional 3-D U-Net of both diffusion models.

Unlike MONAI's it takes volumes of any shape (upsampling goes to the shape of the skip), ignores
padding tokens, reads another context at each level, and takes one vector for all that is global
(time, spacing, field of view).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from factory.models.blocks import Context, Conv3d, ResidualBlock, TokenAttention, norm, silent

__all__ = ["UNet", "UNetSize"]

Volume = Float[Tensor, "b c z y x"]


@dataclass(frozen=True, slots=True)
class UNetSize:
    """How large a U-Net is.

    Attributes:
        width: channels of the finest level.
        multipliers: factor on the channels of each level, finest first; each level halves the resolution.
        blocks: residual blocks of a level, down and up each.
        attention: how many of the coarsest levels attend to the text; the middle always does.
        checkpointing: compute features again in the backward pass instead of keeping them.
    """

    width: int = 32
    multipliers: tuple[int, ...] = (1, 2, 4)
    blocks: int = 1
    attention: int = 1
    checkpointing: bool = False

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each level, finest first."""
        return tuple(self.width * factor for factor in self.multipliers)


class UNet(nn.Module):
    """Features in, features of the same shape out, under a vector and a context for each attending level."""

    def __init__(self, size: UNetSize, inputs: int, outputs: int, vector_width: int, context_width: int) -> None:
        super().__init__()
        self.size = size
        levels = size.channels
        self.enter = Conv3d(inputs, levels[0], 3, padding=1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level, channels in enumerate(levels):
            before = levels[max(0, level - 1)]
            attends = len(levels) - level <= size.attention
            shrink = Conv3d(before, channels, 3, stride=2, padding=1) if level else nn.Identity()
            self.down.append(_Level(shrink, (channels, channels), size.blocks, vector_width, context_width * attends))
            self.up.append(
                _Level(nn.Identity(), (2 * channels, channels), size.blocks, vector_width, context_width * attends)
            )
        self.grow = nn.ModuleList(Conv3d(upper, lower, 3, padding=1) for lower, upper in pairwise(levels))
        self.middle_block = ResidualBlock(levels[-1], levels[-1], vector_width)
        self.middle_attention = TokenAttention(levels[-1], context_width)
        self.leave = nn.Sequential(norm(levels[0]), nn.SiLU(), silent(Conv3d(levels[0], outputs, 3, padding=1)))

    def forward(
        self, x: Volume, vector: Float[Tensor, "b v"], contexts: Sequence[Context]
    ) -> Float[Tensor, "b o z y x"]:
        """Predict.

        Args:
            x: features of any spatial shape.
            vector: what is global.
            contexts: one for each level, finest first; levels that do not attend ignore theirs.
        """
        run: Callable[..., Tensor] = _recomputed if self.size.checkpointing and self.training else _plain
        h = self.enter(x)
        skips = []
        for level, context in zip(self.down, contexts, strict=True):
            h = run(level, h, vector, context)
            skips.append(h)
        h = self.middle_attention(self.middle_block(h, vector), contexts[-1])
        for depth in reversed(range(len(skips))):
            if depth < len(skips) - 1:
                h = self.grow[depth](nn.functional.interpolate(h, skips[depth].shape[2:], mode="nearest"))
            h = run(self.up[depth], torch.cat([h, skips[depth]], 1), vector, contexts[depth])
        return self.leave(h)


class _Level(nn.Module):
    """A change of resolution, then residual blocks, each followed by attention where the level attends."""

    def __init__(
        self, shrink: nn.Module, channels: tuple[int, int], blocks: int, vector_width: int, context_width: int
    ) -> None:
        super().__init__()
        self.shrink = shrink
        self.blocks, self.attentions = nn.ModuleList(), nn.ModuleList()
        for number in range(blocks):
            self.blocks.append(ResidualBlock(channels[min(number, 1)], channels[1], vector_width))
            if context_width:
                self.attentions.append(TokenAttention(channels[1], context_width))

    def forward(self, x: Volume, vector: Float[Tensor, "b v"], context: Context) -> Float[Tensor, "b d zl yl xl"]:
        """Transform the features of one level."""
        h = self.shrink(x)
        for number, block in enumerate(self.blocks):
            h = block(h, vector)
            if self.attentions:
                h = self.attentions[number](h, context)
        return h


def _plain(level: nn.Module, x: Tensor, vector: Tensor, context: Context) -> Tensor:
    return level(x, vector, context)


def _recomputed(level: nn.Module, x: Tensor, vector: Tensor, context: Context) -> Tensor:
    return checkpoint(level, x, vector, context, use_reentrant=False)
