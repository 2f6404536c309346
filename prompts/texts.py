"""Tables of texts for training: many wordings of each prompt, one row each.

A row holds `prompt_id`, `number` (from 0 within its prompt), `text`, `form` and `seed`. Join it with
a prompts table or with the manifest of a dataset on `prompt_id`.
"""

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from manifests import durable
from manifests.errors import InvalidValueError, LocationError, StorageError, UnknownNameError
from prompts.paraphrase import paraphrases
from prompts.render import TEMPLATE_VERSION, render
from prompts.schema import Prompt

__all__ = ["CANONICAL", "TEXTS_SCHEMA", "text_rows", "write_texts"]

CANONICAL = "canonical"
"""The form of the text that `render` gives."""

TEXTS_SCHEMA = pa.schema(
    [
        pa.field("prompt_id", pa.string(), nullable=False),
        pa.field("number", pa.int32(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("form", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
    ],
    metadata={"format": "ct-factory-texts-1", "template": TEMPLATE_VERSION},
)
"""Arrow schema of the table."""


def text_rows(prompts: Iterable[Prompt], n: int, seed: int, canonical: bool = False) -> list[dict[str, Any]]:
    """Write each distinct prompt in `n` ways, in the order of the prompts; where `canonical`, with `render`'s text first.

    The texts of a prompt depend on it, the seed and their number alone, not on the other prompts.
    """
    rows: list[dict[str, Any]] = []
    for prompt_id, prompt in {prompt.prompt_id: prompt for prompt in prompts}.items():
        first = [(render(prompt), CANONICAL)] if canonical else []
        texts = [*first, *((item.text, item.form) for item in paraphrases(prompt, seed, n))]
        rows += [
            {"prompt_id": prompt_id, "number": number, "text": text, "form": form, "seed": seed}
            for number, (text, form) in enumerate(texts)
        ]
    return rows


def write_texts(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as Parquet or JSON lines, by the suffix of the name; the file appears whole or not at all.

    Raises:
        UnknownNameError: if the suffix is neither .parquet nor .jsonl.
        InvalidValueError: if there are no rows.
        LocationError: if the folder is missing or cannot be written.
        StorageError: if the disk is full or fails.
    """
    suffix = path.suffix.lower()
    if suffix not in (".parquet", ".jsonl"):
        raise UnknownNameError(
            "--out", got=repr(path.name), need="a name ending in .parquet or .jsonl", do="Choose one of the two."
        )
    if not rows:
        raise InvalidValueError(f"texts for {path}", got="no rows", need="at least one", do="Give some prompts.")
    data = _parquet(rows) if suffix == ".parquet" else _json_lines(rows)
    try:
        durable.replace(path, data)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise LocationError(
            f"texts {path}", got=str(error.strerror), need="a writable path", do="Choose another --out."
        ) from error
    except OSError as error:
        raise StorageError(
            f"texts {path}", got=str(error), need="room to write", do="Free space and run again."
        ) from error


def _json_lines(rows: Sequence[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def _parquet(rows: Sequence[dict[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=TEXTS_SCHEMA), buffer, compression="zstd")
    return buffer.getvalue()
