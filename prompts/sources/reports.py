"""Reading reports from what holds them: folders of files, one file, a column of a table, FHIR.

A bad row never stops a reading: it becomes a `Reject`. What is wrong with the source as a whole is an error.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from manifests.errors import LocationError, UnknownNameError
from prompts.sources.attributes import column_attributes, stated_columns
from prompts.sources.encoding import decode
from prompts.sources.fhir import diagnostic_reports, is_fhir
from prompts.sources.markup import markup_text
from prompts.sources.records import Reject, Table, lookup, plain, read_bytes, unreadable
from prompts.sources.report import Candidate, Report, distinct
from prompts.sources.tables import Columns, read_table

__all__ = ["read_reports"]

_TEXT_COLUMNS = ("report_text", "report", "text", "caption", "findings", "impression")
_ID_COLUMNS = ("id", "report_id", "AccessionNo", "accession", "case_id", "roco_id", "title")
_PLAIN, _MARKED = (".txt", ".text"), (".html", ".htm", ".xhtml")
_JSON, _LINES = ".json", (".jsonl", ".ndjson")


def read_reports(
    path: Path, text_column: str | None = None, id_column: str | None = None
) -> tuple[list[Report], list[Reject]]:
    """Read reports: the text, HTML and FHIR files of a folder, one such file, or one column of a table.

    Line ends of files become line feeds; cells of tables stay as they are. Reports without text are rejects, and so are
    repetitions of an earlier text, white space apart.

    Raises:
        LocationError: if the path is missing.
        FileFormatError: if it cannot be read, or holds no reports.
        UnknownNameError: if the table has no such column, or none that looks like report text.
    """
    if path.is_dir():
        return _folder(path)
    suffix = path.suffix.lower()
    if path.is_file() and text_column is None:
        if suffix in (*_PLAIN, *_MARKED):
            return distinct(path.name, _file_texts(path.parent, [path]))
        if suffix in (_JSON, *_LINES) and is_fhir(path):
            return _fhir(path)
    return _table(path, text_column, id_column)


def _folder(path: Path) -> tuple[list[Report], list[Reject]]:
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    texts = [file for file in files if file.suffix.lower() in (*_PLAIN, *_MARKED)]
    resources = [file for file in files if file.suffix.lower() in (_JSON, *_LINES)]
    if not texts and not resources:
        raise unreadable(path, "a folder without .txt, .html, .json or .ndjson files", "report texts")

    def candidates() -> Iterator[Candidate]:
        yield from _file_texts(path, texts)
        yield from diagnostic_reports((str(file.relative_to(path)), file) for file in resources)

    reports, rejects = distinct(path.name, candidates())
    if not reports and not rejects:
        raise unreadable(path, "FHIR resources, none of them a DiagnosticReport", "report texts")
    return reports, rejects


def _fhir(path: Path) -> tuple[list[Report], list[Reject]]:
    reports, rejects = distinct(path.name, diagnostic_reports([("", path)]))
    if not reports and not rejects:
        raise unreadable(path, "FHIR without a DiagnosticReport", "reports")
    return reports, rejects


def _file_texts(root: Path, files: list[Path]) -> Iterator[Candidate]:
    for row, file in enumerate(files):
        label = str(file.relative_to(root))
        try:
            text = decode(read_bytes(file))
            text = markup_text(text) if file.suffix.lower() in _MARKED else text
            yield Candidate(row, label, text.replace("\r\n", "\n").replace("\r", "\n"))
        except LocationError as error:
            yield Candidate(row, label, None, f"cannot be read: {error.got}")
        except ValueError as error:
            yield Candidate(row, label, None, str(error))


def _table(path: Path, text_column: str | None, id_column: str | None) -> tuple[list[Report], list[Reject]]:
    table = read_table(path, _wanted(text_column, id_column))
    column = _column(table, "--text-column", text_column, _TEXT_COLUMNS)
    if id_column is not None:
        _column(table, "--id-column", id_column, ())
    named = id_column or next((name for name in _ID_COLUMNS if name in table.columns and name != column), None)
    beside = stated_columns([name for name in table.columns if name not in (column, named)])

    def candidates() -> Iterator[Candidate]:
        for record in table.records:
            label = _label(record.row, lookup(record.values, named) if named else None)
            stated = column_attributes(record.values, beside)
            yield Candidate(record.row, label, lookup(record.values, column), attributes=stated)

    reports, rejects = distinct(path.name, candidates())
    return reports, sorted([*table.rejects, *rejects], key=lambda reject: reject.row)


def _wanted(text_column: str | None, id_column: str | None) -> Columns:
    """What of a table is read where its format lets the rest lie."""
    stated = {name.partition(".")[0] for name in (text_column, id_column) if name} | {text_column, id_column}
    return lambda names: (
        [
            name
            for name in names
            if name in stated or name in _TEXT_COLUMNS or name in _ID_COLUMNS or name in stated_columns(names).values()
        ]
        or list(names)
    )


def _label(row: int, name: Any) -> str:
    text = "" if name is None or isinstance(name, dict | list) else " ".join(str(name).split())[:120]
    return f"{row}:{text}" if text else str(row)


def _column(table: Table, option: str, stated: str | None, known: tuple[str, ...]) -> str:
    if stated in table.columns:
        return str(stated)
    found = next((name for name in known if name in table.columns), None)
    if stated is None and found:
        return found
    raise UnknownNameError(
        option,
        got=plain(repr(stated)),
        need=f"one of {', '.join(table.columns[:20])}",
        do="Name the text column." if known else "Name the column that identifies a report.",
    )
