"""A network over a whole scan: to its spacing, without the table, and its answer back to the scan's grid as one piece an organ."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int16, UInt8
from scipy.ndimage import label as components

from downstream.body_box import body_box
from downstream.resampling import interpolated, isotropic, resampled, vote
from manifests.geometry import Grid

__all__ = ["ScanNetwork", "keep_largest", "segment_scan"]

LEAST_PIECE = {
    **dict.fromkeys(("lung_left", "lung_right", "lungs", "kidneys"), 0.2),
    **dict.fromkeys(("small_bowel", "colon", "vertebrae", "ribs", "intervertebral_discs"), 0.02),
}
"""Labels that may lie in several pieces, with the least a piece must be of the largest; of all others only the largest is kept."""


@dataclass(frozen=True, slots=True)
class ScanNetwork:
    """A network and how scans go into it.

    Attributes:
        scores: of a volume of normalised values, at least as large as a patch: (labels, a, b, c), background first.
        labels: values by name, background may be among them.
        spacing_mm: isotropic spacing the network works at.
        patch_zyx: voxels of a patch.
        clip_hu: CTs are cut to these values,
        mean_hu, sd_hu: then centred and scaled.
        largest: take away small pieces of organs that are one.
        scales: the scan is read at the spacing times each of them, and scores are averaged: patients differ in size.
    """

    scores: Callable[[Float32[np.ndarray, "a b c"]], Float32[np.ndarray, "labels a b c"]]
    labels: Mapping[str, int]
    spacing_mm: float
    patch_zyx: tuple[int, int, int]
    clip_hu: tuple[float, float]
    mean_hu: float
    sd_hu: float
    largest: bool = True
    scales: tuple[float, ...] = (1.0,)


def segment_scan(ct: Int16[np.ndarray, "z y x"], grid: Grid, network: ScanNetwork) -> UInt8[np.ndarray, "z y x"]:
    """Labels of a scan in HU, on its own grid.

    What lies around the patient is background. A scan of few slices is continued by its first and last one. Scores are averaged at the
    finest spacing that the scan is read at, so that none loses detail.
    """
    coarse = isotropic(grid, min(network.scales) * network.spacing_mm)
    scores: np.ndarray = sum(_scores(ct, grid, network, (scale, coarse)) for scale in network.scales)  # type: ignore[assignment]
    if network.largest:
        keep_largest(scores, network.labels)
    return np.asarray(vote(scores, coarse, grid), np.uint8)


def _scores(
    ct: Int16[np.ndarray, "z y x"], grid: Grid, network: ScanNetwork, read: tuple[float, Grid]
) -> Float32[np.ndarray, "labels a b c"]:
    """Scores of a scan that is read at a scale, on the grid that they are averaged on."""
    scale, coarse = read
    spacing_mm = scale * network.spacing_mm
    values, own = resampled(ct, grid, spacing_mm)
    box = body_box(values, spacing_mm)
    normalised = (values[box].clip(*network.clip_hu) - network.mean_hu) / network.sd_hu
    padding = [_centred(n, least) for n, least in zip(normalised.shape, network.patch_zyx, strict=True)]
    padded = network.scores(np.pad(normalised.astype(np.float32), padding, mode="edge"))
    core = (slice(before, before + n) for (before, _), n in zip(padding, normalised.shape, strict=True))
    scores = _around(padded[:, *core], box, values.shape)
    return scores if own == coarse else interpolated(scores, own, coarse)


def keep_largest(scores: Float32[np.ndarray, "labels z y x"], labels: Mapping[str, int]) -> None:
    """Take a label away from its small pieces, so that the next best one wins there."""
    best, lowest = scores.argmax(0), scores.min()  # finite: what follows interpolates
    for name, value in labels.items():
        pieces, count = components(best == value) if value else (best, 0)
        if count > 1:
            sizes = np.bincount(pieces.ravel())[1:]
            least = LEAST_PIECE.get(name)
            kept = sizes >= least * sizes.max() if least else np.arange(count) == sizes.argmax()
            scores[value][(pieces > 0) & ~np.append(True, kept)[pieces]] = lowest


def _centred(size: int, least: int) -> tuple[int, int]:
    """How much to add before and behind a size to make it at least another."""
    missing = max(0, least - size)
    return missing // 2, missing - missing // 2


def _around(
    scores: Float32[np.ndarray, "labels a b c"], box: tuple[slice, slice, slice], shape: tuple[int, ...]
) -> Float32[np.ndarray, "labels z y x"]:
    """Scores of a whole scan from those of a box in it: background around it."""
    whole = np.full((len(scores), *shape), scores.min(), np.float32)
    whole[0] = scores[0].max()
    whole[:, *box] = scores
    return whole
