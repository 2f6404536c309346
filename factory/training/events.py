"""Event files that TensorBoard reads, written without TensorBoard: scalars, and pictures by their PNG.

A record is a length, a checksum of it, a protocol-buffer message `Event`, and a checksum of that
(tensorflow/core/util/event.proto; masked CRC-32C). Appending is all there is, so a killed run
leaves at most one torn record, which readers skip.
"""

import os
import struct
import time
from collections.abc import Mapping
from pathlib import Path

import google_crc32c

from manifests.errors import StorageError

__all__ = ["Events"]

_VARINT, _DOUBLE, _BYTES, _FLOAT = 0, 1, 2, 5


class Events:
    """One event file of a run."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"events.out.tfevents.{time.time_ns() // 1_000_000_000}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._storage(error) from error
        self._append(_field(3, b"brain.Event:2"))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add values of a step by name; "train/loss" groups under "train".

        Raises:
            StorageError: if the disk is full or fails.
        """
        summary = b"".join(
            _field(1, _field(1, name.encode()) + _key(2, _FLOAT) + struct.pack("<f", value))
            for name, value in values.items()
        )
        self._append(_key(2, _VARINT) + _varint(step) + _field(5, summary))

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Add a picture; raises like `scalars`."""
        width, height = struct.unpack(">II", png[16:24])
        image = b"".join(_key(field, _VARINT) + _varint(value) for field, value in ((1, height), (2, width), (3, 3)))
        value = _field(1, name.encode()) + _field(4, image + _field(4, png))
        self._append(_key(2, _VARINT) + _varint(step) + _field(5, _field(1, value)))

    def _append(self, message: bytes) -> None:
        event = _key(1, _DOUBLE) + struct.pack("<d", time.time()) + message
        length = struct.pack("<Q", len(event))
        try:
            with self._path.open("ab") as file:
                file.write(length + _checksum(length) + event + _checksum(event))
        except OSError as error:
            raise self._storage(error) from error

    def _storage(self, error: OSError) -> StorageError:
        return StorageError(
            str(self._path),
            got=error.strerror or str(error),
            need="room to write",
            do="Free the disk, then run the same command again: it resumes.",
        )


def _checksum(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _field(field: int, content: bytes) -> bytes:
    return _key(field, _BYTES) + _varint(len(content)) + content
