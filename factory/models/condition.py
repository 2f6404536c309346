"""What all diffusion models are told: the step, the text, spacing and field of view."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from factory.models.blocks import Context, embed_time
from factory.models.facts import FactReader, Facts, facts_width
from factory.models.injection import Injection, InjectionSize, pooled
from factory.models.view import VIEW_WIDTH, View

__all__ = ["Condition", "Conditioned", "Conditioner"]


@dataclass(frozen=True, eq=False, slots=True)
class Condition:
    """Conditions of a batch.

    Attributes:
        ids: token numbers of the texts, as the model's text encoder reads them.
        keep: rows whose text is told; the others are drawn without text.
        view: spacing and field of view.
    """

    ids: Int64[Tensor, "b n"]
    keep: Bool[Tensor, " b"]
    view: View

    def without_text(self) -> "Condition":
        """The same with no text told, to compare with in classifier-free guidance."""
        return replace(self, keep=torch.zeros_like(self.keep))


class Conditioned(NamedTuple):
    """What a condition becomes: one vector, a context for each level (finest first), and the facts of the text."""

    vector: Float[Tensor, "b v"]
    contexts: list[Context]
    facts: Facts


class Conditioner(nn.Module):
    """Turns a condition into what a U-Net takes.

    Args:
        encoder: `TextEncoder` or `FrozenEncoder`.
        injection: how the text is injected.
        width: of the vector.
        levels: of the U-Net, and how many of them, the coarsest, attend to the text.
        classes: of the anatomy that the facts speak of.
    """

    def __init__(
        self, encoder: nn.Module, injection: InjectionSize, width: int, levels: tuple[int, int], *, classes: int
    ) -> None:
        super().__init__()
        self.width = width
        self.encoder = encoder
        attending = max(1, levels[1])  # the middle always attends
        self.silent_levels = levels[0] - attending
        self.injection = Injection(injection, encoder.width, attending)
        self.facts = FactReader(encoder.width * max(1, injection.queries), classes)
        told = width + VIEW_WIDTH + encoder.width + facts_width(classes)
        self.mix = nn.Sequential(nn.Linear(told, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, t: Int64[Tensor, " b"], condition: Condition) -> Conditioned:
        """Read the text, and join all that is told."""
        text = self.encoder(condition.ids, condition.keep)
        contexts, facts = self._read(text)
        told = torch.cat([embed_time(t, self.width), condition.view.vector(), pooled(text), facts.told()], 1)
        return Conditioned(self.mix(told), [contexts[0]] * self.silent_levels + contexts, facts)

    def read(self, ids: Int64[Tensor, "b n"], keep: Bool[Tensor, " b"] | None = None) -> Facts:
        """The facts of texts alone; of rows not kept, what is to be expected when nothing is told."""
        kept = torch.ones(len(ids), dtype=torch.bool, device=ids.device) if keep is None else keep
        return self._read(self.encoder(ids, kept))[1]

    def settle(self) -> None:
        """Fix all that reads the text: it was learnt from texts, and volumes say too little of words to teach it."""
        kept = {*self.injection.heads.parameters()} if self.injection.queries is not None else set()
        for part in (self.encoder, self.injection, self.facts):
            for parameter in part.parameters():
                parameter.requires_grad_(parameter in kept)

    def _read(self, text: Context) -> tuple[list[Context], Facts]:
        response = self.injection.response(text)
        read = pooled(text) if response is None else response.flatten(1)
        return self.injection.contexts(text, response), self.facts(read)
