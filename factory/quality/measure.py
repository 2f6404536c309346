"""What a case holds, measured from its stored arrays and nothing else.

Volumes, intensities and components of every structure; organ, site, side, size and volume of
every connected lesion. Shares no code with the engines.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from factory.quality.character import form_of, kind_of
from factory.quality.components import Runs, runs_at, runs_between, stretches_of
from factory.quality.limits import GATE
from manifests.anatomy import Structure, structures
from manifests.case import Arrays, Lesion, StructureMeasure
from manifests.geometry import Grid

__all__ = ["Measures", "feret_mm", "measure"]

_IDS = 256
_AROUND_MM = 10.0
"""Margin around a lesion in which its form is measured."""


@dataclass(frozen=True, slots=True)
class Measures:
    """Measurements by anatomy id (256 values each) and by lesion.

    Attributes:
        voxels, lesion_voxels: size of each structure, and the part of it under lesions.
        hu_mean, hu_sd: intensity of each structure without its lesions and metal, where any is left.
        core_voxels, core_hu: number and mean HU of a structure's inner voxels, those whose six
            neighbours belong to it too: free of partial volume. Without its lesions and metal.
        components, main_fraction: number of 26-connected parts, and share of the largest.
        cut: whether a structure touches the edge of the grid, or the first or last slice that holds
            any anatomy: a scan that ends inside the grid cuts like one that fills it.
        x_mm: mean x of each structure; NaN where empty.
        lesions: connected lesions by descending volume; `site` is "" where no structure holds it.
        lesion_count: number of connected lesions, also beyond those measured.
        instance_ids: number of distinct non-zero values of the lesion layer.
        mixed_ids: connected lesions that hold more than one instance id.
        widened: factor on the margins of intensity by which these are judged; not measured.
    """

    grid: Grid
    runs: Runs
    voxels: Int64[np.ndarray, "256"]
    lesion_voxels: Int64[np.ndarray, "256"]
    hu_mean: Float64[np.ndarray, "256"]
    hu_sd: Float64[np.ndarray, "256"]
    core_voxels: Int64[np.ndarray, "256"]
    core_hu: Float64[np.ndarray, "256"]
    components: Int64[np.ndarray, "256"]
    main_fraction: Float64[np.ndarray, "256"]
    cut: Bool[np.ndarray, "256"]
    x_mm: Float64[np.ndarray, "256"]
    lesions: tuple[Lesion, ...]
    lesion_count: int
    instance_ids: int
    mixed_ids: int
    widened: float = 1.0

    def structure_rows(self) -> tuple[StructureMeasure, ...]:
        """One row for each structure that is there, in the order of the table."""
        return tuple(self._row(entry) for entry in structures() if self.voxels[entry.id])

    def _row(self, entry: Structure) -> StructureMeasure:
        return StructureMeasure(
            name=entry.name,
            volume_ml=round(self.volume_ml(entry.id), 3),
            hu_mean=round(float(self.hu_mean[entry.id]), 2),
            hu_sd=round(float(self.hu_sd[entry.id]), 2),
            components=int(self.components[entry.id]),
        )

    def volume_ml(self, id: int) -> float:
        """Volume of a structure in ml, lesions included."""
        return float(self.voxels[id]) * self.grid.voxel_volume_ml


def measure(arrays: Arrays, max_lesions: int = 255) -> Measures:
    """Measure a case.

    Args:
        arrays: the three volumes on one grid.
        max_lesions: connected lesions that are measured, the largest first; all are counted.
    """
    stretches = _Stretches(*stretches_of(arrays.anatomy))
    runs = runs_between(arrays.anatomy.shape, stretches.begin, stretches.label)
    anatomy, lesion = arrays.anatomy.reshape(-1), arrays.lesions.reshape(-1)
    marked = np.flatnonzero(lesion)
    lesion_voxels = np.bincount(anatomy[marked], minlength=_IDS)
    hu_mean, hu_sd = _intensity(stretches, arrays, np.flatnonzero(_foreign(arrays)))
    core_voxels, core_hu = _core(stretches, arrays)
    components, main = _connectivity(runs)
    lesion_runs = runs_at(arrays.lesions.shape, marked, np.ones(len(marked), np.uint8))
    return Measures(
        grid=arrays.grid,
        runs=runs,
        voxels=_sum(runs.label, runs.length),
        lesion_voxels=lesion_voxels,
        hu_mean=hu_mean,
        hu_sd=hu_sd,
        core_voxels=core_voxels,
        core_hu=core_hu,
        components=components,
        main_fraction=main,
        cut=_cut(runs),
        x_mm=_mean_x_mm(runs, arrays.grid),
        lesions=_lesions(arrays, lesion_runs, max_lesions),
        lesion_count=len(np.unique(lesion_runs.component)),
        instance_ids=len(np.unique(lesion[marked])),
        mixed_ids=_mixed(runs_at(arrays.lesions.shape, marked, lesion[marked]), lesion_runs),
    )


def feret_mm(runs_yx: tuple[np.ndarray, np.ndarray, np.ndarray], spacing_yx: tuple[float, float]) -> float:
    """Longest diameter of one slice of a lesion in mm between outer corners of its voxels; exact.

    Args:
        runs_yx: line, first voxel and one past the last voxel of each run; at least one run.
        spacing_yx: in-plane spacing in mm.
    """
    y, start, stop = runs_yx
    dy, dx = spacing_yx
    rows = np.concatenate((y, y, y + 1, y + 1)) * dy
    columns = np.concatenate((start, stop, start, stop)) * dx
    points = np.stack((rows, columns), axis=1).astype(np.float64)
    return float(pdist(points[ConvexHull(points).vertices]).max())


@dataclass(frozen=True, slots=True)
class _Stretches:
    """Stretches of one label along x, background included: sums by label cost one pass, and are exact."""

    begin: Int64[np.ndarray, " n"]
    label: Int64[np.ndarray, " n"]

    def total(self, values: np.ndarray) -> Float64[np.ndarray, "256"]:
        """Sum integers of all voxels by label."""
        if not len(self.begin):
            return np.zeros(_IDS)
        parts = np.add.reduceat(values.reshape(-1), self.begin, dtype=np.int64)
        return np.bincount(self.label, weights=parts, minlength=_IDS)

    def count(self, voxels: int) -> Int64[np.ndarray, "256"]:
        """Voxels of each label."""
        return _sum(self.label, np.diff(self.begin, append=voxels))


def _foreign(arrays: Arrays) -> Bool[np.ndarray, "z y x"]:
    """Voxels that are not the tissue that their label names: lesions and metal."""
    return np.asarray((arrays.lesions > 0) | (arrays.ct >= GATE["metal_hu"]))


def _intensity(stretches: _Stretches, arrays: Arrays, marked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the CT by label, without lesions and metal where anything else is left."""
    ct = arrays.ct
    count, total = stretches.count(ct.size), stretches.total(ct)
    squares = stretches.total(np.multiply(ct, ct, dtype=np.int32))
    under, dense = arrays.anatomy.reshape(-1)[marked], ct.reshape(-1)[marked].astype(np.float64)
    rest = count - np.bincount(under, minlength=_IDS)
    some = rest > 0
    total = np.where(some, total - np.bincount(under, weights=dense, minlength=_IDS), total)
    squares = np.where(some, squares - np.bincount(under, weights=dense**2, minlength=_IDS), squares)
    used = np.where(some, rest, count)
    mean = total / np.maximum(used, 1)
    return mean, np.sqrt(np.maximum(squares / np.maximum(used, 1) - mean**2, 0.0))


def _core(stretches: _Stretches, arrays: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Number and mean of the voxels whose six neighbours have their label, without lesions and metal."""
    core = ~_foreign(arrays)
    for axis in range(3):
        ahead, behind = ((slice(None),) * axis + (part,) for part in (slice(1, None), slice(None, -1)))
        same = arrays.anatomy[ahead] == arrays.anatomy[behind]
        core[ahead] &= same
        core[behind] &= same
    count = np.rint(stretches.total(core.view(np.int8))).astype(np.int64)
    return count, stretches.total(np.multiply(arrays.ct, core, dtype=np.int16)) / np.maximum(count, 1)


def _sum(keys: np.ndarray, values: np.ndarray, size: int = _IDS) -> np.ndarray:
    return np.rint(np.bincount(keys, weights=values, minlength=size)).astype(np.int64)


def _connectivity(runs: Runs) -> tuple[np.ndarray, np.ndarray]:
    """Number of components of each label, and the share of the largest; 0 and 1 for an absent label."""
    labels, first = np.unique(runs.component, return_index=True)
    label = runs.label[first]
    sizes = _sum(runs.component, runs.length, len(labels))[labels] if len(labels) else np.zeros(0, np.int64)
    largest = np.zeros(_IDS, np.int64)
    np.maximum.at(largest, label, sizes)
    total = np.bincount(label, weights=sizes, minlength=_IDS)
    return np.bincount(label, minlength=_IDS), np.where(total > 0, largest / np.maximum(total, 1), 1.0)


def _cut(runs: Runs) -> np.ndarray:
    depth, height, width = runs.shape_zyx
    ends = (runs.z.min(initial=depth), runs.z.max(initial=-1))
    edge = (runs.z == ends[0]) | (runs.z == ends[1]) | (runs.y == 0) | (runs.y == height - 1)
    edge |= (runs.start == 0) | (runs.stop == width)
    cut = np.zeros(_IDS, bool)
    cut[runs.label[edge]] = True
    return cut


def _mean_x_mm(runs: Runs, grid: Grid) -> np.ndarray:
    total = np.bincount(runs.label, weights=runs.length, minlength=_IDS)
    moment = np.bincount(runs.label, weights=runs.length * (runs.start + runs.stop - 1) / 2, minlength=_IDS)
    with np.errstate(invalid="ignore"):
        return np.asarray(moment / total * grid.spacing_mm_zyx[2] + grid.origin_mm_xyz[0])


def _mixed(by_id: Runs, connected: Runs) -> int:
    """Count connected lesions that hold several instance ids."""
    starts = (
        np.searchsorted(
            connected.row * connected.shape_zyx[2] + connected.start,
            by_id.row * by_id.shape_zyx[2] + by_id.start,
            "right",
        )
        - 1
    )
    pairs = np.unique(np.stack((connected.component[starts], by_id.label)), axis=1)
    return int((np.bincount(pairs[0]) > 1).sum()) if pairs.size else 0


def _lesions(arrays: Arrays, runs: Runs, most: int) -> tuple[Lesion, ...]:
    order = np.argsort(runs.component, kind="stable")
    starts = np.flatnonzero(np.diff(runs.component[order], prepend=-1))
    parts = np.split(order, starts[1:]) if len(order) else []
    parts.sort(key=lambda part: (-int(runs.length[part].sum()), int(part[0])))
    return tuple(_lesion(arrays, runs, part) for part in parts[:most])


def _lesion(arrays: Arrays, runs: Runs, part: np.ndarray) -> Lesion:
    """Measure one connected lesion from its runs."""
    z, y, start, stop = runs.z[part], runs.y[part], runs.start[part], runs.stop[part]
    length = stop - start
    x = np.arange(length.sum()) + np.repeat(start - np.cumsum(length) + length, length)
    where = (np.repeat(z, length), np.repeat(y, length), x)
    site = _holder(int(np.bincount(arrays.anatomy[where]).argmax()))
    spacing = arrays.grid.spacing_mm_zyx
    center = [
        float(axis.mean()) * s + o for axis, s, o in zip(where, spacing, arrays.grid.origin_mm_xyz[::-1], strict=True)
    ]
    kind, form = _character(arrays, where, site)
    return Lesion(
        kind=kind,
        form=form,
        id=int(np.bincount(arrays.lesions[where]).argmax()),
        organ=(site.organ or "") if site else "",
        site=site.name if site else "",
        side=site.side if site else None,
        size_mm=round(_longest_mm((z, y, start, stop), spacing[1:]), 3),
        volume_ml=round(float(length.sum()) * arrays.grid.voxel_volume_ml, 4),
        center_mm_xyz=(round(center[2], 3), round(center[1], 3), round(center[0], 3)),
    )


def _character(arrays: Arrays, where: tuple[np.ndarray, ...], site: Structure | None) -> tuple[str, str | None]:
    """Kind and form of one connected lesion, from a box around it."""
    box = tuple(
        slice(max(0, int(axis.min()) - m), int(axis.max()) + m + 1)
        for axis, m in zip(where, (round(_AROUND_MM / s) + 1 for s in arrays.grid.spacing_mm_zyx), strict=True)
    )
    lesion = np.zeros(arrays.lesions[box].shape, bool)
    lesion[tuple(axis - part.start for axis, part in zip(where, box, strict=True))] = True
    form = form_of(arrays.anatomy[box], lesion, site, arrays.grid.spacing_mm_zyx)
    return kind_of(arrays.ct[box], lesion, site, arrays.grid.spacing_mm_zyx), form


def _holder(id: int) -> Structure | None:
    return next((entry for entry in structures() if entry.id == id), None)


def _longest_mm(runs: tuple[np.ndarray, ...], spacing_yx: tuple[float, float]) -> float:
    """Longest diameter over the slices; a slice whose box is smaller than the best so far is skipped."""
    z, y, start, stop = runs
    dy, dx = spacing_yx
    first = np.flatnonzero(np.diff(z, prepend=-1))
    height = (np.maximum.reduceat(y, first) - np.minimum.reduceat(y, first) + 1) * dy
    width = (np.maximum.reduceat(stop, first) - np.minimum.reduceat(start, first)) * dx
    bound = np.hypot(height, width)
    ends = np.append(first[1:], len(z))
    best = 0.0
    for i in np.argsort(-bound):
        if bound[i] <= best:
            break
        rows = slice(first[i], ends[i])
        best = max(best, feret_mm((y[rows], start[rows], stop[rows]), spacing_yx))
    return best
