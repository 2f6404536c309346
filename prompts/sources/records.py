"""Rows of tables and what becomes of those that are wrong."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manifests.errors import FileFormatError, LocationError, StorageError

__all__ = ["Record", "Reject", "Table", "lookup", "plain", "read_bytes", "unreadable", "write_rejects"]


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a table: its position from 0, and its values by column."""

    row: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reject:
    """One row that gave no prompt, and why."""

    source: str
    row: int
    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Table:
    """The readable rows of a table, its columns, and the rows that could not be read."""

    name: str
    columns: tuple[str, ...]
    records: tuple[Record, ...]
    rejects: tuple[Reject, ...] = ()


def lookup(values: dict[str, Any], path: str) -> Any:
    """Value at a column, or at a dotted path inside nested objects; None where there is none.

    A list of one object counts as that object; of several, none can be chosen.
    """
    if path in values:
        return values[path]
    head, _, rest = path.partition(".")
    inner = values.get(head)
    if isinstance(inner, list) and len(inner) == 1:
        inner = inner[0]
    return lookup(inner, rest) if rest and isinstance(inner, dict) else None


def plain(text: str) -> str:
    """Text that any file can hold: halves of characters (lone surrogates) are written out as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def unreadable(path: Path, got: str, need: str) -> FileFormatError:
    """The error of a file that is not what its name promises."""
    return FileFormatError(
        f"table {plain(str(path))}", got=plain(got), need=need, do="Check that this is the file you mean."
    )


def read_bytes(path: Path) -> bytes:
    """Bytes of a file.

    Raises:
        LocationError: if it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise LocationError(
            f"file {path}", got=str(error.strerror), need="a file that can be read", do="Check the path."
        ) from error


def write_rejects(path: Path, rejects: Sequence[Reject]) -> None:
    """Write rejects as JSON lines; the file appears whole or not at all.

    Raises:
        LocationError: if the folder is missing or cannot be written.
        StorageError: if the disk is full or fails.
    """
    lines = [json.dumps({"source": r.source, "row": r.row, "id": r.id, "reason": r.reason}) for r in rejects]
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        draft.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
        draft.replace(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise LocationError(
            f"rejects {path}", got=str(error.strerror), need="a writable path", do="Choose another --out."
        ) from error
    except OSError as error:
        raise StorageError(
            f"rejects {path}", got=str(error), need="room to write", do="Free space and run again."
        ) from error
    finally:
        if draft.is_file():
            draft.unlink()
