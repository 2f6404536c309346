"""Where a lesion starts: seeds in its site, by how much room there is and how the kind of lesion lies.

Scores come from box means over the site, so all voxels of a site are judged at once.
"""

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from factory.engines.lesions.shape import Style

__all__ = ["SEEDS", "draw_seeds"]

SEEDS = 4
"""Places tried for one lesion."""

_WINDOW = 0.7
"""Edge of the box mean as a fraction of the lesion's diameter."""
_TOLERANCES = (0.15, 0.08, 0.03, 0.0)
"""How far below the best score a seed may lie, from the first try to the last: variety, then room."""
_HALF_OUT = 0.55
"""Share of the site around the seed of an exophytic lesion."""


def draw_seeds(
    site: Bool[np.ndarray, "z y x"],
    price: Float32[np.ndarray, "z y x"],
    window_zyx: tuple[float, float, float],
    style: Style,
    rng: np.random.Generator,
) -> list[tuple[int, int, int]]:
    """Draw starting voxels for one lesion, most varied first, roomiest last; empty if none is free.

    Args:
        site: voxels of the site in a box around it.
        price: price of each voxel of the box; infinite = never.
        window_zyx: the lesion's diameter in voxels along each axis.
        style: growth form of the lesion.
        rng: draws among places of similar score.
    """
    free = site & np.isfinite(price)
    if not free.any():
        return []
    size = [max(1, 2 * int(_WINDOW * n / 2) + 1) for n in window_zyx]
    room = ndimage.uniform_filter(np.isfinite(price).astype(np.float32), size, mode="constant")
    inside = ndimage.uniform_filter(site.astype(np.float32), size, mode="constant")
    score = 2.0 * room + _wish(style.form, site, inside)
    score[~free] = -np.inf
    best = score.max()
    seeds = []
    for tolerance in _TOLERANCES[:SEEDS]:
        places = np.argwhere(score >= best - tolerance - 1e-6)
        z, y, x = places[rng.integers(len(places))]
        seeds.append((int(z), int(y), int(x)))
    return seeds


def _wish(form: str, site: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """What a form of lesion prefers: the surface, half outside, or deep inside."""
    if form in ("polypoid", "annular"):
        wall = site & ~ndimage.binary_erosion(site, border_value=1)
        return np.where(wall, np.float32(0.5), np.float32(0.0)) + 0.3 * inside
    if form == "exophytic":
        return -np.abs(inside - _HALF_OUT)
    return inside
