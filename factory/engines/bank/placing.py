"""Where a source lies: from the frame of its scanner to the torso frame of all grids.

The torso frame has its origin at the front edge of L1 (see `factory.config`). `landmarks.csv`
holds the mean centre of each structure there, over twelve men of 175 cm and twelve women of
163 cm of the embedded population (`benchmarks/bank_landmarks.py`). A source is moved so that its own centres meet these; with a
stretch of the spine in view, the spacing of its vertebrae tells how large its frame is, and
else the distance of organs on the left from those on the right how broad it is.
"""

import csv
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float64, UInt8
from scipy import ndimage

from factory.engines.bank.sources import Source
from manifests.anatomy import structure, structures
from manifests.errors import InvalidValueError
from manifests.geometry import Grid

__all__ = ["Placement", "centred", "expected_z_mm", "landmarks", "place"]

_SPINE_MM = 80.0
"""Shortest stretch between centres of vertebrae that tells the size of a frame."""
_ACROSS_MM = 100.0
"""The same from left to right, for a source without spine."""
_SCALES = (0.8, 1.25)
_FLANKS, _FLANKS_MM = ("liver", "spleen"), ((-137.0, 132.0), (-109.0, 61.0))
"""Edges along x and y of liver and spleen together in the reference man."""
_SPINE_WEIGHT = 6.0
_LONG = frozenset({"aorta", "esophagus", "inferior_vena_cava", "spinal_cord", "trachea", "costal_cartilages", "small_bowel",
                   "intervertebral_discs"})  # fmt: skip
"""Structures whose centre moves with how much of them is labelled."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A source in the torso frame: `source_mm = scales * torso_mm + shift_mm`, along x, y and z.

    Attributes:
        scales_xyz: size of the source's frame relative to the reference man; 1 where it is unknown.
        measured: whether the spine told it.
    """

    scales_xyz: tuple[float, float, float]
    shift_mm_xyz: tuple[float, float, float]
    measured: bool


@cache
def landmarks() -> dict[str, tuple[float, float, float]]:
    """Mean centres (x, y, z) in mm of the torso frame by structure."""
    text = files("factory.engines.bank").joinpath("landmarks.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {row["name"]: (float(row["x_mm"]), float(row["y_mm"]), float(row["z_mm"])) for row in rows}


@lru_cache(maxsize=100_000)
def expected_z_mm(source: Source) -> tuple[float, float]:
    """Lowest and highest edge of a source in the torso frame, guessed from what it labels; for choosing alone."""
    known = [landmarks()[name][2] for name in source.volumes_ml if name in landmarks() and name not in _LONG]
    middle = (min(known) + max(known)) / 2 if known else 0.0
    half = source.grid.extent_mm_zyx[0] / 2
    return middle - half, middle + half


def place(labels: UInt8[np.ndarray, "z y x"], grid: Grid, case_id: str) -> Placement:
    """Find a source's placement from the centres of its structures.

    Structures that an edge of the volume cuts do not count. The shift is the weighted median over
    the others, vertebrae before organs.

    Raises:
        InvalidValueError: if nothing that is there has a known place.
    """
    names, centres = _centres(labels, grid)
    if not names:
        raise InvalidValueError(
            f"source {case_id}",
            got="no whole structure with a known place",
            need="one at least, to tell where the scan lies",
            do="Leave this case out of the bank.",
        )
    wanted = np.array([landmarks()[name] for name in names])
    spine = np.array([name.startswith("vertebrae_") for name in names])
    measured = bool(spine.sum() >= 3 and np.ptp(wanted[spine, 2]) >= _SPINE_MM)
    scales = (1.0, 1.0, 1.0)
    if measured:
        scales = (_slope(wanted[spine, 2], centres[spine, 2]),) * 3
    elif np.ptp(wanted[:, 0]) >= _ACROSS_MM:
        across = _slope(wanted[:, 0], centres[:, 0])
        scales = (across, across, 1.0)
    weights = np.where(spine, _SPINE_WEIGHT, 1.0)
    x, y, z = (_median(centres[:, i] - scales[i] * wanted[:, i], weights) for i in range(3))
    found = Placement(scales, (x, y, z), measured)
    return found if measured else _within(found, labels, grid)


def _within(found: Placement, labels: UInt8[np.ndarray, "z y x"], grid: Grid) -> Placement:
    """The same with liver and spleen, where both are there, between the ribs of the torso frame."""
    ids = [structure(name).id for name in _FLANKS]
    if not all((labels == id).any() for id in ids):
        return found
    flanks = np.isin(labels, ids)
    scales, shift = list(found.scales_xyz), list(found.shift_mm_xyz)
    for axis, (low, high) in enumerate(_FLANKS_MM):
        along = np.flatnonzero(flanks.any(axis=(0, 1) if axis == 0 else (0, 2)))
        edges = grid.origin_mm_xyz[axis] + grid.spacing_mm_zyx[2 - axis] * (along[[0, -1]] + [-0.5, 0.5])
        scales[axis] = float(np.clip((edges[1] - edges[0]) / (high - low), *_SCALES))
        shift[axis] = float(edges.mean()) - scales[axis] * (low + high) / 2
    return Placement((scales[0], scales[1], scales[2]), (shift[0], shift[1], shift[2]), found.measured)


def centred(placement: Placement, body: UInt8[np.ndarray, "z y x"], grid: Grid) -> Placement:
    """The same with the midline in the middle of a body: few organs tell less of it than an outline does."""
    columns = [np.flatnonzero(plane.any(axis=0)) for plane in body]
    middles = [(found[0] + found[-1]) / 2 for found in columns if len(found)]
    if not middles:
        return placement
    x = grid.origin_mm_xyz[0] + float(np.median(middles)) * grid.spacing_mm_zyx[2]
    return replace(placement, shift_mm_xyz=(x, *placement.shift_mm_xyz[1:]))


def _slope(wanted: Float64[np.ndarray, " n"], found: Float64[np.ndarray, " n"]) -> float:
    return float(np.clip(np.polyfit(wanted, found, 1)[0], *_SCALES))


def _centres(labels: UInt8[np.ndarray, "z y x"], grid: Grid) -> tuple[list[str], Float64[np.ndarray, "n 3"]]:
    """Centres (x, y, z) in mm of the structures that lie whole inside a volume and have a landmark."""
    boxes = ndimage.find_objects(labels)
    names, centres = [], []
    for entry in structures():
        box = boxes[entry.id - 1] if entry.id <= len(boxes) else None
        if box is None or entry.name not in landmarks() or entry.name in _LONG:
            continue
        if any(part.start == 0 or part.stop == n for part, n in zip(box, labels.shape, strict=True)):
            continue
        index = np.argwhere(labels[box] == entry.id).mean(axis=0) + [part.start for part in box]
        names.append(entry.name)
        centres.append((index * grid.spacing_mm_zyx + grid.origin_mm_xyz[::-1])[::-1])
    return names, np.array(centres, float).reshape(-1, 3)


def _median(values: Float64[np.ndarray, " n"], weights: Float64[np.ndarray, " n"]) -> float:
    order = np.argsort(values, kind="stable")
    along = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(along, along[-1] / 2)])
