"""One case as two NIfTI files, image and painted label, each read back before it gets its name.

The reader that checks is SimpleITK, which shares no code with the writer: spacing, origin,
direction and size must be those of the grid, image and label must agree exactly, and every
voxel must come back. So a file with its final name is whole and right.
"""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Integer

from manifests.case import Arrays, CaseRecord
from manifests.errors import DefectError, FactoryError, LocationError, MissingDependencyError, StorageError
from manifests.geometry import Grid
from manifests.nifti import write_nifti
from manifests.schemes import Scheme, paint

__all__ = ["PairFiles", "file_sha256", "require_simpleitk", "write_pair", "writing"]

_POSITION_TOLERANCE_MM = 1e-3
"""NIfTI stores positions as float32: 3e-5 mm at half a metre, so this is generous and still exact to the eye."""


@dataclass(frozen=True, slots=True)
class PairFiles:
    """The two files of a case: SHA-256 of their bytes, and the foreground labels that have voxels."""

    image_sha256: str
    label_sha256: str
    classes: tuple[str, ...]


def write_pair(
    record: CaseRecord, arrays: Arrays, scheme: Scheme, targets: tuple[Path, Path], scratch: Path
) -> PairFiles:
    """Write the CT and the painted label of a case and check both.

    Args:
        record: the case; its lesion records tell the organ of each instance.
        arrays: its arrays.
        scheme: the label scheme to paint.
        targets: final paths of image and label; an existing file is replaced as a whole.
        scratch: existing folder on the same file system, where files grow.

    Raises:
        DefectError: if SimpleITK reads anything else than what was written.
        StorageError: if the disk is full or fails; nothing is left under a final name.
    """
    painted = paint(arrays.anatomy, arrays.lesions, record.lesions, scheme)
    image, label = (scratch / target.name for target in targets)
    with writing(scratch):
        write_nifti(image, arrays.ct, arrays.grid)
        write_nifti(label, painted, arrays.grid)
        _check_pair(record.case_id, (image, label), (arrays.ct, painted), arrays.grid)
        files = PairFiles(file_sha256(image), file_sha256(label), _present(painted, scheme.labels))
        for source, target in zip((image, label), targets, strict=True):
            source.replace(target)
    return files


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turn operating system errors into ours: no permission is the user's to fix, the rest may pass."""
    try:
        yield
    except FactoryError:
        raise
    except (PermissionError, NotADirectoryError, FileExistsError) as error:
        raise LocationError(
            str(place), got=error.strerror or str(error), need="a folder that can be written", do="Choose another."
        ) from error
    except OSError as error:
        raise StorageError(
            str(place), got=error.strerror or str(error), need="a disk with room", do="Free space and run it again."
        ) from error


def require_simpleitk() -> None:
    """Make sure that the checking reader is there.

    Raises:
        MissingDependencyError: saying what to install.
    """
    try:
        import SimpleITK  # noqa: F401  an optional package
    except ImportError as error:
        raise MissingDependencyError(
            "SimpleITK",
            got="no such package",
            need="it to re-read exported files",
            do="pip install 'ct-factory[nnunet]'",
        ) from error


def _present(painted: Integer[np.ndarray, "z y x"], labels: Mapping[str, int]) -> tuple[str, ...]:
    values = set(np.flatnonzero(np.bincount(painted.ravel())).tolist())
    return tuple(name for name, value in labels.items() if value and value in values)


def _check_pair(
    case_id: str,
    paths: tuple[Path, Path],
    written: tuple[Integer[np.ndarray, "z y x"], Integer[np.ndarray, "z y x"]],
    grid: Grid,
) -> None:
    import SimpleITK

    geometries = []
    for path, array in zip(paths, written, strict=True):
        image = SimpleITK.ReadImage(str(path))
        geometries.append((image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection()))
        _check_geometry(f"{case_id}, {path.name}", geometries[-1], grid)
        if not np.array_equal(SimpleITK.GetArrayViewFromImage(image), array):
            raise _differs(f"{case_id}, {path.name}", "other voxels than written", "every voxel back")
    if geometries[0] != geometries[1]:
        raise _differs(case_id, f"image {geometries[0]}, label {geometries[1]}", "one geometry for both")


def _check_geometry(what: str, geometry: tuple[tuple[int | float, ...], ...], grid: Grid) -> None:
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
