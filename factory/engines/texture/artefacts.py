"""Artefacts of a scan: bands between dense bones, stars around metal, motion."""

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from factory.engines.texture.fields import spline
from factory.engines.texture.scene import Scene

__all__ = ["harden", "radiate", "stir"]

_COARSE = 4
_BONE_HU, _METAL_HU = 150.0, 2300.0
_BAND_MM = 7.0
_FAR_MM = 80.0
_RAYS = 48
_RATE = 0.25
"""Share of scans in which breathing or the heart doubles contours (chosen)."""


def harden(hu: Float32[np.ndarray, "z y x"], spacing_mm: tuple[float, float, float], per_mm: float) -> None:
    """Darken in place what lies between two dense objects of a row, as beam hardening does.

    The loss grows with the smaller of the bone lengths on both sides, in mm of bone of 1100 HU, times
    `per_mm` in HU. Bands are computed on every fourth voxel of a row and column.
    """
    dense = np.maximum(hu[:, ::_COARSE, ::_COARSE] - np.float32(_BONE_HU), 0)
    dense *= np.float32(0.001 * _COARSE * spacing_mm[2])
    before = np.cumsum(dense, axis=2)
    between = np.minimum(before, before[:, :, -1:] - before)
    loss = ndimage.gaussian_filter1d(between, _BAND_MM / spacing_mm[1] / _COARSE, axis=1, mode="nearest")
    loss *= np.float32(-per_mm)
    np.maximum(loss, -250, out=loss)
    rows, columns = (spline(n, float(_COARSE), 0.0, unit="sum") for n in hu.shape[1:])
    for z in np.flatnonzero(loss.min(axis=(1, 2)) < -2.0):
        padded = np.pad(loss[z], ((1, 3), (1, 3)), mode="edge")[: rows.shape[1], : columns.shape[1]]
        band = rows @ (columns @ padded.T).T
        hu[z] += np.where(hu[z] > -900, band, 0)


def radiate(hu: Float32[np.ndarray, "z y x"], spacing_mm: tuple[float, float, float], rng: np.random.Generator) -> None:
    """Let streaks radiate from metal, in place; the larger the metal, the stronger and the wider."""
    metal = hu > _METAL_HU
    if not metal.any():
        return
    labels, _ = ndimage.label(metal, np.ones((3, 3, 3)))
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            _star(hu, box[0], labels[box[0]] == number, (spacing_mm, rng))


def _star(
    hu: Float32[np.ndarray, "z y x"],
    span: slice,
    metal: Bool[np.ndarray, "k y x"],
    setting: tuple[tuple[float, float, float], np.random.Generator],
) -> None:
    """Draw the star of one piece of metal: rays by angle that turn slowly from slice to slice."""
    (_, dy, dx), rng = setting
    count = metal.shape[0]
    rays = ndimage.gaussian_filter1d(rng.standard_normal((count, _RAYS)), 1.5, axis=0, mode="nearest")
    rays /= rays.std() + 1e-6
    y, x = np.arange(hu.shape[1])[:, None] * dy, np.arange(hu.shape[2])[None, :] * dx
    for number, z in enumerate(range(span.start, span.stop)):
        area = metal[number].sum() * dy * dx
        if not area:
            continue
        centre = ndimage.center_of_mass(metal[number])
        down, right = (y - centre[0] * dy).astype(np.float32), (x - centre[1] * dx).astype(np.float32)
        angle = (np.arctan2(down, right) * np.float32(_RAYS / (2 * np.pi))) % _RAYS
        low = angle.astype(np.int32) % _RAYS
        part = angle - np.floor(angle)
        ray = rays[number].astype(np.float32)
        streak = ray[low] * (1 - part) + ray[(low + 1) % _RAYS] * part
        edge = np.float32(np.sqrt(area / np.pi))
        fade = np.exp(-np.maximum(np.hypot(down, right) - edge, 0) / np.float32(_FAR_MM * min(1.0, area / 150)))
        hu[z] += np.where(metal[number], 0, np.float32(350 * area / (area + 120)) * streak * fade)


def stir(scene: Scene) -> None:
    """Double contours where the patient breathed or the heart beat: each slice is the mean of two positions."""
    rng = scene.rng("motion")
    happens, share, low, high = rng.random(4)
    shift = rng.standard_normal(2)
    dial = scene.request.randomise
    where = scene.tissue("lung", "heart")
    if where is None or happens > _RATE * (1 + dial):
        return
    count = scene.grid.shape_zyx[0]
    reach = where.box[0].stop - where.box[0].start
    middle = where.box[0].start + low * 0.5 * reach
    width = (0.08 + 0.25 * high) * max(reach, 1)
    weight = 0.5 * np.exp(-np.square((np.arange(count) - middle) / width)) * (0.4 + 0.6 * share)
    voxels = [
        np.clip(amount * limit * (1 + dial), -4, 4) / step
        for amount, limit, step in zip(shift, (2.0, 1.2), scene.grid.spacing_mm_zyx[1:], strict=True)
    ]
    for z in np.flatnonzero(weight > 0.05):
        moved = ndimage.shift(scene.hu[z], voxels, order=1, mode="nearest")
        scene.hu[z] += np.float32(weight[z]) * (moved - scene.hu[z])
