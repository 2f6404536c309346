"""The command `factory bench pack`: a trained transfer becomes a segmenter that judges other datasets."""

import json
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["bench_pack"]


def bench_pack(
    run: Annotated[Path, typer.Argument(help="Work folder of a finished `factory bench transfer`.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights.")],
    name: Annotated[str | None, typer.Option(help="Of the segmenter; default: the run's label scheme.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Pack a trained transfer as a segmenter.

    Writes weights in half precision, their configuration and a card, for --segmenter builtin:FOLDER.
    """
    from downstream.packing import pack_transfer

    config = pack_transfer(run, out, name)
    if as_json:
        typer.echo(json.dumps({"out": str(out), **config.model_dump(mode="json")}, indent=2))
    else:
        size = sum(path.stat().st_size for path in out.iterdir()) / 1e6
        typer.echo(f"{config.name}: {len(config.labels)} labels, {size:.1f} MB in {out}; use --segmenter builtin:{out}")
