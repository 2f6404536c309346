"""What both diffusion models are told: the step, the text, spacing and field of view."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from factory.models.blocks import Context, embed_time
from factory.models.injection import Injection, InjectionSize, pooled
from factory.models.view import VIEW_WIDTH, View

__all__ = ["Condition", "Conditioner"]


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


class Conditioner(nn.Module):
    """Turns a condition into one vector and one context for each level of a U-Net.

    Args:
        encoder: `TextEncoder` or `FrozenEncoder`.
        injection: how the text is injected.
        width: of the vector.
        levels: of the U-Net, and how many of them, the coarsest, attend to the text.
    """

    def __init__(self, encoder: nn.Module, injection: InjectionSize, width: int, levels: tuple[int, int]) -> None:
        super().__init__()
        self.width = width
        self.encoder = encoder
        attending = max(1, levels[1])  # the middle always attends
        self.silent_levels = levels[0] - attending
        self.injection = Injection(injection, encoder.width, attending)
        self.mix = nn.Sequential(
            nn.Linear(width + VIEW_WIDTH + encoder.width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )

    def forward(self, t: Int64[Tensor, " b"], condition: Condition) -> tuple[Float[Tensor, "b v"], list[Context]]:
        """The vector, and the contexts by level, finest first."""
        text = self.encoder(condition.ids, condition.keep)
        told = torch.cat([embed_time(t, self.width), condition.view.vector(), pooled(text)], 1)
        contexts = self.injection(text)
        return self.mix(told), [contexts[0]] * self.silent_levels + contexts
