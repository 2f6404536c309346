"""Scores of many classes at every voxel as rows, one for each voxel, that are worked on a few at a time.

A hundred classes make volumes of scores large: each pass over one waits for memory, and each new one for pages that the system
clears. A thousand rows stay in a processor's cache from the first operation on them to the last.
"""

from jaxtyping import Float
from torch import Tensor

__all__ = ["few", "rows"]

_FEW = 1024


def rows(scores: Float[Tensor, "b k *space"]) -> Float[Tensor, "n k"]:
    """The scores of each voxel side by side: a view where they are so already, as networks give them."""
    return scores.movedim(1, -1).flatten(0, -2)


def few(values: Tensor, axis: int = 0) -> tuple[Tensor, ...]:
    """Parts of what has a voxel for each index along an axis; on anything but a CPU all of it, where each launch costs."""
    return values.split(_FEW if values.device.type == "cpu" else values.shape[axis], axis)
