"""One array as one shard of Zarr v3: its metadata and its bytes, straight from the specification.

Written here rather than by zarr-python for three reasons: a build spends its time in the codec and
not around it, hashes are taken of bytes that are still in memory, and equal arrays give equal bytes
whatever the version of zarr-python. Tests read every shard back with zarr-python and compare the
metadata with its own.

Source: https://zarr-specs.readthedocs.io, core protocol v3 and codec `sharding_indexed` 1.0.
"""

import itertools
import math
from dataclasses import dataclass

import google_crc32c
import numpy as np
from jaxtyping import Shaped
from numcodecs import Blosc

__all__ = ["EDGE", "Codec", "array_metadata", "chunk_shape", "encode"]

EDGE = 64
"""Longest edge of a chunk in voxels: a patch read touches few chunks, a shard index stays small."""

_ABSENT = np.uint64(2**64 - 1)
_SHUFFLE = {"noshuffle": Blosc.NOSHUFFLE, "bitshuffle": Blosc.BITSHUFFLE}


@dataclass(frozen=True, slots=True)
class Codec:
    """How the chunks of an array are compressed: blosc with zstd."""

    level: int
    shuffle: str


def chunk_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Cut each axis into equal chunks of at most `EDGE` voxels, so that little is padded."""
    return tuple(math.ceil(size / math.ceil(size / EDGE)) for size in shape)


def array_metadata(array: Shaped[np.ndarray, "..."], codec: Codec, fill: int) -> dict[str, object]:
    """The `zarr.json` of an array that is one shard; axes are the last of z, y, x."""
    chunks = chunk_shape(array.shape)
    little = {"name": "bytes", "configuration": {"endian": "little"}} if array.itemsize > 1 else {"name": "bytes"}
    blosc = {
        "typesize": array.itemsize,
        "cname": "zstd",
        "clevel": codec.level,
        "shuffle": codec.shuffle,
        "blocksize": 0,
    }
    sharding = {
        "chunk_shape": list(chunks),
        "codecs": [little, {"name": "blosc", "configuration": blosc}],
        "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}],
        "index_location": "end",
    }
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": list(array.shape),
        "data_type": array.dtype.name,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": [n * c for n, c in zip(_counts(array.shape), chunks, strict=True)]},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": fill,
        "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
        "dimension_names": list("zyx"[-array.ndim :]),
        "attributes": {},
    }


def encode(array: Shaped[np.ndarray, "..."], codec: Codec, fill: int) -> bytes | None:
    """Encode an array as one shard; None where it holds nothing but `fill`.

    Chunks stand in C order; those of `fill` alone are absent. The index at the end has offset and
    length of each chunk as little-endian uint64, all ones where it is absent, and its CRC-32C.
    """
    blosc = Blosc("zstd", codec.level, _SHUFFLE[codec.shuffle])
    chunks, counts = chunk_shape(array.shape), _counts(array.shape)
    index = np.full((*counts, 2), _ABSENT, dtype="<u8")
    parts: list[bytes] = []
    offset = 0
    for position in itertools.product(*map(range, counts)):
        voxels = _chunk(array, position, chunks, fill)
        if (voxels == fill).all():
            continue
        parts.append(blosc.encode(voxels))
        index[position] = offset, len(parts[-1])
        offset += len(parts[-1])
    if not parts:
        return None
    table = index.tobytes()
    return b"".join((*parts, table, google_crc32c.value(table).to_bytes(4, "little")))


def _counts(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.ceil(size / EDGE) for size in shape)


def _chunk(
    array: Shaped[np.ndarray, "..."], position: tuple[int, ...], chunks: tuple[int, ...], fill: int
) -> Shaped[np.ndarray, "..."]:
    """The voxels of one chunk, little-endian and contiguous, padded with `fill` past the edge."""
    region = tuple(slice(at * size, (at + 1) * size) for at, size in zip(position, chunks, strict=True))
    voxels = array[region].astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    if voxels.shape != chunks:
        padding = [(0, full - size) for full, size in zip(chunks, voxels.shape, strict=True)]
        voxels = np.pad(voxels, padding, constant_values=fill)
    return np.ascontiguousarray(voxels)
