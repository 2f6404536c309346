"""Text to tokens: a small transformer trained with the model, or a frozen encoder from a folder.

Both give a `Context` whose padding is marked, and both can leave the text out (`keep`), which is
what classifier-free guidance compares with: one learned token then stands for no text.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from factory.models.blocks import Context
from factory.models.tokenizer import PADDING

__all__ = ["FrozenEncoder", "TextEncoder", "TextSize"]


_LENGTHS, _LOGARITHMS = (2.0, 6.0, 20.0, 60.0, 200.0), (0.2, 0.6, 2.0, 4.0)


@dataclass(frozen=True, slots=True)
class TextSize:
    """How large the text encoder is: channels, layers, attention heads, and tokens at most."""

    width: int = 64
    layers: int = 2
    heads: int = 4
    length: int = 96


class TextEncoder(nn.Module):
    """A transformer over the tokens of `Tokenizer`, trained from nothing.

    Args:
        size: of the transformer.
        values: what each token number says as a number, NaN where it says none.
    """

    values: Tensor

    def __init__(self, size: TextSize, values: Float[Tensor, " w"]) -> None:
        super().__init__()
        self.width = size.width
        self.embedding = nn.Embedding(len(values), size.width, padding_idx=PADDING)
        self.register_buffer("values", _waves(values), persistent=False)
        self.value = nn.Linear(self.values.shape[1], size.width, bias=False)
        self.position = nn.Parameter(torch.randn(size.length, size.width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            size.width, size.heads, 2 * size.width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, size.layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(size.width)
        self.nothing = nn.Parameter(torch.randn(size.width) * 0.02)

    def forward(self, ids: Int64[Tensor, "b n"], keep: Bool[Tensor, " b"]) -> Context:
        """Encode token numbers; rows not kept say nothing."""
        present = ids != PADDING
        h = self.embedding(ids) + self.value(self.values[ids]) + self.position[: ids.shape[1]]
        h = self.norm(self.layers(h, src_key_padding_mask=~present))
        return _without_dropped(h, present, keep, self.nothing)


def _waves(values: Float[Tensor, " w"]) -> Float[Tensor, "w f"]:
    """A number and its logarithm as sines of several lengths, so that near numbers are told alike; 0 for words."""
    turns = torch.cat(
        [values[:, None] / torch.tensor(_LENGTHS), (values[:, None] + 1).log() / torch.tensor(_LOGARITHMS)], 1
    )
    return torch.cat([turns.sin(), turns.cos()], 1).nan_to_num()


class FrozenEncoder(nn.Module):
    """Any encoder in the layout of Hugging Face, from a local folder with safetensors; never trained, never saved.

    It takes the numbers of its own tokenizer (`tokens`). Where tokens are padded is told by the mask.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer  # optional, and takes seconds

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        self._model = [model.eval().requires_grad_(False)]  # in a list: no part of the state to save
        self.width = int(model.config.hidden_size)
        self.nothing = nn.Parameter(torch.randn(self.width) * 0.02)

    def tokens(self, texts: list[str], length: int) -> Int64[Tensor, "b n"]:
        """Token numbers, padded with -1."""
        found = self._tokenizer(texts, truncation=True, max_length=length, padding=True, return_tensors="pt")
        return found["input_ids"].masked_fill(found["attention_mask"] == 0, -1)

    def forward(self, ids: Int64[Tensor, "b n"], keep: Bool[Tensor, " b"]) -> Context:
        """Last hidden states of the frozen model; rows not kept say nothing."""
        model = self._model[0].to(ids.device)
        present = ids >= 0
        with torch.no_grad():
            h = model(input_ids=ids.clamp_min(0), attention_mask=present.long()).last_hidden_state
        return _without_dropped(h.float(), present, keep, self.nothing)


def _without_dropped(
    h: Float[Tensor, "b n d"],
    present: Bool[Tensor, "b n"],
    keep: Bool[Tensor, " b"],
    nothing: Float[Tensor, " d"],
) -> Context:
    """Replace the tokens of rows that are not kept by one that means no text."""
    first = torch.zeros_like(present)
    first[:, 0] = True
    h = torch.where(keep[:, None, None], h, nothing.to(h.dtype))
    return Context(h, torch.where(keep[:, None], present, first))
