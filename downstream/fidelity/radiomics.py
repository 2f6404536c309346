"""Radiomic features of a structure, in four families: first order, shape, co-occurrence, run lengths.

Names and definitions are PyRadiomics' (`textures.py` says which); what grows with the number of voxels alone
(energy, total energy) is left out. Two deviations: volume counts voxels, where PyRadiomics measures the mesh, and the
covariance behind the axes divides by n - 1, as the standardisation initiative has it. The surface is that of
`surfels.py`, marching cubes.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int16, Int64
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from downstream import surfels
from downstream.fidelity.textures import discretise, glcm_features, glrlm_features

__all__ = ["BIN_HU", "FAMILIES", "Features", "radiomic_features"]

FAMILIES = ("firstorder", "shape", "glcm", "glrlm")
"""Families of features, in the order they are computed."""

BIN_HU = 25.0
"""Width of a grey level, PyRadiomics' default."""

Spacing = tuple[float, float, float]
Features = dict[str, dict[str, float]]
"""Values by family and name."""


def radiomic_features(
    ct_hu: Int16[np.ndarray, "z y x"], mask: Bool[np.ndarray, "z y x"], spacing_mm_zyx: Spacing
) -> Features:
    """Describe a structure that has at least one voxel."""
    levels = discretise(ct_hu, mask, BIN_HU)
    return {
        "firstorder": _first_order(ct_hu[mask].astype(np.float64), levels[mask]),
        "shape": _shape(mask, spacing_mm_zyx),
        "glcm": glcm_features(levels),
        "glrlm": glrlm_features(levels),
    }


def _first_order(x: Float64[np.ndarray, "n"], levels: Int64[np.ndarray, "n"]) -> dict[str, float]:
    """Statistics of the HU; kurtosis is 3 for a normal distribution."""
    p10, p25, p50, p75, p90 = np.percentile(x, [10, 25, 50, 75, 90])
    inner = x[(x >= p10) & (x <= p90)]
    mean, variance = x.mean(), x.var()
    share = np.bincount(levels)[1:] / x.size
    share = share[share > 0]
    centred = (x - mean) / np.sqrt(variance) if variance > 0 else np.zeros_like(x)
    return {
        "10Percentile": float(p10),
        "90Percentile": float(p90),
        "Entropy": float(-(share * np.log2(share)).sum()),
        "InterquartileRange": float(p75 - p25),
        "Kurtosis": float((centred**4).mean()),
        "Maximum": float(x.max()),
        "Mean": float(mean),
        "MeanAbsoluteDeviation": float(np.abs(x - mean).mean()),
        "Median": float(p50),
        "Minimum": float(x.min()),
        "Range": float(np.ptp(x)),
        "RobustMeanAbsoluteDeviation": float(np.abs(inner - inner.mean()).mean()),
        "RootMeanSquared": float(np.sqrt((x**2).mean())),
        "Skewness": float((centred**3).mean()),
        "Uniformity": float((share**2).sum()),
        "Variance": float(variance),
    }


def _shape(mask: Bool[np.ndarray, "z y x"], spacing_mm_zyx: Spacing) -> dict[str, float]:
    """Size and form; the axes are those of an ellipsoid with the same covariance of voxel centres."""
    spacing = np.array(spacing_mm_zyx)
    centres = np.argwhere(mask) * spacing
    volume = len(centres) * float(spacing.prod())
    area = float(surfels.areas_mm2(spacing_mm_zyx)[surfels.codes(np.ascontiguousarray(mask))].sum())
    covariance = np.cov(centres.T) if len(centres) > 1 else np.zeros((3, 3))
    least, minor, major = np.sqrt(np.linalg.eigvalsh(covariance).clip(0))
    return {
        "VoxelVolume": volume,
        "SurfaceArea": area,
        "SurfaceVolumeRatio": area / volume,
        "Sphericity": float((36 * np.pi * volume**2) ** (1 / 3) / area),
        "Maximum3DDiameter": _largest_diameter_mm(mask, spacing),
        "MajorAxisLength": float(4 * major),
        "MinorAxisLength": float(4 * minor),
        "LeastAxisLength": float(4 * least),
        "Elongation": float(minor / major) if major > 0 else 1.0,
        "Flatness": float(least / major) if major > 0 else 1.0,
    }


def _largest_diameter_mm(mask: Bool[np.ndarray, "z y x"], spacing: Float64[np.ndarray, "3"]) -> float:
    """Longest distance between vertices of the surface, which lie halfway between a voxel inside and one outside."""
    padded = np.pad(mask, 1)
    vertices = []
    for axis in range(3):
        place = np.argwhere(np.diff(padded, axis=axis)).astype(np.float64)
        place[:, axis] += 0.5
        vertices.append(place)
    points = np.concatenate(vertices) * spacing
    return float(pdist(points[ConvexHull(points).vertices]).max())
