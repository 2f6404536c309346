"""The commands `factory prompts ...`, one module for each noun they work on."""

import typer

from prompts.cli import distributions, evaluate, extract, paraphrase, show, tables

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Make prompts from tables, reports or a distribution.")
for commands in (tables, extract, evaluate, distributions, paraphrase, show):
    app.add_typer(commands.app)
