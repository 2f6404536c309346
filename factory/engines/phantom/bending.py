"""Slow waves that bend a shape: coordinates moved by sines before a shape is evaluated."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, Float64

from factory.engines.phantom.shapes import Number

__all__ = ["bent", "turned"]

Volume = Float32[np.ndarray, "z y x"]
XYZ = tuple[Volume, Volume, Volume]


def bent(xyz: XYZ, centre_mm: Sequence[Number], phases: Sequence[float], size_mm: Number, length_mm: Number) -> XYZ:
    """Displace coordinates by one plane wave along each axis; the centre stays where it is.

    Each wave runs across its axis, so volume is kept but for the product of the slopes.

    Args:
        xyz: coordinate arrays.
        centre_mm: the point that does not move.
        phases: one phase in radians for each axis; none leaves the coordinates as they are.
        size_mm: amplitude; folds are impossible while 2 pi size / length stays under 1.
        length_mm: wavelength.
    """
    if not phases:
        return xyz
    turn, size = np.float32(2 * np.pi / length_mm), np.float32(size_mm)
    rel = [(v - np.float32(c)) * turn for v, c in zip(xyz, centre_mm, strict=True)]
    moved = []
    for axis, phase in enumerate(phases):
        along = 0.8 * rel[(axis + 1) % 3] + 0.6 * rel[(axis + 2) % 3]
        moved.append(xyz[axis] + size * (np.sin(along + np.float32(phase)) - np.float32(np.sin(phase))))
    return moved[0], moved[1], moved[2]


def turned(yaw: Number, pitch: Number, roll: Number) -> Float64[np.ndarray, "3 3"]:
    """Rotation about z (yaw), x (pitch) and y (roll), in degrees; rows are the turned axes."""
    a, b, c = np.radians([yaw, pitch, roll])
    about_z = np.array([[np.cos(a), np.sin(a), 0], [-np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    about_y = np.array([[np.cos(c), 0, -np.sin(c)], [0, 1, 0], [np.sin(c), 0, np.cos(c)]])
    return np.asarray(about_z @ about_x @ about_y)
