"""The command `factory prompts extract`."""

from pathlib import Path
from typing import Annotated

import typer

from manifests.errors import InvalidValueError, UnknownNameError
from prompts.cli.finish import AsJson, Out, finish
from prompts.render import TEMPLATE_VERSION, render
from prompts.rules import RULES_VERSION, extract
from prompts.sources import read_reports, report_hash
from prompts.table import PromptRow

__all__ = ["app"]

app = typer.Typer()


@app.command("extract")
def extract_reports(
    path: Annotated[Path, typer.Argument(help="Folder of .txt files, one text file, or a table with a text column.")],
    out: Out,
    text_column: Annotated[str | None, typer.Option(help="Column that holds the report text.")] = None,
    llm: Annotated[str, typer.Option(help="Extractor: rules (offline, no model).")] = "rules",
    as_json: AsJson = False,
) -> None:
    """Read free-text reports."""
    if llm != "rules":
        raise UnknownNameError("--llm", got=repr(llm), need="rules", do="Other extractors do not exist yet.")
    reports, rejects = read_reports(path, text_column)
    rows = []
    for report in reports:
        found = extract(report.text)
        rows.append(
            PromptRow(
                found.prompt,
                render(found.prompt),
                report.source,
                TEMPLATE_VERSION,
                found.evidence,
                extractor=RULES_VERSION,
                report_hash=report_hash(report.text),
                flags=tuple(str(item) for item in found.dropped) + found.flags,
            )
        )
    if not rows:
        raise InvalidValueError(
            f"reports {path}", got=f"{len(rejects)} without text", need="at least one report", do="Check the source."
        )
    finish(out, rows, rejects, as_json)
