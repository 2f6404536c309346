"""The command `factory bench tables`: the paper's tables with our rows beside the published ones."""

import json
from pathlib import Path
from typing import Annotated

import typer

from manifests.errors import UnknownNameError

__all__ = ["bench_tables"]


def bench_tables(
    runs: Annotated[list[Path] | None, typer.Argument(help="Folders of finished `factory bench` runs.")] = None,
    form: Annotated[str, typer.Option("--format", help="markdown, latex, csv or html.")] = "markdown",
    paper_convention: Annotated[
        bool, typer.Option("--paper-convention", help="DSC and HD95 as the published code counts them.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="File to write; default: print.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Print the paper's tables.

    Published figures, and ours where a run has measured them; all else stays empty.
    """
    from downstream.ledger import writing
    from downstream.tables.formats import FORMATS, records, render
    from downstream.tables.paper import paper_tables
    from manifests.durable import replace

    if form not in FORMATS:
        raise UnknownNameError("--format", got=repr(form), need=f"one of {', '.join(FORMATS)}", do="Choose one.")
    tables = paper_tables(runs or [], paper_convention=paper_convention)
    text = json.dumps(list(records(tables)), indent=2) if as_json else render(tables, form)
    if out is None:
        typer.echo(text.rstrip("\n"))
        return
    with writing(out):
        replace(out, text.encode())
    typer.echo(json.dumps({"out": str(out), "tables": len(tables)}) if as_json else f"{out}: {len(tables)} tables")
