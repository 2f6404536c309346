"""Reading what others wrote: tables and report texts, as rows or as rejects with a reason.

Tables are CSV, TSV, JSON, JSONL or Parquet; reports a folder of text files or one column of a
table. Encoding and delimiter are found from the content. A bad row never stops a reading: it
becomes a `Reject`. What is wrong with the file as a whole is an error.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.errors import FileFormatError, LocationError, UnknownNameError

__all__ = [
    "Record",
    "Reject",
    "Report",
    "Stated",
    "Table",
    "lookup",
    "read_reports",
    "read_table",
    "report_hash",
    "write_rejects",
]

_DELIMITERS = ",\t;|"
_TEXT_COLUMNS = ("report_text", "report", "text", "caption", "findings", "impression")
_ID_COLUMNS = ("id", "report_id", "AccessionNo", "accession", "case_id", "roco_id", "title")


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


@dataclass(frozen=True, slots=True)
class Stated:
    """A value that stands beside a report in structured form, and where: "column gender", "Patient.birthDate"."""

    value: str | float
    where: str


@dataclass(frozen=True, slots=True)
class Report:
    """One report: where it came from, its text, and what its source states beside the text.

    `attributes` maps fields of a prompt ("patient.sex", "patient.age_years", "patient.race") to values of it.
    """

    source: str
    text: str
    attributes: Mapping[str, Stated] = field(default_factory=dict, hash=False)


def report_hash(text: str) -> str:
    """SHA-256 of the UTF-8 text, in hexadecimal: how a prompt and a gold label name their report."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_table(path: Path) -> Table:
    """Read a table by the suffix of its name: .csv, .tsv, .txt, .json, .jsonl, .ndjson or .parquet.

    Raises:
        LocationError: if there is no such file.
        FileFormatError: if it cannot be read as its suffix says, or holds no rows.
    """
    if not path.is_file():
        raise LocationError(f"table {path}", got="no such file", need="a table", do="Check the path.")
    suffix = path.suffix.lower()
    readers = {".json": _read_json, ".jsonl": _read_jsonl, ".ndjson": _read_jsonl, ".parquet": _read_parquet}
    readers |= dict.fromkeys((".csv", ".tsv", ".txt", ".tab"), _read_delimited)
    if suffix not in readers:
        raise _unreadable(path, f"suffix {suffix or 'none'}", "one of " + ", ".join(sorted(readers)))
    table = readers[suffix](path)
    if not table.records and not table.rejects:
        raise _unreadable(path, "no rows", "at least one row")
    return table


def _unreadable(path: Path, got: str, need: str) -> FileFormatError:
    return FileFormatError(f"table {path}", got=got, need=need, do="Check that this is the file you mean.")


def _decode(path: Path) -> str:
    """Decode by byte order mark, else as UTF-8, else as Windows-1252, which older exports use."""
    data = path.read_bytes()
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ["utf-16"] if marked else ["utf-8-sig", "cp1252"]:
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise _unreadable(path, "bytes that are no text", "UTF-8, UTF-16 or Windows-1252")


def _read_delimited(path: Path) -> Table:
    text = _decode(path)
    if "\0" in text:
        raise _unreadable(path, "zero bytes", "a text table")
    head = text.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=head.count)
    limit = csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if line]
    except csv.Error as error:
        raise _unreadable(path, str(error), "a delimited table") from error
    finally:
        csv.field_size_limit(limit)
    if not lines:
        raise _unreadable(path, "an empty file", "a header and rows")
    header = [name.strip() for name in lines[0]]
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise _unreadable(path, f"repeated columns {', '.join(repeated)}", "one column of each name")
    records, rejects = [], []
    for row, line in enumerate(lines[1:]):
        if len(line) == len(header):
            records.append(Record(row, dict(zip(header, line, strict=True))))
        else:
            rejects.append(Reject(path.name, row, "", f"{len(line)} values for {len(header)} columns"))
    return Table(path.name, tuple(header), tuple(records), tuple(rejects))


def _read_json(path: Path) -> Table:
    try:
        data = json.loads(_decode(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise _unreadable(path, f"no JSON ({error})", "a list of objects") from error
    if isinstance(data, dict):
        lists = [value for value in data.values() if isinstance(value, list)]
        if len(lists) == 1:
            data = lists[0]
        elif data and all(isinstance(value, dict) for value in data.values()):
            data = [{"id": key, **value} for key, value in data.items()]
    if not isinstance(data, list):
        raise _unreadable(path, f"a {type(data).__name__}", "a list of objects, or objects by id")
    return _from_objects(path, enumerate(data))


def _read_jsonl(path: Path) -> Table:
    def parsed() -> Iterable[tuple[int, Any]]:
        for row, line in enumerate(_decode(path).split("\n")):
            if line.strip():
                try:
                    yield row, json.loads(line)
                except (json.JSONDecodeError, RecursionError) as error:
                    yield row, f"no JSON: {error}"

    return _from_objects(path, parsed())


def _from_objects(path: Path, items: Iterable[tuple[int, Any]]) -> Table:
    records, rejects, columns = [], [], dict[str, None]()
    for row, item in items:
        if isinstance(item, dict):
            records.append(Record(row, item))
            columns.update(dict.fromkeys(_paths(item)))
        else:
            rejects.append(Reject(path.name, row, "", f"not an object: {str(item)[:80]}"))
    return Table(path.name, tuple(columns), tuple(records), tuple(rejects))


def _paths(item: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted paths of an object and of the objects in it, three levels deep."""
    found = []
    for key, value in item.items():
        found.append(f"{prefix}{key}")
        if isinstance(value, dict) and prefix.count(".") < 2:
            found += _paths(value, f"{prefix}{key}.")
    return found


def _read_parquet(path: Path) -> Table:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, str(error).split("\n")[0][:200], "a Parquet file") from error
    return _from_objects(path, enumerate(table.to_pylist()))


def lookup(values: dict[str, Any], path: str) -> Any:
    """Value at a column, or at a dotted path inside nested objects; None where there is none."""
    if path in values:
        return values[path]
    head, _, rest = path.partition(".")
    inner = values.get(head)
    return lookup(inner, rest) if rest and isinstance(inner, dict) else None


def read_reports(path: Path, text_column: str | None = None) -> tuple[list[Report], list[Reject]]:
    """Read reports: each .txt file of a folder, one text file, or one column of a table.

    Reports without text are rejects, and so are repetitions of an earlier text.

    Raises:
        LocationError: if the path is missing.
        FileFormatError: if it cannot be read, or holds no reports.
        UnknownNameError: if the table has no such column, or none that looks like report text.
    """
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.txt") if file.is_file())
        reports = [(str(file.relative_to(path)), _decode(file)) for file in files]
        if not reports:
            raise _unreadable(path, "a folder without .txt files", "report texts")
        return _distinct(path.name, reports, [])
    if path.suffix.lower() == ".txt" and path.is_file() and text_column is None:
        return _distinct(path.name, [(path.name, _decode(path))], [])
    table = read_table(path)
    column = _column(table, text_column)
    named = next((name for name in _ID_COLUMNS if name in table.columns and name != column), None)
    texts = []
    for record in table.records:
        name = str(record.values.get(named, "")) if named else ""
        texts.append((f"{record.row}:{name}" if name else str(record.row), lookup(record.values, column)))
    return _distinct(path.name, texts, list(table.rejects))


def _column(table: Table, stated: str | None) -> str:
    if stated in table.columns:
        return str(stated)
    found = next((name for name in _TEXT_COLUMNS if name in table.columns), None)
    if stated is None and found:
        return found
    raise UnknownNameError(
        "--text-column", got=repr(stated), need=f"one of {', '.join(table.columns[:20])}", do="Name the text column."
    )


def _distinct(name: str, texts: Sequence[tuple[str, Any]], rejects: list[Reject]) -> tuple[list[Report], list[Reject]]:
    reports, seen = [], dict[str, str]()
    for row, (label, text) in enumerate(texts):
        if not isinstance(text, str) or not text.strip():
            rejects.append(Reject(name, row, label, "no text"))
        elif text in seen:
            rejects.append(Reject(name, row, label, f"the same text as {seen[text]}"))
        else:
            seen[text] = label
            reports.append(Report(f"{name}#{label}", text))
    return reports, rejects


def write_rejects(path: Path, rejects: Sequence[Reject]) -> None:
    """Write rejects as JSON lines.

    Raises:
        LocationError: if the file cannot be written.
    """
    lines = [json.dumps({"source": r.source, "row": r.row, "id": r.id, "reason": r.reason}) for r in rejects]
    try:
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise LocationError(
            f"rejects {path}", got=str(error.strerror), need="a writable path", do="Choose another --out."
        ) from error
