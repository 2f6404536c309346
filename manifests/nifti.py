"""NIfTI files to and from arrays (z, y, x) in LPS: the only place where axes are turned.

NIfTI stores (x, y, z) with an affine to RAS millimetres, in any of 48 axis orders and
directions. Reading turns all of them to one; what is tilted against the patient's axes is
refused, because an axis-aligned grid cannot hold it, unless resampling is asked for. Writing
sets sform and qform alike (code 1), so that every reader sees one geometry.
"""

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from jaxtyping import Float64, Int16, Int64, Num, Shaped, UInt8, UInt16
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from scipy.ndimage import affine_transform

from manifests.errors import FileFormatError, InvalidValueError, LocationError, StorageError
from manifests.geometry import HU_MAX, HU_MIN, Grid

__all__ = ["OBLIQUE_TOLERANCE_RAD", "read_ct", "read_labels", "read_nifti", "write_nifti"]

OBLIQUE_TOLERANCE_RAD = 1e-3
"""Largest tilt of a voxel axis against the patient's that counts as rounding: half a millimetre over 50 cm."""

_MM = {"unknown": 1.0, "mm": 1.0, "meter": 1000.0, "micron": 0.001}
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

Affine = Float64[np.ndarray, "4 4"]


def read_nifti(
    path: Path, *, labels: bool = False, resample_oblique: bool = False
) -> tuple[Num[np.ndarray, "z y x"], Grid]:
    """Read any three-dimensional NIfTI into (z, y, x) LPS.

    Args:
        path: a .nii or .nii.gz file.
        labels: whether values are categories; resampling then takes the nearest.
        resample_oblique: put a tilted image on the axis-aligned grid that encloses it, with its own
            spacings; linear, with air (-1024) around it, for images.

    Returns:
        The values with scale and intercept applied (the stored integers where there are none), C order,
        and their grid.

    Raises:
        LocationError: if there is no such file.
        FileFormatError: if it is not a readable 3-D image with finite real values and one orientation,
            or is tilted by more than `OBLIQUE_TOLERANCE_RAD`.
    """
    image = _load(path)
    values = _values(path, image)
    affine = _affine_lps(path, image)
    if _tilt_rad(affine) <= OBLIQUE_TOLERANCE_RAD:
        return _turn(values, affine)
    if not resample_oblique:
        raise FileFormatError(
            str(path),
            got=f"axes tilted by {np.degrees(_tilt_rad(affine)):.2f} degrees against the patient",
            need="axes along the patient's",
            do="Resample it to an axis-aligned grid first, or ask for resample_oblique.",
        )
    return _resample(values, affine, labels=labels)


def read_ct(path: Path, *, resample_oblique: bool = False) -> tuple[Int16[np.ndarray, "z y x"], Grid]:
    """Read a CT in HU, rounded and clipped to the stored range [-1024, 3071].

    Clipping is part of the format: what scanners write beyond 12 bits is padding or metal.

    Raises:
        LocationError, FileFormatError: as `read_nifti`, or if no voxel is in the range of CT.
    """
    values, grid = read_nifti(path, resample_oblique=resample_oblique)
    low, high = float(values.min()), float(values.max())
    if low == high or high <= HU_MIN or low >= HU_MAX:
        raise FileFormatError(
            str(path), got=f"values from {low:g} to {high:g}", need="a CT in Hounsfield units", do="Check the image."
        )
    rounded = values if values.dtype.kind in "iu" else np.rint(values)
    return np.clip(rounded, HU_MIN, HU_MAX).astype(np.int16), grid


def read_labels(
    path: Path, *, resample_oblique: bool = False
) -> tuple[UInt8[np.ndarray, "z y x"] | UInt16[np.ndarray, "z y x"], Grid]:
    """Read a label map as the smallest unsigned type that holds it; whole floats are accepted.

    Raises:
        LocationError, FileFormatError: as `read_nifti`, or if a value is negative, fractional or above 65535.
    """
    values, grid = read_nifti(path, labels=True, resample_oblique=resample_oblique)
    whole = values.dtype.kind in "iu" or bool((values == np.rint(values)).all())
    low, high = values.min(), values.max()
    if not whole or low < 0 or high > 65535:
        raise FileFormatError(
            str(path),
            got=f"values from {low:g} to {high:g}" + ("" if whole else ", some fractional"),
            need="whole numbers from 0 to 65535",
            do="Use the label map, not the image or a probability map.",
        )
    return values.astype(np.uint8 if high < 256 else np.uint16), grid


def write_nifti(path: Path, array: Shaped[np.ndarray, "z y x"], grid: Grid, *, level: int = 3) -> None:
    """Write an array as NIfTI-1 with one geometry; equal input gives equal bytes.

    Axes are stored x, y, z towards left, posterior, superior. sform and qform have code 1, units are mm,
    slope is 1. The file appears whole or not at all.

    Args:
        path: ends in .nii or .nii.gz; its folder exists.
        array: int16 HU, or uint8 or uint16 labels.
        grid: of the array's shape.
        level: gzip level from 1 (fast) to 9 (small), for .nii.gz.

    Raises:
        InvalidValueError: if dtype, shape, level or name does not fit.
        LocationError: if the folder is missing or not writable, or holds the same name with the other ending.
        StorageError: if the disk is full or fails.
    """
    _check_writable(path, array, grid, level)
    _check_alone(path)
    image = nib.Nifti1Image(array.transpose(2, 1, 0), None, dtype=array.dtype)
    image.set_sform(grid.affine_ras, code=1)
    image.set_qform(grid.affine_ras, code=1)
    image.header.set_xyzt_units("mm")
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=level, mtime=0) as stream:
                    image.to_stream(stream)
            else:
                image.to_stream(file)
        partial.replace(path)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise LocationError(
            str(path), got=str(error), need="a writable folder", do="Create it or choose another."
        ) from error
    except OSError as error:
        raise StorageError(str(path), got=str(error), need="a disk that takes it", do="Free space; retry.") from error
    finally:
        if path.parent.is_dir():
            partial.unlink(missing_ok=True)


def _check_writable(path: Path, array: Shaped[np.ndarray, "z y x"], grid: Grid, level: int) -> None:
    def refuse(what: str, got: object, need: str) -> InvalidValueError:
        return InvalidValueError(f"{what} of {path.name}", got=str(got), need=need, do="Convert before writing.")

    if array.dtype not in (np.int16, np.uint8, np.uint16):
        raise refuse("dtype", array.dtype, "int16 for CT, uint8 or uint16 for labels")
    if array.shape != grid.shape_zyx:
        raise refuse("shape", array.shape, f"the grid's {grid.shape_zyx}")
    if not path.name.endswith((".nii", ".nii.gz")):
        raise refuse("name", path.name, "an ending .nii or .nii.gz")
    if not 1 <= level <= 9:
        raise refuse("gzip level", level, "1 to 9")


def _check_alone(path: Path) -> None:
    """Refuse x.nii.gz beside x.nii: ITK would read the header of one and the voxels of the other."""
    stem = path.name.removesuffix(".gz").removesuffix(".nii")
    twin = path.with_name(f"{stem}.nii" if path.suffix == ".gz" else f"{stem}.nii.gz")
    if twin.exists():
        raise LocationError(
            str(path), got=f"{twin.name} beside it", need="one of the two", do="Remove it: readers mix them up."
        )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what a reader may raise on a bad file into one error."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise LocationError(
            str(path), got=type(error).__name__, need="a readable NIfTI file", do="Check the path."
        ) from error
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, zlib.error) as error:
        message = " ".join(str(error).split())
        raise FileFormatError(
            str(path), got=message, need="a complete NIfTI image", do="Fetch or convert the file again."
        ) from error


def _load(path: Path) -> Any:
    if path.is_dir():
        raise LocationError(str(path), got="a folder", need="a NIfTI file", do="Name the file in it.")
    with _reading(path):
        image = nib.load(path)
    if not isinstance(image, nib.Nifti1Image):
        raise FileFormatError(str(path), got=type(image).__name__, need="a NIfTI image", do="Convert the file.")
    return image


def _values(path: Path, image: Any) -> Num[np.ndarray, "i j k"]:
    """Read voxel values (i, j, k) in storage order; trailing axes of length 1 are dropped."""

    def refuse(got: str, need: str) -> FileFormatError:
        return FileFormatError(str(path), got=got, need=need, do="Take one volume of real numbers from it.")

    if len(image.shape) < 3 or any(n != 1 for n in image.shape[3:]) or 0 in image.shape:
        raise refuse(f"shape {image.shape}", "three dimensions")
    if image.get_data_dtype().kind not in "iuf":
        raise refuse(f"values of type {image.get_data_dtype()}", "integers or floats")
    with _reading(path):
        stored = np.asanyarray(image.dataobj).reshape(image.shape[:3], order="F")
        values: Num[np.ndarray, "i j k"] = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise refuse("NaN or infinity", "finite values")
    return values


def _affine_lps(path: Path, image: Any) -> Affine:
    """Find the one affine from voxel (i, j, k) to LPS mm that the header states."""
    header = image.header
    with _reading(path):
        scale = np.diag([_MM[header.get_xyzt_units()[0]]] * 3 + [1.0])
        stated = [form[0] for form in (image.get_sform(coded=True), image.get_qform(coded=True)) if form[0] is not None]
    problem = _affine_problem(stated, image.shape[:3])
    if problem is not None:
        raise FileFormatError(
            str(path), got=problem, need="one invertible orientation", do="Repair the header from the source image."
        )
    affine: Affine = _RAS_TO_LPS @ scale @ stated[0].astype(np.float64)
    return affine


def _affine_problem(stated: list[Any], shape: tuple[int, ...]) -> str | None:
    if not stated:
        return "neither sform nor qform"
    if not np.isfinite(stated).all() or any(abs(np.linalg.det(form[:3, :3])) < 1e-9 for form in stated):
        return "a singular or non-finite affine"
    corners = np.array([[i, j, k, 1] for i in (0, shape[0]) for j in (0, shape[1]) for k in (0, shape[2])])
    apart = max(float(np.linalg.norm((corners @ (form - stated[0]).T)[:, :3], axis=1).max()) for form in stated)
    voxel = float(np.linalg.norm(stated[0][:3, :3], axis=0).min())
    return f"sform and qform {apart:.1f} units apart" if apart > voxel else None


def _axes(affine: Affine) -> tuple[Int64[np.ndarray, " 3"], Float64[np.ndarray, "3 3"], Float64[np.ndarray, " 3"]]:
    """For each voxel axis: the patient axis nearest to it, its unit direction (columns), its spacing in mm."""
    spacing: Float64[np.ndarray, " 3"] = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / spacing
    return np.abs(direction).argmax(axis=0), direction, spacing


def _tilt_rad(affine: Affine) -> float:
    """Angle in radians of the voxel axis that is furthest from the patient's; pi / 2 if two share one."""
    nearest, direction, _ = _axes(affine)
    if len(set(nearest.tolist())) < 3:
        return float(np.pi / 2)
    along = np.abs(direction[nearest, range(3)])
    across = np.sqrt((direction**2).sum(axis=0) - along**2 + 0.0).clip(0)
    return float(np.arctan2(across, along).max())


def _turn(values: Num[np.ndarray, "i j k"], affine: Affine) -> tuple[Num[np.ndarray, "z y x"], Grid]:
    """Permute and flip voxel axes to (z, y, x) LPS."""
    nearest, direction, spacing = _axes(affine)
    first = np.zeros(4)
    first[3] = 1.0
    flips = [slice(None)] * 3
    for axis in range(3):
        if direction[nearest[axis], axis] < 0:
            flips[axis], first[axis] = slice(None, None, -1), values.shape[axis] - 1
    order = [int(np.flatnonzero(nearest == patient)[0]) for patient in (2, 1, 0)]
    turned = np.ascontiguousarray(values[tuple(flips)].transpose(order))
    sz, sy, sx = (float(spacing[axis]) for axis in order)
    x, y, z = (float(v) for v in (affine @ first)[:3])
    return turned, Grid(turned.shape, (sz, sy, sx), (x, y, z))


def _resample(
    values: Num[np.ndarray, "i j k"], affine: Affine, *, labels: bool
) -> tuple[Num[np.ndarray, "z y x"], Grid]:
    """Put a tilted image on the axis-aligned grid that encloses its voxel centres."""
    nearest, _, spacing = _axes(affine)
    step = np.array([spacing[np.flatnonzero(nearest == axis)].min(initial=spacing.max()) for axis in range(3)])
    corners = np.array([[i, j, k, 1] for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * [
        *(np.array(values.shape) - 1),
        1,
    ]
    world = (corners @ affine.T)[:, :3]
    count = np.ceil((world.max(axis=0) - world.min(axis=0)) / step - 1e-6).astype(int) + 1
    (nx, ny, nz), (sx, sy, sz), (x, y, z) = count.tolist(), step.tolist(), world.min(axis=0).tolist()
    grid = Grid((nz, ny, nx), (sz, sy, sx), (x, y, z))
    to_voxel = np.linalg.inv(affine) @ grid.affine_lps @ np.eye(4)[[2, 1, 0, 3]]
    moved = affine_transform(
        values if labels else values.astype(np.float32),
        to_voxel,
        output_shape=grid.shape_zyx,
        order=0 if labels else 1,
        cval=0 if labels else HU_MIN,
    )
    return moved, grid
