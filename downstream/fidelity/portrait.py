"""What the weight-free measures keep of a case: read once, brought to one spacing, reduced to small arrays.

Two datasets rarely share a grid, and texture, noise and continuity depend on the size of a voxel. So every case is
first brought to one isotropic spacing: CT smoothed and interpolated (`resampling.py`), labels by the nearest voxel.
Structures are the labels of a scheme that both datasets can be painted by, and "body": the largest piece above
-300 HU, its holes filled, found by the same rule in both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int16, UInt8
from scipy import ndimage

from downstream.fidelity.continuity import continuity
from downstream.fidelity.radiomics import Features, radiomic_features
from downstream.fidelity.spectra import Spectra, spectra
from downstream.resampling import resampled
from manifests.case import CaseRecord
from manifests.errors import InvalidValueError
from manifests.geometry import HU_MAX, HU_MIN, Grid

__all__ = ["BODY", "HU_WIDTH", "Portrait", "body_mask", "common_spacing_mm", "portray"]

BODY = "body"
BODY_HU = -300
HU_WIDTH = 4
"""Width of the bins of a histogram, HU."""

FEWEST_VOXELS = 64  # a structure of fewer has no texture
THUMBNAIL_MM = 8.0
THUMBNAIL_ZYX = (84, 42, 60)  # 672 x 336 x 480 mm about the body's middle

Box = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Portrait:
    """A case in small.

    Attributes:
        case_id: the case.
        histograms: share of a structure's voxels in each bin of `HU_WIDTH` from `HU_MIN`.
        volumes_ml: of structures that neither end of the scan cuts.
        features: radiomic features of structures, by family and name.
        spectra: of the image and of its noise.
        continuity: statistics of the steps between slices.
        thumbnail: CT at 8 mm about the middle of the body, cut or filled with air.
    """

    case_id: str
    histograms: Mapping[str, Float64[np.ndarray, "bins"]]
    volumes_ml: Mapping[str, float]
    features: Mapping[str, Features]
    spectra: Spectra
    continuity: Mapping[str, float]
    thumbnail: Int16[np.ndarray, "z y x"]


def common_spacing_mm(datasets: Sequence[Sequence[CaseRecord]]) -> float:
    """Coarsest spacing at hand: the largest median over the cases of a dataset of one axis."""
    medians = [np.median([record.grid().spacing_mm_zyx for record in records], axis=0) for records in datasets]
    return float(np.max(medians))


def portray(
    case_id: str,
    ct_hu: Int16[np.ndarray, "z y x"],
    labelled: tuple[UInt8[np.ndarray, "z y x"], Mapping[str, int]],
    fine: Grid,
    spacing_mm: float,
) -> Portrait:
    """Reduce a case.

    Args:
        case_id: of the case.
        ct_hu: its CT.
        labelled: its label map, and the values of the structures to look at.
        fine: grid of both.
        spacing_mm: to compare at.

    Raises:
        InvalidValueError: no voxel above -300 HU.
    """
    values, grid = resampled(ct_hu, fine, spacing_mm)
    ct = np.rint(values).clip(HU_MIN, HU_MAX).astype(np.int16)
    body = body_mask(ct)
    if not body.any():
        raise InvalidValueError(
            f"case {case_id}", got="no voxel above -300 HU", need="a body", do="Check its CT and its units."
        )
    masks = {BODY: (_whole(ct.shape), body)} | _masks(_nearest(labelled[0], fine, grid), labelled[1])
    whole = [name for name, (box, _) in masks.items() if name != BODY and box[0].start > 0 and box[0].stop < len(ct)]
    return Portrait(
        case_id=case_id,
        histograms={name: _histogram(ct[box][mask]) for name, (box, mask) in masks.items()},
        volumes_ml={name: np.count_nonzero(masks[name][1]) * grid.voxel_volume_ml for name in whole},
        features={
            name: radiomic_features(ct[box], mask, grid.spacing_mm_zyx)
            for name, (box, mask) in masks.items()
            if name != BODY
        },
        spectra=spectra(ct, body, spacing_mm),
        continuity=continuity(ct, body),
        thumbnail=_thumbnail(ct, body, grid),
    )


def body_mask(ct: Int16[np.ndarray, "z y x"]) -> Bool[np.ndarray, "z y x"]:
    """Largest 6-connected piece above -300 HU, what each axial slice encloses filled; may be empty."""
    pieces, count = ndimage.label(ct > BODY_HU)
    if not count:
        return np.zeros(ct.shape, bool)
    largest = pieces == 1 + int(np.bincount(pieces.ravel())[1:].argmax())
    return np.stack([ndimage.binary_fill_holes(plane) for plane in largest])


def _masks(
    labels: UInt8[np.ndarray, "z y x"], wanted: Mapping[str, int]
) -> dict[str, tuple[Box, Bool[np.ndarray, "..."]]]:
    """Box and mask in it of each label with enough voxels."""
    boxes = ndimage.find_objects(labels, max(wanted.values()))
    found = {name: (boxes[value - 1], value) for name, value in wanted.items() if boxes[value - 1]}
    masks = {name: (box, labels[box] == value) for name, (box, value) in found.items()}
    return {name: (box, mask) for name, (box, mask) in masks.items() if np.count_nonzero(mask) >= FEWEST_VOXELS}


def _whole(shape: tuple[int, ...]) -> Box:
    return tuple(slice(0, n) for n in shape)


def _histogram(ct_hu: Int16[np.ndarray, "n"]) -> Float64[np.ndarray, "bins"]:
    bins = (ct_hu.astype(np.int64) - HU_MIN) // HU_WIDTH
    return np.bincount(bins, minlength=(HU_MAX - HU_MIN) // HU_WIDTH + 1) / bins.size


def _nearest(labels: UInt8[np.ndarray, "z y x"], fine: Grid, coarse: Grid) -> UInt8[np.ndarray, "a b c"]:
    """Label of the voxel around each centre of another grid with the same lower edges."""
    axes = zip(coarse.shape_zyx, coarse.spacing_mm_zyx, fine.shape_zyx, fine.spacing_mm_zyx, strict=True)
    places = [((np.arange(n) + 0.5) * s / t).astype(np.int64).clip(0, m - 1) for n, s, m, t in axes]
    nearest: UInt8[np.ndarray, "a b c"] = labels[np.ix_(*places)]
    return nearest


def _thumbnail(
    ct: Int16[np.ndarray, "z y x"], body: Bool[np.ndarray, "z y x"], grid: Grid
) -> Int16[np.ndarray, "a b c"]:
    small, coarse = resampled(ct, grid, THUMBNAIL_MM)
    centre_mm = (np.array(ndimage.center_of_mass(body)) + 0.5) * grid.spacing_mm_zyx
    middle = (np.array(len(ct) / 2 * grid.spacing_mm_zyx[0]), *centre_mm[1:])
    out = np.full(THUMBNAIL_ZYX, HU_MIN, np.int16)
    source, target = [], []
    for have, want, mm in zip(coarse.shape_zyx, THUMBNAIL_ZYX, middle, strict=True):
        first = round(float(mm) / THUMBNAIL_MM) - want // 2  # voxel of the small image at place 0
        source.append(slice(max(first, 0), max(min(first + want, have), 0)))
        target.append(slice(source[-1].start - first, source[-1].stop - first))
    out[tuple(target)] = np.rint(small[tuple(source)]).clip(HU_MIN, HU_MAX)
    return out
