"""What a text says, in numbers: a short list that a network reads off its own text encoder.

The diffusion loss teaches words slowly: a tumour is a few voxels among many. So the same encoder also
answers questions whose answers the prompt knows (which structures are there, where tumours lie, phase,
count, size, age, height, weight). A text costs nothing beside a volume, so thousands are read for each.
The answers join what conditions the networks, and say at each voxel whether its structure is asked to bear a tumour.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["FILLED", "LOOKS", "NUMBERS", "PHASES", "SCALES", "FactReader", "Facts", "facts_width"]

PHASES = 4
_LIKELY = ((0.0, 6.0), (-3.0, 3.0))
"""Range of the numbers of tumours and of size as read; what lies beyond is misread."""
FILLED = 0.5
"""Share of the ball of a lesion's largest axial diameter that it fills: the median of 911 lesions of phantoms."""
SCALES = ((0.0, 1.0), (math.log(30), 0.5), (60.0, 15.0), (170.0, 10.0), (75.0, 15.0))
"""Middle and unit of each number that is read: log2 of the tumours, log of the first one's size in mm, years, cm and kg."""
NUMBERS = len(SCALES)
LOOKS = PHASES + NUMBERS
"""How many answers speak of the looks of the whole patient."""


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
        numbers: see `SCALES`.
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
        """How many tumours are asked for, if any."""
        return 2 ** self._number(0)

    @property
    def any_tumour(self) -> Float[Tensor, " b"]:
        """Chance that a tumour is asked for."""
        return self.tumour.sigmoid().sum(1).clamp_max(1)

    def lesion_voxels(self, voxel_ml: float) -> Float[Tensor, " b"]:
        """How many voxels of lesion are asked for: tumours of the size of the first, each of one voxel at least."""
        each = FILLED * math.pi / 6 * self.size_mm**3 / 1000 / voxel_ml
        return self.any_tumour * self.tumours * each.clamp_min(1)

    @property
    def size_mm(self) -> Float[Tensor, " b"]:
        """Largest axial diameter that is asked of the first tumour, if any is asked."""
        return self._number(1).exp()

    def _number(self, which: int) -> Float[Tensor, " b"]:
        middle, unit = SCALES[which]
        return self.numbers[:, which].clamp(*_LIKELY[which]) * unit + middle

    @property
    def looks(self) -> Float[Tensor, "b f"]:
        """Chances of the phases, and the numbers."""
        return torch.cat([self.phase.softmax(1), self.numbers.clamp(-3, 3)], 1)

    def told(self) -> Float[Tensor, "b f"]:
        """The same as probabilities and numbers, for the networks to read."""
        return torch.cat([self.present.sigmoid(), self.tumour.sigmoid(), self.enlarged.sigmoid(), self.looks], 1)


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
