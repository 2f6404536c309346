"""The command `factory prompts show`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from prompts.cli.finish import AsJson, print_summary, summary
from prompts.render import render
from prompts.table import read_prompts

__all__ = ["app"]

app = typer.Typer()


@app.command()
def show(
    table: Annotated[Path, typer.Argument(help="Prompts table.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Rows to print.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Print prompts as canonical text."""
    rows = read_prompts(table)
    if as_json:
        shown = [
            {"prompt_id": row.prompt.prompt_id, "source": row.source, "text": render(row.prompt)} for row in rows[:n]
        ]
        typer.echo(json.dumps({"prompts": len(rows), **summary(rows), "rows": shown}))
        return
    for row in rows[:n]:
        typer.echo(f"{row.prompt.prompt_id}  {render(row.prompt)}")
    print_summary(rows)
