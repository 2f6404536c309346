"""Tables of any common format as records, one bad row at a time: CSV, TSV, JSON, JSON lines, Parquet."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.errors import LocationError
from prompts.sources.encoding import decode
from prompts.sources.records import Record, Reject, Table, plain, read_bytes, unreadable

__all__ = ["Broken", "json_lines", "load_json", "read_table"]

_DELIMITERS = ",\t;|"
_JSON_ERRORS = (ValueError, RecursionError)  # what json.loads raises, the limit on digits of an integer included
_PARQUET_ERRORS = (pa.ArrowException, OSError, ValueError, OverflowError, NotImplementedError)

Columns = Callable[[Sequence[str]], Sequence[str]]
"""Chooses the columns to read from those there are; a format that can leaves the others unread."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A line that could not be read, and why; never with its content."""

    reason: str


def read_table(path: Path, columns: Columns | None = None) -> Table:
    """Read a table by the suffix of its name: .csv, .tsv, .txt, .tab, .json, .jsonl, .ndjson or .parquet.

    Raises:
        LocationError: if there is no such file.
        FileFormatError: if it cannot be read as its suffix says, or holds no rows.
    """
    if not path.is_file():
        raise LocationError(f"table {path}", got="no such file", need="a table", do="Check the path.")
    suffix = path.suffix.lower()
    readers: dict[str, Callable[[Path], Table]] = {
        ".json": _read_json,
        ".jsonl": _read_jsonl,
        ".ndjson": _read_jsonl,
        ".parquet": lambda file: _read_parquet(file, columns),
    }
    readers |= dict.fromkeys((".csv", ".tsv", ".txt", ".tab"), _read_delimited)
    if suffix not in readers:
        raise unreadable(path, f"suffix {suffix or 'none'}", "one of " + ", ".join(sorted(readers)))
    table = readers[suffix](path)
    if not table.records and not table.rejects:
        raise unreadable(path, "no rows", "at least one row")
    return table


def _read_delimited(path: Path) -> Table:
    text = decode(read_bytes(path))
    if "\0" in text:
        raise unreadable(path, "zero bytes", "a text table")
    head = re.sub(r'"[^"]*"', "", re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0])
    delimiter = max(_DELIMITERS, key=head.count)
    limit = csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    try:
        rows = list(_delimited_rows(text, delimiter))
    finally:
        csv.field_size_limit(limit)
    if not rows:
        raise unreadable(path, "an empty file", "a header and rows")
    if rows[0] is None:
        raise unreadable(path, "a header with an open quotation mark", "a delimited table")
    header = [name.strip() for name in rows[0]]
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise unreadable(path, f"repeated columns {', '.join(repeated)}", "one column of each name")
    if len(header) == 1 and None in rows:
        raise unreadable(path, "an open quotation mark", "a delimited table")  # its lines would pass for rows
    records, rejects = [], []
    for row, line in enumerate(rows[1:]):
        if line is None:
            rejects.append(Reject(plain(path.name), row, "", "a quotation mark that does not close as it should"))
        elif len(line) == len(header):
            records.append(Record(row, dict(zip(header, line, strict=True))))
        else:
            rejects.append(Reject(plain(path.name), row, "", f"{len(line)} values for {len(header)} columns"))
    return Table(plain(path.name), tuple(header), tuple(records), tuple(rejects))


def _delimited_rows(text: str, delimiter: str) -> Iterator[list[str] | None]:
    """Rows that are not blank; None for one whose quotation marks are wrong, which costs that line alone."""
    lines = io.StringIO(text, newline="").readlines()
    start = 0
    while start < len(lines):
        reader = csv.reader((lines[at] for at in range(start, len(lines))), delimiter=delimiter, strict=True)
        done = 0
        try:
            for row in reader:
                done = reader.line_num
                if row:
                    yield row
            return
        except csv.Error:
            yield None
            start += done + 1


def load_json(path: Path) -> Any:
    """Parse a JSON file.

    Raises:
        LocationError, FileFormatError: if it cannot be read, or is no JSON.
    """
    try:
        return json.loads(decode(read_bytes(path)))
    except _JSON_ERRORS as error:
        raise unreadable(path, f"no JSON ({str(error)[:120]})", "a list of objects") from error


def _read_json(path: Path) -> Table:
    data = load_json(path)
    if isinstance(data, dict) and isinstance(data.get("resourceType"), str):
        raise unreadable(
            path,
            f"FHIR ({data['resourceType'][:40]})",
            "a table; `factory prompts extract` reads FHIR, without --text-column",
        )
    if isinstance(data, dict):
        lists = [value for value in data.values() if isinstance(value, list)]
        if len(lists) == 1:
            data = lists[0]
        elif data and all(isinstance(value, dict) for value in data.values()):
            data = [{"id": key, **value} for key, value in data.items()]
    if not isinstance(data, list):
        raise unreadable(path, f"a {type(data).__name__}", "a list of objects, or objects by id")
    return _from_objects(plain(path.name), enumerate(data))


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Parse JSON lines one at a time.

    Raises:
        LocationError: if the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            wide = b"\0" in file.read(4096) or not file.seekable()
            file.seek(0)
            lines: Iterable[bytes | str] = decode(file.read()).split("\n") if wide else file
            for row, line in enumerate(lines):
                if line.strip(b"\xef\xbb\xbf \t\r\n" if isinstance(line, bytes) else None):  # type: ignore[arg-type]
                    yield row, _parsed(line)
    except OSError as error:
        raise LocationError(
            f"file {path}", got=str(error.strerror), need="a file that can be read", do="Check the path."
        ) from error


def _parsed(line: bytes | str) -> Any:
    try:
        return json.loads(decode(line) if isinstance(line, bytes) else line)
    except _JSON_ERRORS as error:
        return Broken(f"no JSON: {str(error)[:120]}")


def _read_jsonl(path: Path) -> Table:
    return _from_objects(plain(path.name), json_lines(path))


def _from_objects(name: str, items: Iterable[tuple[int, Any]]) -> Table:
    records, rejects, columns = [], [], dict[str, None]()
    for row, item in items:
        if isinstance(item, dict):
            records.append(Record(row, item))
            columns.update(dict.fromkeys(plain(column) for column in _paths(item)))
        else:
            reason = item.reason if isinstance(item, Broken) else f"not an object but {type(item).__name__}"
            rejects.append(Reject(name, row, "", reason))
    return Table(name, tuple(columns), tuple(records), tuple(rejects))


def _paths(item: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted paths of an object and of the objects in it, also in lists, three levels deep."""
    found = []
    for key, value in item.items():
        found.append(f"{prefix}{key}")
        inner = value[:8] if isinstance(value, list) else [value]
        for part in inner if prefix.count(".") < 2 else ():
            if isinstance(part, dict):
                found += _paths(part, f"{prefix}{key}.")
    return found


def _read_parquet(path: Path, columns: Columns | None) -> Table:
    try:
        with pq.ParquetFile(path) as file:
            names = [str(name) for name in file.schema_arrow.names]
            wanted = names if columns is None else [name for name in names if name in columns(names)]
            rows = (row for batch in file.iter_batches(columns=wanted) for row in batch.to_pylist())
            return _from_objects(plain(path.name), enumerate(rows))
    except _PARQUET_ERRORS as error:
        raise unreadable(path, str(error).split("\n")[0][:200], "a Parquet file") from error
