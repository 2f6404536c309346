"""Parts of a stored array: only the chunks that a box touches are read and decoded.

A `StoredArray` knows the metadata and the shard index of one array and opens the file for each read, so it
can be pickled and used in threads, in forked and in spawned processes alike. Tests compare it with zarr-python.
"""

import itertools
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path

import google_crc32c
import numpy as np
from jaxtyping import Shaped, UInt64
from numcodecs import Blosc

from manifests.errors import CorruptDatasetError

__all__ = ["Box", "StoredArray"]

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""First and past-the-last index along z, y, x."""

_ABSENT = np.uint64(2**64 - 1)
_SHARD = "c/0/0/0"


@dataclass(frozen=True, slots=True, eq=False)
class StoredArray:
    """One array of a case, opened for reading of boxes.

    Attributes:
        path: its shard.
        shape, chunks: voxels of the array and of a chunk.
        dtype: little-endian type.
        fill: value of absent chunks.
        index: offset and length of each chunk; None where the whole shard is absent.
    """

    path: Path
    shape: tuple[int, int, int]
    chunks: tuple[int, int, int]
    dtype: np.dtype[np.generic]
    fill: int
    index: UInt64[np.ndarray, "nz ny nx 2"] | None

    @classmethod
    def open(cls, folder: Path, *, stored: bool) -> "StoredArray":
        """Read metadata and shard index.

        Args:
            folder: of the array, with its `zarr.json`.
            stored: whether the record lists a shard; without one all is background.

        Raises:
            CorruptDatasetError: if files are missing, or the array is not one shard of blosc chunks.
        """
        try:
            metadata = json.loads((folder / "zarr.json").read_bytes())
            (sharding,) = metadata["codecs"]
            (_, compressor) = sharding["configuration"]["codecs"]
            shape, chunks = tuple(metadata["shape"]), tuple(sharding["configuration"]["chunk_shape"])
            outer = metadata["chunk_grid"]["configuration"]["chunk_shape"]
            one_shard = all(size <= extent for size, extent in zip(shape, outer, strict=True))
            end = sharding["configuration"]["index_location"] == "end"
            dtype = np.dtype(metadata["data_type"]).newbyteorder("<")
            if len(shape) != 3 or not one_shard or not end or compressor["name"] != "blosc":
                raise _corrupt(folder, "another layout")
            counts = tuple(math.ceil(size / edge) for size, edge in zip(outer, chunks, strict=True))
            index = _index(folder / _SHARD, counts) if stored else None
        except (OSError, LookupError, TypeError, ValueError) as error:
            if isinstance(error, CorruptDatasetError):
                raise
            raise _corrupt(folder, f"{type(error).__name__}: {error}") from error
        return cls(folder / _SHARD, shape, chunks, dtype, int(metadata["fill_value"]), index)

    def read(self, box: Box) -> Shaped[np.ndarray, "z y x"]:
        """Read a box that lies within the array.

        Raises:
            CorruptDatasetError: if a chunk is missing or cannot be decoded.
        """
        out = np.full([stop - start for start, stop in box], self.fill, self.dtype)
        if self.index is None:
            return out
        touched = [range(start // edge, -(-stop // edge)) for (start, stop), edge in zip(box, self.chunks, strict=True)]
        try:
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                for position in itertools.product(*touched):
                    offset, length = (int(value) for value in self.index[position])
                    if offset != _ABSENT:
                        self._place(out, box, position, os.pread(descriptor, length, offset))
            finally:
                os.close(descriptor)
        except (OSError, ValueError, RuntimeError) as error:
            raise _corrupt(self.path, f"undecodable bytes ({error})") from error
        return out

    def _place(self, out: Shaped[np.ndarray, "z y x"], box: Box, position: tuple[int, ...], data: bytes) -> None:
        """Decode one chunk and copy what the box has of it."""
        voxels = np.frombuffer(Blosc().decode(data), self.dtype).reshape(self.chunks)
        source, target = [], []
        for at, edge, (start, stop) in zip(position, self.chunks, box, strict=True):
            low, high = max(start, at * edge), min(stop, (at + 1) * edge)
            source.append(slice(low - at * edge, high - at * edge))
            target.append(slice(low - start, high - start))
        out[tuple(target)] = voxels[tuple(source)]


def _index(shard: Path, counts: tuple[int, ...]) -> UInt64[np.ndarray, "nz ny nx 2"]:
    """The table at the end of a shard, checked against its CRC-32C."""
    size = 16 * math.prod(counts)
    with shard.open("rb") as stream:
        stream.seek(-(size + 4), os.SEEK_END)
        table, checksum = stream.read(size), stream.read(4)
    if google_crc32c.value(table) != int.from_bytes(checksum, "little"):
        raise _corrupt(shard, "an index that differs from its checksum")
    return np.frombuffer(table, "<u8").reshape(*counts, 2)


def _corrupt(path: Path, got: str) -> CorruptDatasetError:
    return CorruptDatasetError(
        str(path), got=got, need="blosc chunks in one shard", do="Run `factory check` on the dataset."
    )
