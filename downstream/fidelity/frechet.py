"""Fréchet distance between two samples of feature vectors, each taken for a normal distribution.

    d^2 = |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))

Dowson & Landau (1982, doi:10.1016/0047-259X(82)90077-X); Heusel et al. (2017, arXiv:1706.08500) made it the FID. It is computed
once, from mean and covariance over all vectors, and is not additive: a mean of distances of batches is another,
larger number. The estimate is too large for small samples, more so the more features there are, so values
compare only at equal sizes; below `fewest(features)` vectors a covariance is not worth its name and none is computed.
Shrinkage (Ledoit & Wolf 2004, doi:10.1016/S0047-259X(03)00096-4) gives a covariance for fewer, and another figure.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Num

from manifests.errors import InvalidValueError

__all__ = ["VECTORS_PER_FEATURE", "Normal", "fewest", "frechet_distance", "ledoit_wolf"]

VECTORS_PER_FEATURE = 2
"""Vectors that a covariance needs at least, times the number of features."""


@dataclass(frozen=True, slots=True)
class Normal:
    """Mean and covariance of `n` vectors."""

    mean: Float64[np.ndarray, "features"]
    covariance: Float64[np.ndarray, "features features"]
    n: int

    @classmethod
    def of(cls, vectors: Num[np.ndarray, "n features"], *, shrink: bool = False) -> "Normal":
        """Estimate from a sample.

        Args:
            vectors: one row each.
            shrink: whether the covariance is Ledoit and Wolf's; then two vectors are enough.

        Raises:
            InvalidValueError: fewer vectors than `fewest`.
        """
        n, features = vectors.shape
        need = 2 if shrink else fewest(features)
        if n < need:
            raise InvalidValueError(
                "Fréchet distance",
                got=f"{n} vectors of {features} features",
                need=f"at least {need} for a covariance",
                do="Give more cases, or use --shrink, which estimates another, regularised quantity.",
            )
        x = vectors.astype(np.float64)
        covariance = ledoit_wolf(x) if shrink else np.atleast_2d(np.cov(x.T))
        return cls(x.mean(0), covariance, n)


def fewest(features: int) -> int:
    """Vectors below which no covariance of so many features is estimated."""
    return VECTORS_PER_FEATURE * features


def frechet_distance(first: Normal, second: Normal) -> float:
    """Squared Fréchet distance between two normal distributions, at least 0.

    The trace of the root comes from the eigenvalues of R C2 R with R the root of C1: symmetric, so that
    none of them is complex.
    """
    values, vectors = np.linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ second.covariance @ root).clip(0)).sum()
    spread = np.trace(first.covariance) + np.trace(second.covariance) - 2 * cross
    return max(0.0, float(((first.mean - second.mean) ** 2).sum() + spread))


def ledoit_wolf(x: Float64[np.ndarray, "n features"]) -> Float64[np.ndarray, "features features"]:
    """Covariance (over n) drawn to the multiple of the identity by the weight that minimises the expected error."""
    n, features = x.shape
    centred = x - x.mean(0)
    sample = centred.T @ centred / n
    target = np.trace(sample) / features * np.eye(features)
    distance = ((sample - target) ** 2).sum()
    scatter = ((centred**2).sum(1) ** 2).sum() / n**2 - (sample**2).sum() / n
    weight = min(1.0, scatter / distance) if distance > 0 else 1.0
    return np.asarray(weight * target + (1 - weight) * sample)
