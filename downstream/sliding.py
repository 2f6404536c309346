"""A network over a volume larger than its patch: overlapping tiles, weighted by a Gaussian (Isensee et al. 2021).

As in nnU-Net: tiles overlap by half, the weight falls from the middle of a tile with a standard deviation of an
eighth of its edge, a volume smaller than a tile is filled with zeros. Sums are single precision.
"""

from collections.abc import Callable
from functools import lru_cache
from itertools import product

import numpy as np
from jaxtyping import Float32

__all__ = ["sliding_scores", "tile_weight"]

Network = Callable[[Float32[np.ndarray, "a b c"]], Float32[np.ndarray, "labels a b c"]]
"""Scores of one tile."""

OVERLAP = 0.5
SIGMA = 1 / 8


def sliding_scores(
    network: Network, volume: Float32[np.ndarray, "z y x"], patch_zyx: tuple[int, int, int]
) -> Float32[np.ndarray, "labels z y x"]:
    """Scores at every voxel: the weighted mean over the tiles that hold it."""
    fill = [
        (max(edge - n, 0) // 2, max(edge - n, 0) - max(edge - n, 0) // 2)
        for n, edge in zip(volume.shape, patch_zyx, strict=True)
    ]
    padded = np.pad(volume, fill)
    weight = tile_weight(patch_zyx)
    total: Float32[np.ndarray, "labels a b c"] | None = None
    seen = np.zeros(padded.shape, np.float32)
    for corner in product(*(_starts(n, edge) for n, edge in zip(padded.shape, patch_zyx, strict=True))):
        place = tuple(slice(start, start + edge) for start, edge in zip(corner, patch_zyx, strict=True))
        scores = network(np.ascontiguousarray(padded[place]))
        if total is None:
            total = np.zeros((len(scores), *padded.shape), np.float32)
        total[(slice(None), *place)] += scores * weight
        seen[place] += weight
    assert total is not None
    inside = tuple(slice(low, low + n) for (low, _), n in zip(fill, volume.shape, strict=True))
    return np.asarray((total / seen)[(slice(None), *inside)])


@lru_cache(maxsize=4)
def tile_weight(patch_zyx: tuple[int, int, int]) -> Float32[np.ndarray, "a b c"]:
    """Weight of each voxel of a tile: 1 in the middle, never 0."""
    axes = [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (SIGMA * n)) ** 2) for n in patch_zyx]
    product = axes[0][:, None, None] * axes[1][:, None] * axes[2]
    weight: Float32[np.ndarray, "a b c"] = (product / product.max()).astype(np.float32)
    weight.flags.writeable = False
    return weight


def _starts(length: int, edge: int) -> list[int]:
    """First voxels of tiles that cover an axis evenly and overlap by at least `OVERLAP`."""
    count = 1 + int(np.ceil((length - edge) / (edge * (1 - OVERLAP))))
    return [round((length - edge) * tile / max(count - 1, 1)) for tile in range(count)]
