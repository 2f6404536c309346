"""Are synthetic cases copies, of real ones or of each other? Nearest neighbours among thumbnails.

The distance of two cases is the root mean square difference of their thumbnails at 16 mm in a fixed window. A case is a
copy if its nearest neighbour is closer than half of what 95 % of real cases keep from each other. A copy that was moved,
bent or recoloured is farther away and is not found.

Authenticity (Alaa et al. 2022, arXiv:2102.08921): the share of synthetic cases that are farther from their nearest real case
than that case is from its own nearest real neighbour. About one half where both come from one population, near
0 for copies, near 1 for images unlike any real one.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int16

__all__ = ["Neighbours", "neighbours"]

WINDOW_HU = (-500, 500)
BLOCK = 2  # thumbnail voxels


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Nearest neighbours, a value for each synthetic case.

    Attributes:
        nearest_real_hu: distance to the nearest real case.
        nearest_other_hu: distance to the nearest other synthetic case.
        copy: whether it is a copy of a real case.
        duplicate: whether it is a copy of another synthetic case.
        authentic: as Alaa et al. define it.
        real_nearest_hu: for each real case, distance to its nearest other real case.
    """

    nearest_real_hu: Float64[np.ndarray, "n"]
    nearest_other_hu: Float64[np.ndarray, "n"]
    copy: Bool[np.ndarray, "n"]
    duplicate: Bool[np.ndarray, "n"]
    authentic: Bool[np.ndarray, "n"]
    real_nearest_hu: Float64[np.ndarray, "m"]


def neighbours(real: list[Int16[np.ndarray, "z y x"]], synthetic: list[Int16[np.ndarray, "z y x"]]) -> Neighbours:
    """Find the nearest neighbours of at least two cases of each kind."""
    r, s = _rows(real), _rows(synthetic)
    among, across, within = _distances(r, r), _distances(s, r), _distances(s, s)
    np.fill_diagonal(among, np.inf)
    np.fill_diagonal(within, np.inf)
    real_nearest = among.min(1)
    limit = np.quantile(real_nearest, 0.05) / 2
    nearest = across.argmin(1)
    return Neighbours(
        nearest_real_hu=across.min(1),
        nearest_other_hu=within.min(1),
        copy=across.min(1) < limit,
        duplicate=within.min(1) < limit,
        authentic=across.min(1) > real_nearest[nearest],
        real_nearest_hu=real_nearest,
    )


def _rows(thumbnails: list[Int16[np.ndarray, "z y x"]]) -> Float64[np.ndarray, "n voxels"]:
    z, y, x = (n // BLOCK for n in thumbnails[0].shape)
    stack = np.stack(thumbnails)[:, : BLOCK * z, : BLOCK * y, : BLOCK * x].clip(*WINDOW_HU).astype(np.float64)
    return np.asarray(stack.reshape(-1, z, BLOCK, y, BLOCK, x, BLOCK).mean((2, 4, 6)).reshape(len(stack), -1))


def _distances(a: Float64[np.ndarray, "n d"], b: Float64[np.ndarray, "m d"]) -> Float64[np.ndarray, "n m"]:
    """Root mean square difference of all pairs of rows."""
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return np.asarray(np.sqrt(squares.clip(0) / a.shape[1]))
