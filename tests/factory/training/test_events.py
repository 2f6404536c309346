"""Event files, read back by the published formats: TFRecord framing and the Event message."""

import struct
from pathlib import Path

import google_crc32c
import pytest

from factory.training.events import Events
from manifests.errors import StorageError


def records(path: Path) -> list[bytes]:
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        for part, crc in ((data[:8], data[8:12]), (data[12 : 12 + length], data[12 + length : 16 + length])):
            value = google_crc32c.value(part)
            rotated = ((value >> 15) | (value << 17)) & 0xFFFFFFFF
            assert (rotated + 0xA282EAD8) % 2**32 == struct.unpack("<I", crc)[0]
        found.append(data[12 : 12 + length])
        data = data[16 + length :]
    return found


def fields(message: bytes) -> list[tuple[int, object]]:
    """Fields of a protocol-buffer message: varints, doubles, floats and bytes."""

    def varint(at: int) -> tuple[int, int]:
        value = shift = 0
        while True:
            byte = message[at]
            value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
            if byte < 128:
                return value, at

    found, at = [], 0
    while at < len(message):
        key, at = varint(at)
        if key & 7 == 0:
            value, at = varint(at)
        elif key & 7 == 2:
            length, at = varint(at)
            value, at = message[at : at + length], at + length
        else:
            size, code = (8, "<d") if key & 7 == 1 else (4, "<f")
            value, at = struct.unpack(code, message[at : at + size])[0], at + size
        found.append((key >> 3, value))
    return found


def test_scalars_read_back(tmp_path: Path) -> None:
    events = Events(tmp_path / "logs")
    events.scalars(300, {"train/loss": 1.5, "held_out/kl": -2.0})
    first, second = records(next((tmp_path / "logs").iterdir()))
    assert dict(fields(first))[3] == b"brain.Event:2"
    event = dict(fields(second))
    assert event[2] == 300
    values = [dict(fields(value)) for number, value in fields(event[5]) if number == 1]
    assert [(value[1], value[2]) for value in values] == [(b"train/loss", 1.5), (b"held_out/kl", -2.0)]


def test_pictures_read_back(tmp_path: Path) -> None:
    png = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 640, 480) + b"rest"
    Events(tmp_path).picture(7, "sample", png)
    value = dict(fields(dict(fields(dict(fields(records(next(tmp_path.iterdir()))[1]))[5]))[1]))
    image = dict(fields(value[4]))
    assert (value[1], image[1], image[2], image[4]) == (b"sample", 480, 640, png)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        Events(tmp_path / "file" / "logs")
