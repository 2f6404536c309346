"""Knowledge injection: learnable queries read the text, and each level of the U-Net gets its own response.

The queries pass through transformer decoder blocks over the present tokens, end to end under the
diffusion loss; a head of each level turns them into what that level attends to, so coarse levels
may take what is global (habitus) and fine ones what is local (a lesion). Switched off, every level
attends to the text itself.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from factory.models.blocks import Context

__all__ = ["Injection", "InjectionSize", "pooled"]


@dataclass(frozen=True, slots=True)
class InjectionSize:
    """How large the injection is: queries, decoder layers, and heads of their attention; no queries: none."""

    queries: int = 16
    layers: int = 1
    heads: int = 4


class Injection(nn.Module):
    """Text to one context for each of `levels` levels, all as wide as the text."""

    def __init__(self, size: InjectionSize, width: int, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.queries = nn.Parameter(torch.randn(size.queries, width) * 0.1) if size.queries else None
        if self.queries is not None:
            layer = nn.TransformerDecoderLayer(
                width, size.heads, 2 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            self.decoder = nn.TransformerDecoder(layer, size.layers, norm=nn.LayerNorm(width))
            self.heads = nn.ModuleList(nn.Linear(width, width) for _ in range(levels))

    def forward(self, text: Context) -> list[Context]:
        """One context for each level, finest first."""
        return self.contexts(text, self.response(text))

    def response(self, text: Context) -> Float[Tensor, "b q d"] | None:
        """What the queries read in the text; None where there are none."""
        if self.queries is None:
            return None
        absent = None if text.present is None else ~text.present
        asked = self.queries.expand(len(text.tokens), -1, -1)
        return self.decoder(asked, text.tokens, memory_key_padding_mask=absent)

    def contexts(self, text: Context, response: Float[Tensor, "b q d"] | None) -> list[Context]:
        """What each level attends to, given the response."""
        if response is None:
            return [text] * self.levels
        return [Context(head(response)) for head in self.heads]


def pooled(text: Context) -> Float[Tensor, "b d"]:
    """Mean of the present tokens."""
    if text.present is None:
        return text.tokens.mean(1)
    weight = text.present.to(text.tokens.dtype)[..., None]
    return (text.tokens * weight).sum(1) / weight.sum(1)
