"""What a text says, in numbers: a short list that a network reads off its own text encoder.

The diffusion loss teaches words slowly: a tumour is a few voxels among many. So the same encoder also
answers questions whose answers the prompt knows (which structures are there, where tumours lie, phase,
count, size, age, height, weight). A text costs nothing beside a volume, so thousands are read for each.
The answers join what conditions the networks, and say at each voxel whether its structure is asked to bear a tumour.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["NUMBERS", "PHASES", "FactReader", "Facts", "facts_width"]

PHASES = 4
NUMBERS = 5
"""Numbers read: tumours (log2), size, age, height, weight, each scaled to about -1 to 1."""


def facts_width(classes: int) -> int:
    """How many answers there are."""
    return 3 * classes + PHASES + NUMBERS


@dataclass(frozen=True, eq=False, slots=True)
class Facts:
    """Answers for a batch of texts.

    Attributes:
        present: logit that each class of the anatomy is there.
        tumour: logit that it bears a tumour.
        enlarged: logit that it is larger than usual.
        phase: logits of the contrast phase.
        numbers: see `NUMBERS`.
    """

    present: Float[Tensor, "b k"]
    tumour: Float[Tensor, "b k"]
    enlarged: Float[Tensor, "b k"]
    phase: Float[Tensor, "b p"]
    numbers: Float[Tensor, "b n"]

    @classmethod
    def of(cls, answers: Float[Tensor, "b f"], classes: int) -> "Facts":
        """Split what one layer gave."""
        return cls(*answers.float().split([classes, classes, classes, PHASES, NUMBERS], 1))

    @property
    def tumours(self) -> Float[Tensor, " b"]:
        """How many tumours are asked for."""
        return 2 ** self.numbers[:, 0]

    def told(self) -> Float[Tensor, "b f"]:
        """The same as probabilities and numbers, for the networks to read."""
        chances = (self.present.sigmoid(), self.tumour.sigmoid(), self.enlarged.sigmoid(), self.phase.softmax(1))
        return torch.cat([*chances, self.numbers.clamp(-3, 3)], 1)


class FactReader(nn.Module):
    """Reads facts off the responses to the learned queries, or off the mean token where there are none."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.answer = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * facts_width(classes)), nn.GELU(),
            nn.Linear(2 * facts_width(classes), facts_width(classes)),
        )  # fmt: skip

    def forward(self, read: Float[Tensor, "b w"]) -> Facts:
        """Answer from what was read of each text."""
        return Facts.of(self.answer(read), self.classes)
