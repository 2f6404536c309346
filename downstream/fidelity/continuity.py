"""Do neighbouring slices belong together? Steps along z against steps within slices, and the largest of them.

A generator that draws slice by slice leaves steps along z that the anatomy does not have; one that smooths along z
lacks those it has. Voxels are isotropic here, so both directions have the same steps in a body.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int16

__all__ = ["STATISTICS", "continuity"]

STATISTICS = ("z_step_ratio", "z_jump_ratio")
"""Statistics of a case; NaN where the body has no two neighbouring slices."""

LOW_HU, HIGH_HU = -1000, 1000  # metal must not decide


def continuity(ct: Int16[np.ndarray, "z y x"], body: Bool[np.ndarray, "z y x"]) -> dict[str, float]:
    """Compare neighbouring slices of a body with neighbouring lines within them.

    Returns:
        z_step_ratio: mean absolute step along z over that along y and x.
        z_jump_ratio: 95th percentile over pairs of slices of their mean absolute step, over the median.
    """
    values = ct.clip(LOW_HU, HIGH_HU).astype(np.float64)
    steps = [_steps(values, body, axis) for axis in range(3)]
    along_z, within = steps[0], [mean for axis_steps in steps[1:] for mean in axis_steps]
    if not along_z.size or not within:
        return dict.fromkeys(STATISTICS, float("nan"))
    flat = float(np.mean(within))
    middle = float(np.median(along_z))
    return {
        "z_step_ratio": float(along_z.mean()) / flat if flat else float("nan"),
        "z_jump_ratio": float(np.percentile(along_z, 95)) / middle if middle else float("nan"),
    }


def _steps(
    values: Float64[np.ndarray, "z y x"], body: Bool[np.ndarray, "z y x"], axis: int
) -> Float64[np.ndarray, "pairs"]:
    """Mean absolute step of each pair of neighbouring planes, over voxels that are in the body in both."""
    steps = np.abs(np.diff(values, axis=axis))
    low, high = np.delete(body, -1, axis), np.delete(body, 0, axis)
    both = low & high
    others = tuple(other for other in range(3) if other != axis)
    counts = both.sum(others)
    sums = np.where(both, steps, 0).sum(others)
    return np.asarray(sums[counts > 0] / counts[counts > 0])
