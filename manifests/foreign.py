"""Arrays of a foreign case turned into ours: label values to anatomy and lesion instances, and measured.

A foreign tumour label hides the organ under it. It is filled with the nearest voxel of that organ
where the source shows any within reach, else with the structure that stands for the whole organ,
so that painting a scheme without tumours leaves no hole.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int16, Shaped, UInt8
from scipy.ndimage import distance_transform_edt, find_objects, generate_binary_structure, label
from scipy.spatial.distance import pdist

from manifests.anatomy import by_id, sites, structure
from manifests.case import Lesion, StructureMeasure
from manifests.errors import InvalidValueError, UnknownNameError
from manifests.geometry import Grid
from manifests.labelmap import LabelMap, Meaning, undivided, whole_structures

__all__ = ["longest_axial_mm", "measure_structures", "translate"]

FILL_REACH_MM = 15.0
_CORNERS = generate_binary_structure(3, 3)
Box = tuple[slice, ...]


def translate(
    values: Shaped[np.ndarray, "z y x"], meanings: LabelMap, grid: Grid
) -> tuple[UInt8[np.ndarray, "z y x"], UInt8[np.ndarray, "z y x"], tuple[Lesion, ...]]:
    """Turn a foreign label map into anatomy, lesion instances and their records.

    Instances are the 26-connected components of each (organ, kind).

    Raises:
        UnknownNameError: if a value occurs that the map does not explain.
        InvalidValueError: if there are more than 255 lesions.
    """
    present = np.flatnonzero(np.bincount(values.ravel())).tolist()
    unknown = [value for value in present if value and value not in meanings]
    if unknown:
        raise UnknownNameError(
            "label values",
            got=", ".join(map(str, unknown)),
            need=f"those of the label map ({', '.join(map(str, sorted(meanings)))})",
            do='Add them to the label map, or map them to "ignore".',
        )
    names = {value: meanings[value].structure for value in present if value}
    table = np.zeros(max(present) + 1, np.uint8)
    for value, name in names.items():
        table[value] = structure(name).id if name else 0
    anatomy: UInt8[np.ndarray, "z y x"] = table[values]
    lesions = np.zeros(values.shape, np.uint8)
    records: list[Lesion] = []
    for meaning in dict.fromkeys(meanings[value] for value in present if value):
        if meaning.organ is not None:
            wanted = [value for value in present if value and meanings[value] == meaning]
            records += _add_lesions(np.isin(values, wanted), meaning, (anatomy, lesions), len(records), grid)
    return anatomy, lesions, tuple(records)


def _add_lesions(
    mask: Bool[np.ndarray, "z y x"],
    meaning: Meaning,
    layers: tuple[UInt8[np.ndarray, "z y x"], UInt8[np.ndarray, "z y x"]],
    first: int,
    grid: Grid,
) -> Iterator[Lesion]:
    """Write the components of one kind of lesion into both layers and describe each."""
    anatomy, lesions = layers
    components, count = label(mask, structure=_CORNERS)
    if first + count > 255:
        raise InvalidValueError(
            "lesion layer",
            got=f"{first + count} separate lesions",
            need="at most 255",
            do="Remove specks from the label map first.",
        )
    for number, box in enumerate(find_objects(components), 1):
        inside = components[box] == number
        _fill(anatomy, (box, inside), str(meaning.organ), grid)
        lesions[box][inside] = first + number
        site = by_id(int(np.bincount(anatomy[box][inside]).argmax()))
        yield Lesion(
            id=first + number,
            organ=str(meaning.organ),
            site=site.name,
            side=site.side,
            kind=meaning.kind,
            size_mm=longest_axial_mm(inside, (grid.spacing_mm_zyx[1], grid.spacing_mm_zyx[2])),
            volume_ml=float(inside.sum()) * grid.voxel_volume_ml,
            center_mm_xyz=_center(box, inside, grid),
        )


def _fill(
    anatomy: UInt8[np.ndarray, "z y x"], lesion: tuple[Box, Bool[np.ndarray, "a b c"]], organ: str, grid: Grid
) -> None:
    """Give the voxels of a lesion the nearest structure of its organ."""
    box, inside = lesion
    pads = [int(np.ceil(FILL_REACH_MM / spacing)) for spacing in grid.spacing_mm_zyx]
    wide = tuple(slice(max(0, s.start - pad), s.stop + pad) for s, pad in zip(box, pads, strict=True))
    around = anatomy[wide]
    hosts = np.isin(around, [structure(name).id for name in (*sites(organ), *whole_structures(organ))])
    if not hosts.any():
        anatomy[box][inside] = structure(undivided(organ)).id
        return
    indices = distance_transform_edt(~hosts, sampling=grid.spacing_mm_zyx, return_distances=False, return_indices=True)
    filled = around[tuple(indices)]
    inner = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(box, wide, strict=True))
    anatomy[box][inside] = filled[inner][inside]


def longest_axial_mm(mask: Bool[np.ndarray, "z y x"], spacing_mm_yx: tuple[float, float]) -> float:
    """Longest diameter in any axial slice in mm, voxel edges included (RECIST 1.1); 0 for an empty mask.

    The two furthest points of a slice are corners of the first and last voxel of two of its rows.
    """
    return max((_diameter_mm(plane, spacing_mm_yx) for plane in mask if plane.any()), default=0.0)


def _diameter_mm(plane: Bool[np.ndarray, "y x"], spacing_mm_yx: tuple[float, float]) -> float:
    rows = np.flatnonzero(plane.any(axis=1))
    left = plane[rows].argmax(axis=1)
    right = plane.shape[1] - plane[rows, ::-1].argmax(axis=1)
    corners = [(row + up, x) for row, a, b in zip(rows, left, right, strict=True) for up in (0, 1) for x in (a, b)]
    return float(pdist(np.array(corners) * spacing_mm_yx).max())


def _center(box: Box, inside: Bool[np.ndarray, "a b c"], grid: Grid) -> tuple[float, float, float]:
    z, y, x = (
        origin + spacing * (s.start + float(index.mean()))
        for origin, spacing, s, index in zip(
            grid.origin_mm_xyz[::-1], grid.spacing_mm_zyx, box, np.nonzero(inside), strict=True
        )
    )
    return x, y, z


def measure_structures(
    ct: Int16[np.ndarray, "z y x"], anatomy: UInt8[np.ndarray, "z y x"], grid: Grid
) -> tuple[StructureMeasure, ...]:
    """Measure volume, HU and 26-connected parts of each structure present, by ascending id."""
    measures = []
    for number, box in enumerate(find_objects(anatomy), 1):
        if box is not None:
            inside = anatomy[box] == number
            hu = ct[box][inside].astype(np.float64)
            measures.append(
                StructureMeasure(
                    name=by_id(number).name,
                    volume_ml=hu.size * grid.voxel_volume_ml,
                    hu_mean=float(hu.mean()),
                    hu_sd=float(hu.std()),
                    components=int(label(inside, structure=_CORNERS)[1]),
                )
            )
    return tuple(measures)
