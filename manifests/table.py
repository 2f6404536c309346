"""The manifest: all commit records as one Parquet file, written whole and swapped in.

One row per record, one column per field of `CaseRecord` (`manifests.case.ARROW_SCHEMA`), sorted
by index, candidate and case id. Equal records give equal bytes. The key-value metadata of the
file says which format and which anatomy table it follows.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.anatomy import table_hash
from manifests.case import ARROW_SCHEMA, FACTORY_VERSION, FORMAT_VERSION, CaseRecord
from manifests.durable import flush, temporary_beside
from manifests.errors import FileFormatError, LocationError

__all__ = ["from_records", "order", "read_table", "to_records", "write_table"]

_MAPS = ("stored_blake3", "notes", "seconds")
_ROW_GROUP = 50_000


def order(record: CaseRecord) -> tuple[int, int, str]:
    """Sort key of the manifest: index, candidate, case id."""
    return record.index, record.candidate, record.case_id


def from_records(records: Iterable[CaseRecord]) -> pa.Table:
    """Make the table of some records; no records give a table without rows."""
    metadata = {
        "ct_factory.format_version": str(FORMAT_VERSION),
        "ct_factory.factory_version": FACTORY_VERSION,
        "ct_factory.anatomy_table": table_hash(),
    }
    schema = ARROW_SCHEMA.with_metadata(metadata)
    return pa.Table.from_pylist([_row(record) for record in sorted(records, key=order)], schema=schema)


def to_records(table: pa.Table) -> list[CaseRecord]:
    """Read records back from a table.

    Raises:
        FileFormatError: if columns are missing, unknown or of another type.
    """
    try:
        rows = table.to_pylist(maps_as_pydicts="strict")
        return [CaseRecord.model_validate(row) for row in rows]
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise FileFormatError(
            "manifest", got=str(error)[:300], need="the columns of ARROW_SCHEMA", do="Run `factory check`."
        ) from error


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file under a temporary name, flush it, and swap it in.

    Raises:
        OSError: whatever the file system says; the earlier file is untouched then.
    """
    with temporary_beside(path) as temporary:
        with temporary.open("xb") as stream:
            pq.write_table(table, stream, compression="zstd", row_group_size=_ROW_GROUP)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    flush(path.parent)


def read_table(path: Path) -> pa.Table:
    """Read a manifest.

    Raises:
        LocationError: if there is no such file.
        FileFormatError: if it is not Parquet, or has other columns.
    """
    need = "a Parquet file with the columns of docs/format.md"
    try:
        with path.open("rb") as stream:
            table = pq.read_table(stream)
    except FileNotFoundError as error:
        raise LocationError(str(path), got="no such file", need=need, do="Check the path.") from error
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(str(path), got=str(error)[:300], need=need, do="Build or compact it again.") from error
    if not table.schema.equals(ARROW_SCHEMA):
        changed = sorted(set(table.schema) ^ set(ARROW_SCHEMA), key=lambda field: str(field.name))
        raise FileFormatError(
            str(path),
            got=f"other columns: {', '.join(sorted({field.name for field in changed})) or 'their order'}",
            need=need,
            do="Build or compact it again.",
        )
    return table


def _row(record: CaseRecord) -> dict[str, object]:
    row = record.model_dump()
    return row | {name: sorted(row[name].items()) for name in _MAPS}
