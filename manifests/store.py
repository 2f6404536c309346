"""The array store: one OME-Zarr 0.5 image group (Zarr v3) per case.

    <case>/                  image: attributes `ome` (multiscales) and `factory` (exact grid, affine)
        0/                   CT, int16 HU
        labels/anatomy/0/    uint8 ids of the anatomy table
        labels/lesions/0/    uint8 instance ids

Every array is one shard of chunks of at most 64 voxels an edge, compressed by blosc with zstd. A
chunk that is all background is not stored; an array that is all background has no shard file.
Equal arrays and attributes give equal bytes.
"""

import colorsys
import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import zarr
from blake3 import blake3
from jaxtyping import Shaped

from manifests.anatomy import structures
from manifests.case import FORMAT_VERSION, Arrays
from manifests.durable import flush
from manifests.errors import CorruptDatasetError
from manifests.geometry import HU_MIN, Grid
from manifests.identity import array_blake3
from manifests.shard import Codec, array_metadata, encode

__all__ = [
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

LayerName = Literal["ct", "anatomy", "lesions"]

_Written = dict[str, tuple[str, int]]  # BLAKE3 and size by path inside the case


@dataclass(frozen=True, slots=True)
class Layer:
    """Where an array lies inside its case, and what an absent chunk means."""

    path: str
    dtype: np.dtype[Any]
    background: int
    codec: Codec


# Chosen on seven real CTs: bit shuffle at level 3 saves 1 % more and takes 1.7 times as long. Label
# maps of many structures pack better and faster without a shuffle.
_CT_CODEC, _LABEL_CODEC = Codec(2, "bitshuffle"), Codec(1, "noshuffle")

LAYERS: dict[LayerName, Layer] = {
    "ct": Layer("0", np.dtype("int16"), HU_MIN, _CT_CODEC),
    "anatomy": Layer("labels/anatomy/0", np.dtype("uint8"), 0, _LABEL_CODEC),
    "lesions": Layer("labels/lesions/0", np.dtype("uint8"), 0, _LABEL_CODEC),
}


@dataclass(frozen=True, slots=True)
class Stored:
    """What writing left behind.

    Attributes:
        ct_blake3, anatomy_blake3, lesions_blake3: hashes of dtype, shape and voxels
            (`manifests.identity.array_blake3`); they survive a change of codec.
        stored_bytes: sum of the sizes of all files.
        stored_blake3: BLAKE3 of each file's bytes by its path inside the case, sorted.
    """

    ct_blake3: str
    anatomy_blake3: str
    lesions_blake3: str
    stored_bytes: int
    stored_blake3: dict[str, str]


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
    volumes = {layer: getattr(arrays, layer) for layer in LAYERS}
    written = _write_groups(path, arrays.grid, attributes)
    for layer, volume in volumes.items():
        written |= _write_layer(path, layer, volume)
    if durable:
        _flush(path, written)
    return Stored(
        **{f"{layer}_blake3": array_blake3(volume) for layer, volume in volumes.items()},
        stored_bytes=sum(size for _, size in written.values()),
        stored_blake3={name: written[name][0] for name in sorted(written)},
    )


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
        group = json.loads((path / "zarr.json").read_bytes())
        return Grid(**{name: tuple(values) for name, values in group["attributes"]["factory"]["grid"].items()})
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise _corrupt(path, f"no readable grid ({error})", "an OME-Zarr group with a `factory` attribute") from error


def open_layer(path: Path, layer: LayerName) -> "zarr.Array[Any]":
    """Open one volume lazily; slicing it reads only the chunks it touches.

    Raises:
        CorruptDatasetError: if the array is missing or has another dtype.
    """
    entry = LAYERS[layer]
    try:
        array = zarr.open_array(path / entry.path, mode="r", zarr_format=3)
    except (OSError, LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise _corrupt(path / entry.path, f"unreadable metadata ({error})", "a Zarr v3 array") from error
    if array.dtype != entry.dtype:
        raise _corrupt(path / entry.path, f"dtype {array.dtype}", str(entry.dtype))
    return array


def file_hashes(path: Path) -> dict[str, str]:
    """Hash each file below a directory: BLAKE3 by relative POSIX path, sorted; empty for no directory."""
    found = {}
    for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
        found[file.relative_to(path).as_posix()] = blake3().update_mmap(file).hexdigest()
    return found


def _write(path: Path, name: str, data: bytes) -> _Written:
    """Write one file of a case; its name with BLAKE3 and size."""
    file = path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("xb") as stream:
        stream.write(data)
    return {name: (blake3(data).hexdigest(), len(data))}


def _flush(path: Path, names: Iterable[str]) -> None:
    """Flush the files of a case, their directories, and the two that hold the case.

    All at once: the file system then commits them together, in the time of one or two.
    """
    files = [path / name for name in names]
    inside = {parent for file in files for parent in file.parents if parent.is_relative_to(path)}
    with ThreadPoolExecutor(max_workers=8) as pool:
        for done in [pool.submit(flush, entry) for entry in (*files, *inside, path.parent, path.parent.parent)]:
            done.result()


def _write_layer(path: Path, layer: LayerName, volume: Shaped[np.ndarray, "z y x"]) -> _Written:
    entry = LAYERS[layer]
    metadata = _write(path, f"{entry.path}/zarr.json", _json(array_metadata(volume, entry.codec, entry.background)))
    shard = encode(volume, entry.codec, entry.background)
    return metadata if shard is None else metadata | _write(path, f"{entry.path}/c/0/0/0", shard)


def _write_groups(path: Path, grid: Grid, attributes: Mapping[str, Any]) -> _Written:
    """Write the metadata of the four groups."""
    image = {"ome": _image(grid, "ct"), "factory": _factory(grid) | dict(attributes)}
    listing = {"ome": {"version": "0.5", "labels": ["anatomy", "lesions"]}}
    written = _write(path, "zarr.json", _group(image)) | _write(path, "labels/zarr.json", _group(listing))
    for name, properties in {"anatomy": _anatomy_names(), "lesions": _lesion_names(attributes)}.items():
        label = {"ome": _image(grid, name) | {"image-label": _image_label(properties)}}
        written |= _write(path, f"labels/{name}/zarr.json", _group(label))
    return written


def _group(attributes: dict[str, Any]) -> bytes:
    return _json({"zarr_format": 3, "node_type": "group", "attributes": attributes})


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"


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
