"""Disturbances of the finished image: calibration errors, and what only the dial `randomise` brings.

At the dial's end contrast, gamma and a smooth bias change as in SynthSeg (Billot 2023 Med Image
Anal), within limits that keep air, fat, soft tissue and bone apart; at 0 nothing but calibration remains.
"""

import numpy as np
from jaxtyping import Float32

from factory.engines.texture.fields import spline
from factory.engines.texture.protocol import Protocol
from factory.engines.texture.scene import Scene

__all__ = ["disturb", "tone_curve"]

_BIAS_MM = 150.0
_BIAS_HU = 14.0
_NODES_HU = (-1100.0, -1000.0, -850.0, -100.0, 40.0, 200.0, 700.0, 3100.0)


def disturb(hu: Float32[np.ndarray, "z y x"], scene: Scene, protocol: Protocol) -> None:
    """Apply calibration, then, as far as the dial says, a tone curve and a smooth bias, in place."""
    dial, rng = scene.request.randomise, scene.rng("disturb")
    hu *= np.float32(protocol.scale)
    hu += np.float32(protocol.offset_hu + 1000 * (protocol.scale - 1))
    if dial <= 0:
        return
    nodes, values = tone_curve(dial, rng)
    table = np.interp(np.arange(-1200, 3201), nodes, values).astype(np.float32)
    index = np.clip(np.rint(hu), -1200, 3200).astype(np.int16) + np.int16(1200)
    hu += table[index] - (index - np.float32(1200))
    axes = [
        spline(n, max(_BIAS_MM / step, 1.0), 0.0) for n, step in zip(hu.shape, scene.grid.spacing_mm_zyx, strict=True)
    ]
    lattice = rng.standard_normal([axis.shape[1] for axis in axes]).astype(np.float32)
    lattice *= np.float32(_BIAS_HU * dial)
    plane = np.einsum("zi,ijk->zjk", axes[0].toarray(), lattice)
    rows, columns = axes[1].toarray(), axes[2].toarray()
    for z in range(hu.shape[0]):
        bias = rows @ plane[z] @ columns.T
        hu[z] += bias * np.clip((hu[z] + 1000) / 1000, 0, 1.5)


def tone_curve(dial: float, rng: np.random.Generator) -> tuple[Float32[np.ndarray, " n"], Float32[np.ndarray, " n"]]:
    """Draw a rising curve from true to shown HU: air and fat move a little, contrast and bone more.

    Returns:
        Nodes and their values in HU; with the dial at 0 they are equal.
    """
    nodes = np.array(_NODES_HU, np.float32)
    slopes = np.exp(np.clip(rng.standard_normal(len(nodes) - 1), -1.5, 1.5) * dial * 0.22)
    rises = np.diff(nodes) * slopes
    values = np.concatenate([[0.0], np.cumsum(rises)])
    # soft tissue at 40 HU moves by itself, not by the sum of what lies below
    values += 40.0 + 12.0 * dial * rng.standard_normal() - values[4]
    # air stays air
    values[:3] = nodes[:3]
    values[3] = np.clip(values[3], -180.0, values[4] - 50.0)
    return nodes, np.maximum.accumulate(values).astype(np.float32)
