"""Texture matrices of a structure and their features: grey level co-occurrence (GLCM) and run lengths (GLRLM).

Definitions and names are PyRadiomics' (van Griethuysen et al. 2017, doi:10.1158/0008-5472.CAN-17-0339), which are those of
the image biomarker standardisation initiative (Zwanenburg et al. 2020, doi:10.1148/radiol.2020191145): grey levels
are bins of fixed width, neighbours lie one voxel away in 13 directions, a feature is computed in each direction and
averaged. The initiative's digital phantom is the oracle of the tests.

All directions are computed at once: pairs by one count over products of levels, runs by following every run of a
direction one step further until the last has ended.
"""

from itertools import product

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer, Num

__all__ = ["DIRECTIONS", "discretise", "glcm_features", "glrlm_features"]

DIRECTIONS = tuple(step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 0))
"""One of each pair of opposite steps to the 26 neighbours, (z, y, x)."""


def discretise(
    values: Num[np.ndarray, "z y x"], mask: Bool[np.ndarray, "z y x"], width: float
) -> Int64[np.ndarray, "z y x"]:
    """Grey levels from 1 inside the mask, 0 outside; the edges of the bins are multiples of the width.

    The mask has a voxel.
    """
    bins = np.floor(values[mask] / width).astype(np.int64)
    levels = np.zeros(values.shape, np.int64)
    levels[mask] = bins - bins.min() + 1
    return levels


def glcm_features(levels: Integer[np.ndarray, "z y x"]) -> dict[str, float]:
    """Features of the co-occurrence matrices of grey levels (0 = outside), averaged over directions.

    A structure without two neighbouring voxels has none: all NaN. Haralick et al. 1973; IBSI 3.6.
    """
    p = _cooccurrence(levels)
    features = _weighted_sums(p) | _informations(p)
    return {name: float(values.mean()) if values.size else float("nan") for name, values in features.items()}


def glrlm_features(levels: Integer[np.ndarray, "z y x"]) -> dict[str, float]:
    """Features of the run length matrices of grey levels (0 = outside), averaged over directions.

    Some voxel is inside. Galloway 1975; IBSI 3.7.
    """
    counts, voxels = _runs(levels), np.count_nonzero(levels)
    runs = counts.sum((1, 2))
    i2 = np.arange(1.0, counts.shape[1] + 1)[:, None] ** 2
    j2 = np.arange(1.0, counts.shape[2] + 1) ** 2
    by_level, by_length = counts.sum(2), counts.sum(1)

    def over(weight: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "d"]:
        return np.asarray((counts * weight).sum((1, 2)) / runs)

    features = {
        "ShortRunEmphasis": over(1 / j2),
        "LongRunEmphasis": over(j2),
        "GrayLevelNonUniformity": (by_level**2).sum(1) / runs,
        "GrayLevelNonUniformityNormalized": (by_level**2).sum(1) / runs**2,
        "RunLengthNonUniformity": (by_length**2).sum(1) / runs,
        "RunLengthNonUniformityNormalized": (by_length**2).sum(1) / runs**2,
        "RunPercentage": runs / voxels,
        "GrayLevelVariance": over(i2) - over(np.sqrt(i2)) ** 2,
        "RunVariance": over(j2) - over(np.sqrt(j2)) ** 2,
        "RunEntropy": _entropy(counts / runs[:, None, None]),
        "LowGrayLevelRunEmphasis": over(1 / i2),
        "HighGrayLevelRunEmphasis": over(i2),
        "ShortRunLowGrayLevelEmphasis": over(1 / (i2 * j2)),
        "ShortRunHighGrayLevelEmphasis": over(i2 / j2),
        "LongRunLowGrayLevelEmphasis": over(j2 / i2),
        "LongRunHighGrayLevelEmphasis": over(i2 * j2),
    }
    return {name: float(values.mean()) for name, values in features.items()}


def _weighted_sums(p: Float64[np.ndarray, "d n n"]) -> dict[str, Float64[np.ndarray, "d"]]:
    """Features that are means of a weight under the matrix."""
    n = p.shape[1]
    i, j = (axis + 1.0 for axis in np.indices((n, n)))
    apart = np.abs(i - j)
    marginal, level = p.sum(2), np.arange(1.0, n + 1)
    mean = marginal @ level
    variance = (marginal * (level - mean[:, None]) ** 2).sum(1)
    together = i + j - 2 * mean[:, None, None]

    def over(weight: Float64[np.ndarray, "..."]) -> Float64[np.ndarray, "d"]:
        return np.asarray((p * weight).sum((1, 2)))

    autocorrelation, difference = over(i * j), over(apart)
    return {
        "Autocorrelation": autocorrelation,
        "JointAverage": mean,
        "ClusterProminence": over(together**4),
        "ClusterShade": over(together**3),
        "ClusterTendency": over(together**2),
        "Contrast": over(apart**2),
        "Correlation": _ratio(autocorrelation - mean**2, variance, 1.0),
        "DifferenceAverage": difference,
        "DifferenceVariance": over(apart**2) - difference**2,
        "JointEnergy": over(p),
        "Idm": over(1 / (1 + apart**2)),
        "Idmn": over(1 / (1 + apart**2 / n**2)),
        "Id": over(1 / (1 + apart)),
        "Idn": over(1 / (1 + apart / n)),
        "InverseVariance": over(np.divide(1.0, apart**2, where=apart > 0, out=np.zeros_like(apart))),
        "MaximumProbability": p.max((1, 2), initial=0.0),
        "SumSquares": variance,
    }


def _informations(p: Float64[np.ndarray, "d n n"]) -> dict[str, Float64[np.ndarray, "d"]]:
    """Features that are entropies: of the matrix, its marginal, its sums i + j and differences |i - j|."""
    n = p.shape[1]
    i, j = np.indices((n, n))
    marginal = p.sum(2)
    crossed = marginal[:, :, None] * marginal[:, None, :]
    surprise = -np.log2(crossed, where=crossed > 0, out=np.zeros_like(crossed))
    joint = _entropy(p)
    return {
        "DifferenceEntropy": _entropy(_gathered(p, np.abs(i - j), n)),
        "JointEntropy": joint,
        "Imc1": _ratio(joint - (p * surprise).sum((1, 2)), _entropy(marginal), 0.0),
        "Imc2": np.sqrt((1 - np.exp(-2 * (_entropy(crossed) - joint))).clip(0)),
        "SumEntropy": _entropy(_gathered(p, i + j, 2 * n - 1)),
    }


def _cooccurrence(levels: Integer[np.ndarray, "z y x"]) -> Float64[np.ndarray, "directions n n"]:
    """Symmetric matrices, each of sum 1; a direction without a pair is left out."""
    n = int(levels.max())
    found = []
    for step in DIRECTIONS:
        here, there = zip(*(_overlap(length, by) for length, by in zip(levels.shape, step, strict=True)), strict=True)
        a, b = levels[here].ravel(), levels[there].ravel()
        both = (a > 0) & (b > 0)
        counts = np.bincount((a[both] - 1) * n + b[both] - 1, minlength=n * n).reshape(n, n)
        if total := 2 * counts.sum():
            found.append((counts + counts.T) / total)
    return np.array(found).reshape(-1, n, n)


def _overlap(length: int, by: int) -> tuple[slice, slice]:
    """Where voxels with a neighbour one step away lie along an axis, and where those neighbours do."""
    if by == 0:
        return slice(None), slice(None)
    near, far = slice(0, length - 1), slice(1, length)
    return (near, far) if by > 0 else (far, near)


def _runs(levels: Integer[np.ndarray, "z y x"]) -> Float64[np.ndarray, "directions n lengths"]:
    """Number of runs of each level and length."""
    padded = np.pad(levels, 1)
    flat = padded.ravel()
    strides = np.array([padded.shape[1] * padded.shape[2], padded.shape[2], 1])
    voxels, n, longest = np.flatnonzero(flat), int(levels.max()), max(levels.shape)
    found = np.zeros((len(DIRECTIONS), n, longest))
    for direction, step in enumerate(DIRECTIONS):
        stride = int(strides @ step)
        place = voxels[flat[voxels - stride] != flat[voxels]]  # a run starts where the voxel before differs
        for length in range(longest):
            following = place + stride
            goes_on = flat[following] == flat[place]
            found[direction, :, length] = np.bincount(flat[place[~goes_on]] - 1, minlength=n)
            place = following[goes_on]
            if not place.size:
                break
    return found


def _gathered(
    p: Float64[np.ndarray, "d n n"], index: Int64[np.ndarray, "n n"], count: int
) -> Float64[np.ndarray, "d count"]:
    """Sum each matrix over the entries that share an index."""
    sums = [np.bincount(index.ravel(), matrix.ravel(), minlength=count) for matrix in p]
    return np.array(sums).reshape(len(p), count)


def _entropy(p: Float64[np.ndarray, "d ..."]) -> Float64[np.ndarray, "d"]:
    """Entropy in bits over all but the first axis."""
    terms = p * np.log2(p, where=p > 0, out=np.zeros_like(p))
    return -np.asarray(terms.sum(tuple(range(1, p.ndim))))


def _ratio(above: Float64[np.ndarray, "d"], below: Float64[np.ndarray, "d"], flat: float) -> Float64[np.ndarray, "d"]:
    """Quotient, or `flat` where there is one grey level alone."""
    quotient: Float64[np.ndarray, "d"] = np.divide(above, below, where=below > 1e-12, out=np.full_like(above, flat))
    return quotient
