"""The commands `factory prompts from-table` and `mappings`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from prompts.cli.finish import AsJson, Out, finish, plain_row
from prompts.mapping import apply_mapping, load_mapping, mapping_names, mapping_source
from prompts.sources import plain, read_table

__all__ = ["app"]

app = typer.Typer()


@app.command("from-table")
def from_table(
    table: Annotated[Path, typer.Argument(help="CSV, TSV, JSON, JSONL or Parquet.")],
    out: Out,
    mapping: Annotated[
        str, typer.Option(help="Name of a mapping (see `mappings`) or path of a TOML file.")
    ] = "generic",
    as_json: AsJson = False,
) -> None:
    """Read a table through a column mapping."""
    mapped = apply_mapping(load_mapping(mapping), read_table(table))
    rows = [plain_row(prompt, f"{plain(table.name)}#{name}") for name, prompt in mapped.prompts]
    finish(out, rows, mapped.rejects, as_json)


@app.command()
def mappings(
    name: Annotated[str, typer.Argument(help="A mapping to print, to copy and change.")] = "", as_json: AsJson = False
) -> None:
    """List the column mappings there are, or print one."""
    if name:
        content = load_mapping(name).model_dump(mode="json", exclude_defaults=True)
        typer.echo(json.dumps(content) if as_json else mapping_source(name).decode("utf-8").rstrip())
        return
    known = {name: load_mapping(name).description for name in mapping_names()}
    typer.echo(json.dumps(known) if as_json else "\n".join(f"{name:14} {text}" for name, text in known.items()))
