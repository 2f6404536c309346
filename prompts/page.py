"""Prompts as one web page that needs nothing else: bars, a filter, and reports with their evidence marked."""

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from manifests import durable
from manifests.errors import LocationError, StorageError
from prompts.highlight import KINDS, field_kind, field_label, pieces, report_of
from prompts.lexicon import phrase
from prompts.listing import UNSTATED, cells
from prompts.render import render
from prompts.table import PromptRow

__all__ = ["page", "write_page"]

_COLUMNS = {"patient": "patient", "body": "patient", "scan": "study", "tumours": "place"}
_NONE = "no tumour"


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("prompts"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["script_hash"] = _script_hash
    return environment.get_template("show.html.j2")


def _script_hash(script: str) -> str:
    """The hash by which the page's own script, and no other, may run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(str(script).encode()).digest()).decode()


def page(rows: Sequence[PromptRow], reports: Mapping[str, str], title: str) -> str:
    """Make the page; `reports` are texts by `report_hash`.

    Reports are hostile input: all text is escaped, and the page's policy forbids loading anything
    and running any script but its own.
    """
    items = [_item(number, row, report_of(row, reports)) for number, row in enumerate(rows)]
    organs = Counter(organ for item in items for organ in item["organs"])
    sexes = Counter(item["sex"] for item in items)
    found = sum(item["report"] is not None for item in items)
    return _template().render(
        title=title,
        items=items,
        bars=[("Tumour organ", "organ", _bars(organs)), ("Sex", "sex", _bars(sexes))],
        kinds=KINDS if found else (),
        found=found,
        missing=sum(bool(row.report_hash) for row in rows) - found,
        flagged=sum(bool(row.flags) for row in rows),
    )


def _bars(counts: Counter[str]) -> list[tuple[str, int, float]]:
    """Name, count and length in percent of the longest."""
    longest = max(counts.values())
    return [(name, count, round(100 * count / longest, 1)) for name, count in counts.most_common()]


def _item(number: int, row: PromptRow, report: str | None) -> dict[str, Any]:
    shown = {name: value for name, value in cells(row.prompt).items() if value != UNSTATED}
    cut = pieces(report, row.evidence) if report is not None else []
    return {
        "number": number,
        "row": row,
        "prompt_id": row.prompt.prompt_id,
        "text": render(row.prompt),
        "chips": [(name, _COLUMNS.get(name, "organs"), value) for name, value in shown.items()],
        "organs": list(dict.fromkeys(phrase(tumour.organ) for tumour in row.prompt.tumours)) or [_NONE],
        "sex": row.prompt.patient.sex or "unstated",
        "report": None
        if report is None
        else [
            (piece.text, field_kind(piece.fields[0]) if piece.fields else "", ", ".join(map(field_label, piece.fields)))
            for piece in cut
        ],
    }


def write_page(path: Path, text: str) -> None:
    """Write a page; the file appears whole or not at all.

    Raises:
        LocationError: if the folder is missing or cannot be written.
        StorageError: if the disk is full or fails.
    """
    try:
        durable.replace(path, text.encode("utf-8", "replace"))
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise LocationError(
            f"page {path}", got=str(error.strerror), need="a writable path", do="Choose another --html."
        ) from error
    except OSError as error:
        raise StorageError(
            f"page {path}", got=str(error), need="room to write", do="Free space and run again."
        ) from error
