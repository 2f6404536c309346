"""Several networks as one, whose scores are the mean of theirs: what each got wrong by chance, the others outvote."""

from collections.abc import Sequence

import torch

__all__ = ["Averaged", "averaged"]


class Averaged(torch.nn.Module):  # type: ignore[misc]
    """The mean of the scores of networks.

    Args:
        members: networks with one kind of input and answer.
    """

    def __init__(self, members: Sequence[torch.nn.Module]) -> None:
        super().__init__()
        self.members = torch.nn.ModuleList(members)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Scores (patches, labels, z, y, x) of values (patches, channels, z, y, x)."""
        first, *others = self.members
        scores: torch.Tensor = first(values)
        for member in others:
            scores = scores + member(values)
        return scores / len(self.members)


def averaged(members: Sequence[torch.nn.Module]) -> torch.nn.Module:
    """One network for several; a single one as it is."""
    return Averaged(members) if len(members) > 1 else members[0]
