"""Commit records: one JSON file per case, published whole and once.

A case exists if and only if `commits/<case_id>.json` exists and is whole. The first writer wins
(`manifests.durable.write_once`). Where a file system cannot publish a whole file at once, a crash
can leave a torn one: it never counts, because it is no JSON, and the next writer replaces it. A
record carries a hash of its own content, so an edited one is an error, never a different case.
"""

import gc
import hashlib
import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from manifests.case import CaseRecord
from manifests.durable import replace, write_once
from manifests.errors import CorruptDatasetError, InvalidValueError, UnknownNameError
from manifests.identity import canonical_json, is_identifier

__all__ = ["DIRECTORY", "TornRecordError", "committed", "parse", "publish", "read", "read_all", "record_path"]

DIRECTORY = "commits"
_SEAL = re.compile(rb'"record_sha256":"([0-9a-f]{64})"')

logger = logging.getLogger(__name__)


class TornRecordError(ValueError):
    """A file that ends early; it does not count as a record."""


def record_path(root: Path, case_id: str) -> Path:
    """Where the record of a case lies.

    Raises:
        InvalidValueError: if the id could leave the directory.
    """
    if not is_identifier(case_id):
        raise InvalidValueError(
            "case id",
            got=repr(case_id),
            need="1 to 128 letters, digits, `_`, `-` or `.`, starting with a letter, digit or `_`",
            do="Take the id from `factory info` or the manifest; it is never a path.",
        )
    return root / DIRECTORY / f"{case_id}.json"


def publish(root: Path, record: CaseRecord) -> bool:
    """Publish a record under its case id, sealed with the hash of its content.

    Args:
        root: the dataset's directory; `commits` must exist in it.
        record: what to publish; `record_sha256` is computed anew.

    Returns:
        False if a whole record of that case was there first; nothing is changed then.

    Raises:
        InvalidValueError: if the case id is not one, or a number is not finite.
        OSError: whatever the file system says; nothing is published then.
    """
    path = record_path(root, record.case_id)
    data = canonical_json(record.sealed().model_dump()).encode() + b"\n"
    if write_once(path, data):
        return True
    if torn := _is_torn(path):
        logger.warning("%s was torn; publishing it again", path)
        replace(path, data)
    return torn


def read(root: Path, case_id: str) -> CaseRecord:
    """Read the record of one case.

    Raises:
        InvalidValueError: if the id could leave the directory.
        UnknownNameError: if there is no such record.
        CorruptDatasetError: if the record was edited.
    """
    path = record_path(root, case_id)
    try:
        return parse(path.read_bytes(), path.name)
    except (FileNotFoundError, TornRecordError):
        raise UnknownNameError(
            "case", got=repr(case_id), need="the id of a committed case", do="See `factory info` or the manifest."
        ) from None


def read_all(root: Path) -> list[CaseRecord]:
    """Read every record, ordered by file name; torn files do not count and are logged.

    Raises:
        CorruptDatasetError: if a record was edited.
    """
    records = []
    with _collector_paused():
        for path in committed(root):
            try:
                records.append(parse(path.read_bytes(), path.name))
            except TornRecordError:
                logger.warning("%s is torn and does not count", path)
    return records


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Pause the cyclic collector: records hold no cycles, and its scans took 70 % of reading 10,000."""
    active = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if active:
            gc.enable()


def committed(root: Path) -> list[Path]:
    """The files that stand for records, torn ones included, by name; none without the directory."""
    if not (root / DIRECTORY).is_dir():
        return []
    names = (entry.name for entry in os.scandir(root / DIRECTORY))
    return [root / DIRECTORY / name for name in sorted(names) if name.endswith(".json") and name[0] != "."]


def parse(data: bytes, name: str) -> CaseRecord:
    """Read a record from the bytes of its file and check its own hash.

    Args:
        data: content of the file.
        name: name of the file, for messages and because it must name the case.

    Raises:
        TornRecordError: if the bytes are not whole JSON.
        CorruptDatasetError: if they are, but not what was published.
    """
    try:
        record = CaseRecord.model_validate_json(data)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            raise TornRecordError(name) from error
        raise _edited(name, f"an invalid record ({error.error_count()} fields)") from error
    if not _seal_holds(data, record):
        raise _edited(name, "content that differs from its record_sha256")
    if name != f"{record.case_id}.json":
        raise _edited(name, f"the record of {record.case_id}")
    return record


def _seal_holds(data: bytes, record: CaseRecord) -> bool:
    """Compare content and hash; on the published bytes themselves, else on reformatted JSON."""
    blank, count = _SEAL.subn(b'"record_sha256":null', data)
    if count == 1 and hashlib.sha256(blank.strip()).hexdigest() == record.record_sha256:
        return True
    text = canonical_json(json.loads(data) | {"record_sha256": None})
    return hashlib.sha256(text.encode()).hexdigest() == record.record_sha256


def _edited(name: str, got: str) -> CorruptDatasetError:
    return CorruptDatasetError(
        f"{DIRECTORY}/{name}",
        got=got,
        need="the record as it was published",
        do="Restore the file, or delete it and run the same build again; `factory check` lists all faults.",
    )


def _is_torn(path: Path) -> bool:
    try:
        parse(path.read_bytes(), path.name)
    except TornRecordError:
        return True
    except CorruptDatasetError:
        return False
    return False
