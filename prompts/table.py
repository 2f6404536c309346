"""The prompts table: one Parquet row for each prompt, and nothing of a source text but spans.

`prompt_json` is the prompt; the flat columns beside it serve pandas, DuckDB and a reader's eye
and are never read back. The flat tumour columns show the first tumour.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests.errors import FileFormatError, InvalidValueError, LocationError, StorageError
from manifests.identity import canonical_json
from prompts.schema import Prompt, parse_prompt

__all__ = ["ARROW_SCHEMA", "TABLE_FORMAT", "Evidence", "PromptRow", "read_prompts", "write_prompts"]

TABLE_FORMAT = "ct-factory-prompts-1"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a source text states a field: characters `start` to `end` (excluded)."""

    field: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One prompt with its canonical text, where it came from, and the evidence for its fields.

    Attributes:
        extractor: what read the report, with its version ("rules-2", "openai:NAME/extract-1"); empty for tables.
        report_hash: `sources.report_hash` of the report; empty where there was none.
        report_text: the report itself, only where the user asked to keep it.
        flags: what was dropped and why, and where extractors disagree.
    """

    prompt: Prompt
    text: str
    source: str = ""
    template: str = ""
    evidence: tuple[Evidence, ...] = ()
    extractor: str = ""
    report_hash: str = ""
    report_text: str | None = None
    flags: tuple[str, ...] = ()


_EVIDENCE = pa.struct([("field", pa.string()), ("start", pa.int32()), ("end", pa.int32())])
_FLAT = {
    "age_years": pa.float64(),
    "sex": pa.string(),
    "race": pa.string(),
    "height_cm": pa.float64(),
    "weight_kg": pa.float64(),
    "contrast_phase": pa.string(),
    "region": pa.string(),
    "tumours": pa.int32(),
    "tumour_organ": pa.string(),
    "tumour_site": pa.string(),
    "tumour_side": pa.string(),
    "tumour_count": pa.int32(),
    "tumour_size_mm": pa.float64(),
    "tumour_t_stage": pa.string(),
    "tumour_n_stage": pa.string(),
    "tumour_m_stage": pa.string(),
    "absent_organs": pa.list_(pa.string()),
    "enlarged_organs": pa.list_(pa.string()),
}
ARROW_SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("prompt_id", "text", "template", "source", "prompt_json")]
    + [pa.field("evidence", pa.list_(_EVIDENCE)), pa.field("flags", pa.list_(pa.string()))]
    + [pa.field(name, pa.string()) for name in ("extractor", "report_hash", "report_text")]
    + [pa.field(name, kind) for name, kind in _FLAT.items()],
    metadata={"format": TABLE_FORMAT},
)
"""Arrow schema of the table; `prompt_json` alone is needed to read one."""


def write_prompts(path: Path, rows: Sequence[PromptRow]) -> None:
    """Write a prompts table; the file appears whole or not at all.

    Raises:
        InvalidValueError: if there are no rows.
        LocationError: if the folder is missing or cannot be written.
        StorageError: if the disk is full or fails.
    """
    if not rows:
        raise InvalidValueError(
            f"prompts for {path}", got="no rows", need="at least one prompt", do="Check the source of the prompts."
        )
    table = pa.Table.from_pylist([_flatten(row) for row in rows], schema=ARROW_SCHEMA)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise LocationError(
            f"prompts table {path}", got=str(error.strerror), need="a writable path", do="Choose another --out."
        ) from error
    except OSError as error:
        raise StorageError(
            f"prompts table {path}", got=str(error), need="room to write", do="Free space and run again."
        ) from error
    finally:
        _remove(draft)


def _remove(draft: Path) -> None:
    try:
        draft.unlink(missing_ok=True)
    except OSError:
        return  # the folder itself is missing or closed: there is no draft


def _flatten(row: PromptRow) -> dict[str, Any]:
    flat = row.prompt.attributes().model_dump(exclude={"tumours"})
    first = row.prompt.tumours[0].model_dump() if row.prompt.tumours else {}
    return {
        "prompt_id": row.prompt.prompt_id,
        "text": row.text,
        "template": row.template,
        "source": row.source,
        "prompt_json": canonical_json(row.prompt.model_dump(mode="json", exclude_none=True, exclude_defaults=True)),
        "extractor": row.extractor,
        "report_hash": row.report_hash,
        "report_text": row.report_text,
        "flags": list(row.flags),
        "evidence": [{"field": e.field, "start": e.start, "end": e.end} for e in row.evidence],
        **flat,
        "tumours": len(row.prompt.tumours),
        **{f"tumour_{name}": value for name, value in first.items()},
    }


def read_prompts(path: Path) -> list[PromptRow]:
    """Read and validate a prompts table.

    Any Parquet file with a `prompt_json` column will do; a stored `prompt_id` must be that of its row.

    Raises:
        LocationError: if there is no such file.
        FileFormatError: if the file is no Parquet, is empty, or lacks the column.
        InvalidValueError: naming the first row that holds no valid prompt.
    """
    if not path.is_file():
        raise LocationError(
            f"prompts table {path}", got="no such file", need="a Parquet file", do="Make one with `factory prompts`."
        )
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise FileFormatError(
            f"prompts table {path}",
            got=str(error).split("\n")[0][:200],
            need="a Parquet file",
            do="Make it again with `factory prompts`.",
        ) from error
    if "prompt_json" not in table.column_names or not table.num_rows:
        raise FileFormatError(
            f"prompts table {path}",
            got=f"{table.num_rows} rows, columns {', '.join(table.column_names[:8]) or 'none'}",
            need="rows with a prompt_json column",
            do="Make it with `factory prompts from-table`, `extract` or `sample`.",
        )
    known = [
        name for name in ("prompt_json", "prompt_id", *_TEXTS, "report_text", "flags") if name in table.column_names
    ]
    if table.schema.get_field_index("evidence") >= 0 and table.schema.field("evidence").type.equals(
        pa.list_(_EVIDENCE)
    ):
        known.append("evidence")
    records = table.select(known).to_pylist()
    return [_parse(record, f"prompts table {path}, row {index}") for index, record in enumerate(records)]


_TEXTS = ("text", "source", "template", "extractor", "report_hash")


def _parse(record: dict[str, Any], where: str) -> PromptRow:
    prompt = parse_prompt(str(record["prompt_json"]), where)
    if record.get("prompt_id") not in (None, prompt.prompt_id):
        raise InvalidValueError(
            f"{where}, prompt_id",
            got=repr(record["prompt_id"]),
            need=f"{prompt.prompt_id}, the identity of its prompt_json",
            do="The row was edited: drop the prompt_id column or restore the row.",
        )
    evidence = tuple(Evidence(**item) for item in record.get("evidence") or ())
    texts = {name: str(record.get(name) or "") for name in _TEXTS}
    kept, flags = record.get("report_text"), record.get("flags")
    return PromptRow(
        prompt,
        **texts,
        evidence=evidence,
        report_text=kept if isinstance(kept, str) else None,
        flags=tuple(str(flag) for flag in flags) if isinstance(flags, list) else (),
    )
