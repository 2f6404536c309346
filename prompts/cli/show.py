"""The command `factory prompts show`."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from manifests.errors import InvalidValueError
from prompts.cli.finish import AsJson, print_summary, summary
from prompts.highlight import report_of
from prompts.listing import evidence_lines, flag_lines, table_lines
from prompts.render import render
from prompts.sources import read_reports, report_hash
from prompts.table import PromptRow, read_prompts

__all__ = ["app"]

app = typer.Typer()
_ROWS = 20


@app.command()
def show(
    table: Annotated[Path, typer.Argument(help="Prompts table.")],
    n: Annotated[int | None, typer.Option("--n", min=1, help="Rows; 20 on a terminal, else all.")] = None,
    reports: Annotated[Path | None, typer.Option(help="Source of the reports: shows evidence in their text.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Column that holds the report text.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write one web page, which needs no network.")] = None,
    as_json: AsJson = False,
) -> None:
    """Print prompts as a table, with evidence and what was dropped; or write a page."""
    if text_column is not None and reports is None:
        raise InvalidValueError("--text-column", got="no --reports", need="both", do="Name the source with --reports.")
    rows = read_prompts(table)
    texts = _texts(reports, text_column)
    if html is not None:
        from prompts.page import page, write_page

        write_page(html, page(rows[:n], texts, f"Prompts of {table.name}"))
    if as_json:
        shown = [_as_json(row, report_of(row, texts)) for row in rows[:n]]
        typer.echo(json.dumps({"prompts": len(rows), **summary(rows), "rows": shown}))
    elif html is not None:
        typer.echo(f"{len(rows[:n])} prompts in {html}")
    else:
        _print(rows, rows[: n or _ROWS], texts)


def _texts(reports: Path | None, column: str | None) -> dict[str, str]:
    """Texts of reports by their hash."""
    if reports is None:
        return {}
    return {report_hash(report.text): report.text for report in read_reports(reports, column)[0]}


def _print(rows: Sequence[PromptRow], shown: Sequence[PromptRow], texts: Mapping[str, str]) -> None:
    width = shutil.get_terminal_size((100, 24)).columns
    for line in table_lines(shown, width):
        typer.echo(line)
    for title, lines in (("flags", list(flag_lines(shown))), ("evidence", _evidence(shown, texts, width))):
        if lines:
            typer.echo(f"\n{title}")
        for line in lines:
            typer.echo(line)
    typer.echo(f"\n{len(shown)} of {len(rows)} prompts" if len(shown) < len(rows) else "")
    print_summary(rows)


def _evidence(shown: Sequence[PromptRow], texts: Mapping[str, str], width: int) -> list[str]:
    if not texts and not any(row.report_text is not None for row in shown):
        return []
    return list(evidence_lines(shown, texts, width, sys.stdout.isatty()))


def _as_json(row: PromptRow, report: str | None) -> dict[str, Any]:
    evidence = [
        {"field": item.field, "start": item.start, "end": item.end}
        | ({} if report is None else {"quote": report[item.start : item.end]})
        for item in row.evidence
    ]
    return {
        "prompt_id": row.prompt.prompt_id,
        "source": row.source,
        "text": render(row.prompt),
        "prompt": row.prompt.model_dump(mode="json", exclude_none=True, exclude_defaults=True),
        "extractor": row.extractor,
        "report_hash": row.report_hash,
        "evidence": evidence,
        "flags": list(row.flags),
    }
