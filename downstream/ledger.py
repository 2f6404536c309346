"""The ledger of an export: which cases are finished, from which arrays, as which files.

`export.jsonl` holds a header that names source and scheme, then one line for each finished
case. Lines are appended as cases finish, so a killed export loses at most the cases in hand;
a last line that was cut off counts as not written. A case counts as done only while its source
arrays are the same and all its files still hash to what was checked.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from manifests.case import CaseRecord
from manifests.durable import replace
from manifests.errors import FactoryError, FileFormatError, LocationError, StorageError
from manifests.identity import content_hash

__all__ = [
    "LEDGER",
    "ExportedCase",
    "append",
    "file_sha256",
    "read_ledger",
    "source_hash",
    "write_ledger",
    "writing",
]

LEDGER = "export.jsonl"


@dataclass(frozen=True, slots=True)
class ExportedCase:
    """A finished case.

    Attributes:
        case_id: of the record.
        source_hash: of the arrays and lesion records it was made from.
        files: SHA-256 of each file's bytes by its path in the export.
        classes: foreground labels that have voxels.
    """

    case_id: str
    source_hash: str
    files: dict[str, str]
    classes: tuple[str, ...]

    def matches(self, record: CaseRecord, folder: Path, paths: Iterable[str]) -> bool:
        """Whether the source is unchanged and all files still have the bytes that were checked."""
        return (
            self.source_hash == source_hash(record)
            and set(self.files) == set(paths)
            and all((folder / name).is_file() for name in self.files)
            and all(file_sha256(folder / name) == digest for name, digest in self.files.items())
        )


def source_hash(record: CaseRecord) -> str:
    """Hash of all that a painted case comes from: its three arrays and the records of its lesions."""
    arrays = [record.ct_blake3, record.anatomy_blake3, record.lesions_blake3]
    return content_hash([*arrays, [lesion.model_dump(mode="json") for lesion in record.lesions]])


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_ledger(folder: Path) -> tuple[dict[str, Any], dict[str, ExportedCase]]:
    """Read header and finished cases by id; an empty ledger gives two empty mappings.

    Raises:
        FileFormatError: if a line is no line of a ledger.
    """
    path = folder / LEDGER
    try:
        text = path.read_text(encoding="utf-8")
        rows = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        cases = [ExportedCase(**(row | {"classes": tuple(row["classes"])})) for row in rows[1:]]
    except (ValueError, TypeError, KeyError) as error:
        raise FileFormatError(
            str(path), got=f"{type(error).__name__}: {error}", need="a ledger of an export", do="Delete the export."
        ) from error
    return (rows[0] if rows else {}), {case.case_id: case for case in cases}


def write_ledger(folder: Path, header: dict[str, Any], cases: Iterable[ExportedCase]) -> None:
    """Write a whole ledger in place of an earlier one, cases by id."""
    ordered = sorted(cases, key=lambda case: case.case_id)
    lines = [json.dumps(header), *(json.dumps(asdict(case)) for case in ordered)]
    with writing(folder):
        replace(folder / LEDGER, ("\n".join(lines) + "\n").encode())


def append(folder: Path, case: ExportedCase) -> None:
    """Add a case that has just been finished."""
    with writing(folder), (folder / LEDGER).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(asdict(case)) + "\n")


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
