"""Between the grid of a case and the grid that a network works on, in millimetres, nothing stretched.

Down: labels by weighed vote, lesions so that none vanishes, CT by averaging. Up: labels by comparing
smoothly interpolated maps of every label, so that borders are surfaces and not stairs.
"""

import math

import numpy as np
from jaxtyping import Float, Float32, Int16, Integer, UInt8
from scipy import ndimage

from factory.engines.guidegen.pieces import as_large, in_one_piece, largest_piece
from manifests.geometry import Grid

__all__ = [
    "coarse_labels",
    "coarse_lesions",
    "fine_labels",
    "fine_lesions",
    "nearest_labels",
    "resampled_ct",
    "working_grid",
]

_BLUR = 0.6
"""Standard deviation in coarse voxels that smooths each label's map before it is interpolated."""
_CORNERS = np.ones((3, 3, 3), bool)
_ROUNDS = 4
"""Rounds in which labels are weighed until each has its volume."""


def working_grid(grid: Grid, spacing_mm: float) -> Grid:
    """The isotropic grid with the centre of a case's grid that covers its whole field of view."""
    shape = tuple(max(1, math.ceil(extent / spacing_mm - 1e-6)) for extent in grid.extent_mm_zyx)
    origin = [
        start + (count * step - n * spacing_mm) / 2 - step / 2 + spacing_mm / 2
        for start, count, step, n in zip(
            grid.origin_mm_xyz[::-1], grid.shape_zyx, grid.spacing_mm_zyx, shape, strict=True
        )
    ]
    return Grid((shape[0], shape[1], shape[2]), (spacing_mm,) * 3, (origin[2], origin[1], origin[0]))


def coarse_labels(labels: UInt8[np.ndarray, "z y x"], grid: Grid, to: Grid) -> UInt8[np.ndarray, "zt yt xt"]:
    """Labels on another grid, each at its volume as far as that goes; the border's beyond it.

    Each voxel is asked at 27 points. The commonest label wins, but one that would end smaller than it is
    (a tube thinner than a voxel wins nowhere) counts more, in a few rounds.
    """
    if to == grid:
        return labels
    asked = nearest_labels(labels, grid, to)
    values = np.unique(asked)
    row_of = np.zeros(256, np.intp)
    row_of[values] = np.arange(len(values))
    cells = row_of[asked] * asked.shape[1] + np.arange(asked.shape[1])
    counts = np.bincount(cells.ravel(), minlength=len(values) * asked.shape[1]).astype(np.uint8)
    counts = counts.reshape(len(values), -1)
    wanted = counts.sum(1, dtype=np.float64) / len(asked)
    weight = np.ones(len(values), np.float32)
    for _ in range(_ROUNDS):
        winner = _heaviest(counts, weight)
        weight *= _correction(wanted, np.bincount(winner, minlength=len(values)))
    return values[winner].reshape(to.shape_zyx)


def nearest_labels(
    labels: Integer[np.ndarray, "z y x"], grid: Grid, to: Grid, points_zyx: tuple[int, int, int] = (3, 3, 3)
) -> Integer[np.ndarray, "points n"]:
    """The label nearest to each of some points, evenly spread along z, y and x, of every voxel of another grid."""
    axes = []
    for along, start, step, count, wide, many in zip(
        to.axes_mm(),
        grid.origin_mm_xyz[::-1],
        grid.spacing_mm_zyx,
        grid.shape_zyx,
        to.spacing_mm_zyx,
        points_zyx,
        strict=True,
    ):
        points = (along[:, None] + ((np.arange(many) + 0.5) / many - 0.5) * wide - start) / step
        axes.append(np.clip(np.rint(points), 0, count - 1).astype(np.intp))
    z, y, x = axes
    found = labels[z.reshape(-1, 1, 1), y.reshape(1, -1, 1), x.reshape(1, 1, -1)]
    split = [side for pair in zip(to.shape_zyx, points_zyx, strict=True) for side in pair]
    return found.reshape(split).transpose(1, 3, 5, 0, 2, 4).reshape(math.prod(points_zyx), -1)


def _heaviest(counts: UInt8[np.ndarray, "k n"], weight: Float32[np.ndarray, " k"]) -> np.ndarray:
    best, winner = np.zeros(counts.shape[1], np.float32), np.zeros(counts.shape[1], np.intp)
    for row, (count, heavy) in enumerate(zip(counts, weight, strict=True)):
        places = np.flatnonzero(count)
        value = count[places] * heavy
        better = value > best[places]
        best[places[better]], winner[places[better]] = value[better], row
    return winner


def _correction(wanted: np.ndarray, found: np.ndarray) -> np.ndarray:
    """How much more a label must count, given its volume as wanted and as found."""
    return np.clip((wanted / np.maximum(found, 0.5)) ** 0.7, 0.5, 3.0).astype(np.float32)


def coarse_lesions(lesions: UInt8[np.ndarray, "z y x"], grid: Grid, to: Grid) -> UInt8[np.ndarray, "zt yt xt"]:
    """1 where lesions fill at least half of a voxel of another grid, and where an instance fills most of one."""
    coarse = np.zeros(to.shape_zyx, np.uint8)
    if to == grid:
        return (lesions > 0).astype(np.uint8)
    boxes = ndimage.find_objects(lesions)
    for value in np.unique(lesions[lesions > 0]).tolist():
        box = boxes[value - 1]
        inside = np.argwhere(lesions[box] == value) + [part.start for part in box]
        places = [
            np.clip(np.floor((index + 0.5) * step / wide + shift).astype(int), 0, count - 1)
            for index, step, wide, shift, count in zip(
                inside.T, grid.spacing_mm_zyx, to.spacing_mm_zyx, _shifts(grid, to), to.shape_zyx, strict=True
            )
        ]
        filled = (
            np.bincount(np.ravel_multi_index(tuple(places), to.shape_zyx)) * grid.voxel_volume_ml / to.voxel_volume_ml
        )
        coarse.reshape(-1)[np.flatnonzero(filled >= min(0.5, filled.max()))] = 1
    return coarse


def fine_labels(labels: UInt8[np.ndarray, "z y x"], grid: Grid, to: Grid) -> UInt8[np.ndarray, "zt yt xt"]:
    """Labels on a finer grid, smooth and at their volume.

    Each label's map is blurred, interpolated linearly, and the largest wins. Blurring shrinks what is thin, so
    labels are weighed; the weights are found on a grid of half the spacing.
    """
    if to == grid:
        return labels
    weight = np.ones(256, np.float32)
    half = working_grid(grid, min(grid.spacing_mm_zyx) / 2)
    wanted = np.bincount(labels.ravel(), minlength=256) * grid.voxel_volume_ml / half.voxel_volume_ml
    for _ in range(_ROUNDS):
        found = np.bincount(_smooth(labels, grid, half, weight).ravel(), minlength=256)
        weight[wanted > 0] *= _correction(wanted, found)[wanted > 0]
    return _smooth(labels, grid, to, weight)


def _smooth(
    labels: UInt8[np.ndarray, "z y x"], grid: Grid, to: Grid, weight: Float32[np.ndarray, "256"]
) -> UInt8[np.ndarray, "zt yt xt"]:
    best = np.zeros(to.shape_zyx, np.float32)
    winner = np.zeros(to.shape_zyx, np.uint8)
    places = _indices(grid, to)
    boxes = ndimage.find_objects(labels + np.uint8(1))  # 0 is a label like any other
    for value in np.unique(labels).tolist():
        box = boxes[value]
        low = [max(0, part.start - 3) for part in box]
        high = [min(count, part.stop + 3) for part, count in zip(box, labels.shape, strict=True)]
        around = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        share = ndimage.gaussian_filter((labels[around] == value).astype(np.float32), _BLUR, mode="nearest")
        target = tuple(_reached(along, a, b) for along, a, b in zip(places, low, high, strict=True))
        if any(part.start >= part.stop for part in target):
            continue
        near = [along[part] - a for along, part, a in zip(places, target, low, strict=True)]
        found = _interpolated(share * weight[value], near)
        better = found > best[target]
        best[target][better] = found[better]
        winner[target][better] = value
    return winner


def fine_lesions(
    parts: UInt8[np.ndarray, "z y x"], grid: Grid, to: Grid, largest_mm: float | None = None
) -> UInt8[np.ndarray, "zt yt xt"]:
    """Numbered lesions on a finer grid: each blurred, interpolated and cut where it keeps its volume.

    The first is cut where its axial diameter is nearest to `largest_mm`, if that is given.

    Lesions that do not touch still do not: where two would, the one of the lower number gives way. Each stays in one piece,
    and grows for that by up to a half; what would still come apart is left out.
    """
    if to == grid:
        return parts
    fine = np.zeros(to.shape_zyx, np.uint8)
    places = _indices(grid, to)
    for number, box in enumerate(ndimage.find_objects(parts), 1):
        if not box:
            continue
        low = [max(0, part.start - 3) for part in box]
        high = [min(length, part.stop + 3) for part, length in zip(box, parts.shape, strict=True)]
        inside = parts[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] == number
        share = ndimage.gaussian_filter(inside.astype(np.float32), _BLUR, mode="nearest")
        target = tuple(_reached(along, a, b) for along, a, b in zip(places, low, high, strict=True))
        if any(part.start >= part.stop for part in target):
            continue
        found = _interpolated(share, [along[part] - a for along, part, a in zip(places, target, low, strict=True)])
        volume = inside.sum() * grid.voxel_volume_ml / to.voxel_volume_ml
        if largest_mm is not None and number == 1:
            inside = as_large(found, volume, to.spacing_mm_zyx, largest_mm)
        else:
            inside = in_one_piece(found, volume)
        wide = tuple(slice(max(0, part.start - 1), part.stop + 1) for part in target)
        margin = [
            (part.start - around.start, around.stop - part.stop) for part, around in zip(target, wide, strict=True)
        ]
        near = ndimage.binary_dilation(np.pad(inside, margin), _CORNERS)
        fine[wide][near[tuple(slice(0, length) for length in fine[wide].shape)]] = 0
        fine[target][inside] = number
    for number, box in enumerate(ndimage.find_objects(fine), 1):  # one that gave way may have been cut in two
        if box:
            inside = fine[box] == number
            fine[box][inside & ~largest_piece(inside)[0]] = 0
    return fine


def resampled_ct(
    ct_hu: Int16[np.ndarray, "z y x"] | Float32[np.ndarray, "z y x"], grid: Grid, to: Grid
) -> Float32[np.ndarray, "zt yt xt"]:
    """CT on another grid: averaged where that is coarser, then interpolated linearly; the border's value beyond."""
    volume = np.asarray(ct_hu, np.float32)
    if to == grid:
        return volume
    wider = [wide / step for wide, step in zip(to.spacing_mm_zyx, grid.spacing_mm_zyx, strict=True)]
    for axis, ratio in enumerate(wider):
        if ratio > 1:
            volume = ndimage.uniform_filter1d(volume, max(1, round(ratio)), axis, mode="nearest")
    return _interpolated(volume, _even_shifted(wider, _indices(grid, to)))


def _even_shifted(ratios: list[float], places: list[Float[np.ndarray, " _"]]) -> list[Float[np.ndarray, " _"]]:
    """Where to read after averaging over an even count of voxels: that mean stands half a voxel below its index."""
    return [along + 0.5 * (ratio > 1 and round(ratio) % 2 == 0) for ratio, along in zip(ratios, places, strict=True)]


def _shifts(grid: Grid, to: Grid) -> list[float]:
    """Distance from the edge of `to` to the edge of `grid` along z, y, x, in voxels of `to`."""
    edges = [
        [o - s / 2 for o, s in zip(one.origin_mm_xyz[::-1], one.spacing_mm_zyx, strict=True)] for one in (grid, to)
    ]
    return [(a - b) / s for a, b, s in zip(*edges, to.spacing_mm_zyx, strict=True)]


def _indices(grid: Grid, to: Grid) -> list[Float[np.ndarray, " _"]]:
    """Fractional indices in `grid` of the axes of `to`, kept within it."""
    return [
        np.clip((along - start) / step, 0, count - 1)
        for along, start, step, count in zip(
            to.axes_mm(), grid.origin_mm_xyz[::-1], grid.spacing_mm_zyx, grid.shape_zyx, strict=True
        )
    ]


def _reached(along: Float[np.ndarray, " n"], low: int, high: int) -> slice:
    """Ascending points within the voxels low to high - 1."""
    return slice(int(np.searchsorted(along, low)), int(np.searchsorted(along, high - 1, "right")))


def _interpolated(volume: Float32[np.ndarray, "z y x"], places: list[np.ndarray]) -> Float32[np.ndarray, "zt yt xt"]:
    """Values at the product of three axes of fractional indices, linearly, axis by axis."""
    for axis in (2, 1, 0):
        at = np.clip(places[axis], 0, volume.shape[axis] - 1)
        low = np.minimum(at.astype(np.intp), max(0, volume.shape[axis] - 2))
        part = (at - low).astype(np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
        high = np.minimum(low + 1, volume.shape[axis] - 1)
        volume = np.take(volume, low, axis) * (1 - part) + np.take(volume, high, axis) * part
    return volume
