"""Implicit shapes: functions of position that are negative inside and close to mm near the surface.

Smooth minimum and maximum are the polynomial ones of Quilez ("smooth minimum", 2008): they
blend two surfaces over `blend_mm` instead of leaving a crease.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float, Float32, Float64
from scipy.interpolate import PchipInterpolator

__all__ = ["Number", "Profile", "capsule", "ellipsoid", "oval", "smooth_max", "smooth_min"]

Number = int | float
Volume = Float32[np.ndarray, "z y x"]


class Profile:
    """A smooth function of one coordinate through given values, constant beyond the ends.

    It is tabulated at half-millimetre steps: exact to micrometres here, and fast.
    """

    def __init__(self, knots: Mapping[Number, Number]) -> None:
        places, values = zip(*sorted(knots.items()), strict=True)
        self._tabulate(PchipInterpolator(places, values), (places[0], places[-1]))

    @classmethod
    def of(
        cls, function: Callable[[Float64[np.ndarray, " n"]], Float[np.ndarray, " n"]], ends: tuple[Number, Number]
    ) -> "Profile":
        """Tabulate any function between two ends, such as a product of profiles."""
        profile = cls.__new__(cls)
        profile._tabulate(function, ends)
        return profile

    def _tabulate(
        self, function: Callable[[Float64[np.ndarray, " n"]], Float[np.ndarray, " n"]], ends: tuple[Number, Number]
    ) -> None:
        self._at = np.linspace(ends[0], ends[1], int(2 * (ends[1] - ends[0])) + 1)
        self._value = np.asarray(function(self._at), np.float64)

    def __call__(self, at: Float[np.ndarray, "..."]) -> Float32[np.ndarray, "..."]:
        """Evaluate at all positions."""
        return np.asarray(np.interp(at, self._at, self._value), np.float32)

    def value(self, at: Number) -> float:
        """Evaluate at one position."""
        return float(np.interp(at, self._at, self._value))


def smooth_min(a: Volume, b: Volume, blend_mm: Number) -> Volume:
    """Unite two shapes with a fillet."""
    h = np.maximum(blend_mm - np.abs(a - b), 0.0) / blend_mm
    return np.asarray(np.minimum(a, b) - h * h * np.float32(blend_mm / 4))


def smooth_max(a: Volume, b: Volume, blend_mm: Number) -> Volume:
    """Intersect two shapes with a rounded edge."""
    h = np.maximum(blend_mm - np.abs(a - b), 0.0) / blend_mm
    return np.asarray(np.maximum(a, b) + h * h * np.float32(blend_mm / 4))


def ellipsoid(
    xyz: tuple[Volume, Volume, Volume],
    centre_mm: tuple[Number, Number, Number],
    axes_mm: tuple[Number, Number, Number],
    turn: Float[np.ndarray, "3 3"] | None = None,
) -> Volume:
    """Approximate distance in mm to an ellipsoid, exact on its axes.

    Args:
        xyz: coordinate arrays.
        centre_mm: its centre.
        axes_mm: its half axes.
        turn: rows are the directions of the axes; none for those of the patient.
    """
    rel = [np.asarray(v - np.float32(c)) for v, c in zip(xyz, centre_mm, strict=True)]
    if turn is not None:
        m = turn.astype(np.float32)
        rel = [m[i, 0] * rel[0] + m[i, 1] * rel[1] + m[i, 2] * rel[2] for i in range(3)]
    squares = [r * r for r in rel]
    unit = sum((s * np.float32(1 / a**2) for s, a in zip(squares, axes_mm, strict=True)), start=np.float32(1e-12))
    slope = sum((s * np.float32(1 / a**4) for s, a in zip(squares, axes_mm, strict=True)), start=np.float32(1e-16))
    root = np.sqrt(unit)
    # first-order distance f / |grad f| of f = |p / axes| - 1 (Taubin 1991); near the centre it is bounded
    return np.asarray(np.maximum((root - 1) * root / np.sqrt(slope), -np.float32(min(axes_mm))), np.float32)


def oval(
    u: Float[np.ndarray, "..."],
    v: Float[np.ndarray, "..."],
    radii_mm: tuple[Float[np.ndarray, "..."] | Number, Float[np.ndarray, "..."] | Number],
    power: Float[np.ndarray, "..."] | float = 2.0,
) -> Float32[np.ndarray, "..."]:
    """Distance in mm along the ray from the centre to the superellipse |u/a|^p + |v/b|^p = 1."""
    norm = (np.abs(u / radii_mm[0]) ** power + np.abs(v / radii_mm[1]) ** power) ** (1 / power)
    return np.asarray(np.hypot(u, v) * (1 - 1 / np.maximum(norm, 1e-3)), np.float32)


def capsule(
    xyz: tuple[Volume, Volume, Volume],
    ends_mm: tuple[tuple[Number, Number, Number], tuple[Number, Number, Number]],
    radius_mm: Number,
) -> Volume:
    """Distance in mm to a straight rod with round ends."""
    start, end = (np.asarray(e, np.float32) for e in ends_mm)
    axis = end - start
    rel = [v - s for v, s in zip(xyz, start, strict=True)]
    dot = sum((r * a for r, a in zip(rel, axis, strict=True)), start=np.float32(0))
    t = np.clip(dot / max(float(axis @ axis), 1e-6), 0, 1)
    square = sum(((r - t * a) ** 2 for r, a in zip(rel, axis, strict=True)), start=np.float32(0))
    return np.asarray(np.sqrt(square) - np.float32(radius_mm), np.float32)
