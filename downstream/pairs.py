"""The volumes of one case as NIfTI files, each read back before it gets its name.

The reader that checks is SimpleITK, which shares no code with the writer: spacing, origin,
direction and size must be those of the grid, all volumes of a case must agree exactly, and every
voxel must come back. So a file with its final name is whole and right.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8

from downstream.export_inputs import require_package
from manifests.case import Arrays, CaseRecord
from manifests.errors import DefectError
from manifests.geometry import Grid
from manifests.nifti import write_nifti
from manifests.schemes import Scheme, paint

__all__ = ["check_volumes", "painted", "require_same_grid", "require_simpleitk", "write_pair", "write_volumes"]

_POSITION_TOLERANCE_MM = 1e-3
"""NIfTI stores positions as float32: 3e-5 mm at half a metre, so this is generous and still exact to the eye."""

Volumes = Mapping[Path, Integer[np.ndarray, "z y x"]]


def painted(record: CaseRecord, arrays: Arrays, scheme: Scheme) -> tuple[UInt8[np.ndarray, "z y x"], tuple[str, ...]]:
    """Paint a case by a scheme: the label map, and the names of the foreground labels that have voxels."""
    label = paint(arrays.anatomy, arrays.lesions, record.lesions, scheme)
    values = set(np.flatnonzero(np.bincount(label.ravel())).tolist())
    return label, tuple(name for name, value in scheme.labels.items() if value and value in values)


def write_pair(record: CaseRecord, arrays: Arrays, scheme: Scheme, image: Path, label: Path) -> tuple[str, ...]:
    """Write the CT of a case and its labels as a scheme paints them; the names of the foreground labels that have voxels.

    Raises:
        DefectError, StorageError: as `write_volumes`.
    """
    values, names = painted(record, arrays, scheme)
    write_volumes(record.case_id, {image: arrays.ct, label: values}, arrays.grid)
    return names


def write_volumes(case_id: str, volumes: Volumes, grid: Grid) -> None:
    """Write volumes of one grid and check them.

    Args:
        case_id: for messages.
        volumes: int16 HU or uint8 labels by path; folders exist.
        grid: of all of them.

    Raises:
        DefectError: if SimpleITK reads anything else than what was written.
        StorageError: if the disk is full or fails.
    """
    for path, array in volumes.items():
        write_nifti(path, array, grid)
    check_volumes(case_id, volumes, grid)


def require_simpleitk() -> None:
    """Make sure that the checking reader is there.

    Raises:
        MissingDependencyError: saying what to install.
    """
    require_package("SimpleITK", "nnunet", "to re-read exported files")


def check_volumes(case_id: str, volumes: Volumes, grid: Grid) -> None:
    """Read volumes back with SimpleITK and compare voxels and geometry.

    Raises:
        DefectError: naming the first file that differs.
    """
    import SimpleITK

    geometries = []
    for path, array in volumes.items():
        image = SimpleITK.ReadImage(str(path))
        geometries.append((image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()))
        require_same_grid(f"{case_id}, {path.name}", geometries[-1], grid)
        if not np.array_equal(SimpleITK.GetArrayViewFromImage(image), array):
            raise _differs(f"{case_id}, {path.name}", "other voxels than written", "every voxel back")
    if any(geometry != geometries[0] for geometry in geometries):
        raise _differs(case_id, f"geometries {geometries}", "one geometry for all")


def require_same_grid(what: str, geometry: tuple[tuple[int | float, ...], ...], grid: Grid) -> None:
    """Compare what SimpleITK says (size, spacing, origin, direction) with a grid.

    Raises:
        DefectError: if they differ by more than the rounding of a file format.
    """
    size, spacing, origin, direction = geometry
    expected = (grid.shape_zyx[::-1], grid.spacing_mm_zyx[::-1], grid.origin_mm_xyz, np.eye(3).ravel())
    if (
        tuple(size) != expected[0]
        or not np.allclose(spacing, expected[1], rtol=1e-6)
        or not np.allclose(origin, expected[2], rtol=0, atol=_POSITION_TOLERANCE_MM)
        or not np.allclose(direction, expected[3], rtol=0, atol=1e-6)
    ):
        raise _differs(what, f"geometry {geometry}", f"the grid {grid}")


def _differs(what: str, got: str, need: str) -> DefectError:
    return DefectError(what, got=f"{got} when read with SimpleITK", need=need, do="Please report it.")
