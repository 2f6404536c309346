"""The array store: one OME-Zarr 0.5 image group (Zarr v3) per case.

    <case>/                  image: attributes `ome` (multiscales) and `factory` (exact grid, affine)
        0/                   CT, int16 HU
        labels/anatomy/0/    uint8 ids of the anatomy table
        labels/lesions/0/    uint8 instance ids

Every array is one shard of 64^3 chunks, blosc zstd-3 with bit shuffle. A chunk that is all
background is not stored; an array that is all background has no shard file. Equal arrays and
attributes give equal bytes.
"""

import colorsys
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from jaxtyping import Shaped
from zarr.codecs import BloscCodec

from manifests.anatomy import structures
from manifests.case import FORMAT_VERSION, Arrays
from manifests.durable import flush_directory
from manifests.errors import CorruptDatasetError
from manifests.geometry import HU_MIN, Grid
from manifests.identity import array_sha256

__all__ = [
    "CHUNK",
    "LAYERS",
    "Layer",
    "LayerName",
    "Stored",
    "file_hashes",
    "open_layer",
    "read_arrays",
    "read_grid",
    "write_arrays",
]

CHUNK = 64
"""Edge of a chunk in voxels: a patch read touches few chunks and a shard index stays small."""

LayerName = Literal["ct", "anatomy", "lesions"]


@dataclass(frozen=True, slots=True)
class Layer:
    """Where an array lies inside its case, and what an absent chunk means."""

    path: str
    dtype: np.dtype[Any]
    background: int


LAYERS: dict[LayerName, Layer] = {
    "ct": Layer("0", np.dtype("int16"), HU_MIN),
    "anatomy": Layer("labels/anatomy/0", np.dtype("uint8"), 0),
    "lesions": Layer("labels/lesions/0", np.dtype("uint8"), 0),
}


@dataclass(frozen=True, slots=True)
class Stored:
    """What writing left behind.

    Attributes:
        ct_sha256, anatomy_sha256, lesions_sha256: hashes of dtype, shape and voxels
            (`manifests.identity.array_sha256`); they survive a change of codec.
        stored_bytes: sum of the sizes of all files.
        stored_sha256: SHA-256 of each file's bytes by its path inside the case, sorted.
    """

    ct_sha256: str
    anatomy_sha256: str
    lesions_sha256: str
    stored_bytes: int
    stored_sha256: dict[str, str]


def write_arrays(path: Path, arrays: Arrays, attributes: Mapping[str, Any], *, durable: bool = True) -> Stored:
    """Write a case to a directory that does not exist yet.

    Args:
        path: directory to make; its parents are made too.
        arrays: the volumes.
        attributes: JSON data kept beside the grid in the `factory` attribute, e.g. `case_id`;
            the entry `lesions` (dicts with `id`, `organ` and `site`) also names the instances.
        durable: whether to flush files and directories to the disk before returning.

    Raises:
        OSError: whatever the file system says; a partial directory may remain.
    """
    path.mkdir(parents=True)
    _write_group(path, {"ome": _image(arrays.grid, "ct"), "factory": _factory(arrays.grid) | dict(attributes)})
    _write_group(path / "labels", {"ome": {"version": "0.5", "labels": ["anatomy", "lesions"]}})
    names = {"anatomy": _anatomy_names(), "lesions": _lesion_names(attributes)}
    for name, properties in names.items():
        ome = _image(arrays.grid, name) | {"image-label": _image_label(properties)}
        _write_group(path / "labels" / name, {"ome": ome})
    hashes = {}
    for layer in LAYERS:
        array = getattr(arrays, layer)
        _write_layer(path, layer, array)
        hashes[f"{layer}_sha256"] = array_sha256(array)
    files = file_hashes(path, flush=durable)
    if durable:
        _flush_directories(path)
    return Stored(stored_bytes=sum(size for _, size in files.values()), stored_sha256=_digests(files), **hashes)


def read_arrays(path: Path) -> Arrays:
    """Read the three volumes of a case.

    Raises:
        CorruptDatasetError: if metadata or arrays are missing, or differ in shape or dtype.
    """
    grid = read_grid(path)
    volumes = {layer: _read(path, layer, grid.shape_zyx) for layer in LAYERS}
    return Arrays(grid=grid, **volumes)


def read_grid(path: Path) -> Grid:
    """Read the exact grid from the `factory` attribute of a case.

    Raises:
        CorruptDatasetError: if the group or the attribute is missing or unreadable.
    """
    try:
        attribute = zarr.open_group(path, mode="r", zarr_format=3).attrs["factory"]
        return Grid(**attribute["grid"])  # type: ignore[call-overload, index, arg-type]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise _corrupt(path, f"no readable grid ({error})", "an OME-Zarr group with a `factory` attribute") from error


def open_layer(path: Path, layer: LayerName) -> "zarr.Array[Any]":
    """Open one volume lazily; slicing it reads only the chunks it touches.

    Raises:
        CorruptDatasetError: if the array is missing or has another dtype.
    """
    entry = LAYERS[layer]
    try:
        array = zarr.open_array(path / entry.path, mode="r", zarr_format=3)
    except (OSError, KeyError, ValueError) as error:
        raise _corrupt(path / entry.path, f"unreadable metadata ({error})", "a Zarr v3 array") from error
    if array.dtype != entry.dtype:
        raise _corrupt(path / entry.path, f"dtype {array.dtype}", str(entry.dtype))
    return array


def file_hashes(path: Path, *, flush: bool = False) -> dict[str, tuple[str, int]]:
    """Hash each file below a directory: relative POSIX path -> (SHA-256, size), sorted.

    Args:
        path: the directory.
        flush: whether to also flush each file to the disk.
    """
    found = {}
    for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            if flush:
                os.fsync(stream.fileno())
            found[file.relative_to(path).as_posix()] = (digest, stream.tell())
    return found


def _digests(files: Mapping[str, tuple[str, int]]) -> dict[str, str]:
    return {name: digest for name, (digest, _) in files.items()}


def _flush_directories(path: Path) -> None:
    """Flush the directories of a case from the leaves up, then the two that hold the case."""
    inside = sorted((entry for entry in path.rglob("*") if entry.is_dir()), key=lambda entry: -len(entry.parts))
    for directory in (*inside, path, path.parent, path.parent.parent):
        flush_directory(directory)


def _write_group(path: Path, attributes: dict[str, Any]) -> None:
    zarr.create_group(path, zarr_format=3, attributes=attributes)


def _write_layer(path: Path, layer: LayerName, array: Shaped[np.ndarray, "z y x"]) -> None:
    entry = LAYERS[layer]
    target = zarr.create_array(
        path / entry.path,
        shape=array.shape,
        dtype=entry.dtype,
        chunks=(CHUNK,) * 3,
        # One shard holds the whole array: two files each, and never two writers in one shard.
        shards=tuple(-(-size // CHUNK) * CHUNK for size in array.shape),
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="bitshuffle", typesize=entry.dtype.itemsize),
        fill_value=entry.background,
        dimension_names=("z", "y", "x"),
        zarr_format=3,
    )
    target[...] = array


def _read(path: Path, layer: LayerName, shape: tuple[int, int, int]) -> Shaped[np.ndarray, "z y x"]:
    array = open_layer(path, layer)
    if array.shape != shape:
        raise _corrupt(path / LAYERS[layer].path, f"shape {array.shape}", f"{shape}, the grid of the case")
    try:
        return np.asarray(array[...])
    except (OSError, ValueError, RuntimeError) as error:
        raise _corrupt(
            path / LAYERS[layer].path, f"undecodable bytes ({error})", "blosc chunks in one shard"
        ) from error


def _corrupt(path: Path, got: str, need: str) -> CorruptDatasetError:
    return CorruptDatasetError(str(path), got=got, need=need, do="Run `factory check` on the dataset.")


def _factory(grid: Grid) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "grid": grid.to_json(),
        "affine_ras": (grid.affine_ras + 0.0).tolist(),  # no minus zeros
        "index_order": "zyx",
        "affine_index_order": "xyz",
        "world": "LPS",
    }


def _image(grid: Grid, name: str) -> dict[str, Any]:
    """The `ome` attribute of a single-scale image; the translation is the LPS origin."""
    transforms = [
        {"type": "scale", "scale": list(grid.spacing_mm_zyx)},
        {"type": "translation", "translation": list(grid.origin_mm_xyz[::-1])},
    ]
    return {
        "version": "0.5",
        "multiscales": [
            {
                "name": name,
                "axes": [{"name": axis, "type": "space", "unit": "millimeter"} for axis in "zyx"],
                "datasets": [{"path": "0", "coordinateTransformations": transforms}],
            }
        ],
    }


def _anatomy_names() -> dict[int, str]:
    return {entry.id: entry.name for entry in structures()}


def _lesion_names(attributes: Mapping[str, Any]) -> dict[int, str]:
    return {entry["id"]: f"{entry['site']}: {entry['organ']} lesion" for entry in attributes.get("lesions", ())}


def _image_label(names: Mapping[int, str]) -> dict[str, Any]:
    return {
        "colors": [{"label-value": 0, "rgba": [0, 0, 0, 0]}, *_colours(names)],
        "properties": [{"label-value": 0, "name": "background"}]
        + [{"label-value": value, "name": name} for value, name in names.items()],
        "source": {"image": "../../"},
    }


def _colours(values: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    """Colours that depend on the value alone; neighbours differ by the golden angle of hue."""
    for value in values:
        hue = (value * 0.618034) % 1.0
        red, green, blue = colorsys.hsv_to_rgb(hue, 0.55 + 0.4 * (value % 2), 1.0 - 0.25 * (value % 3 == 0))
        yield {"label-value": value, "rgba": [round(255 * channel) for channel in (red, green, blue)] + [255]}
