"""The command `factory prompts paraphrase`."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from prompts.cli.finish import AsJson
from prompts.paraphrase import FORMS
from prompts.table import read_prompts
from prompts.texts import text_rows, write_texts

__all__ = ["app"]

app = typer.Typer()


@app.command("paraphrase")
def paraphrase_prompts(
    table: Annotated[Path, typer.Argument(help="Prompts table.")],
    out: Annotated[Path, typer.Option("--out", help="Texts to write: .parquet or .jsonl, joined by prompt_id.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Texts for each distinct prompt.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed; text k of a prompt is the same for any --n and table.")] = 0,
    canonical: Annotated[bool, typer.Option(help="Add the canonical text as text 0.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write each prompt in many ways, to train on text.

    From a few letters over sentences and lists to whole reports; each text says what its prompt says, and no more.
    """
    rows = text_rows((row.prompt for row in read_prompts(table)), n, seed, canonical)
    write_texts(out, rows)
    forms = Counter(str(row["form"]) for row in rows)
    prompts = len({row["prompt_id"] for row in rows})
    if as_json:
        report = {"out": str(out), "texts": len(rows), "prompts": prompts, "seed": seed, "forms": dict(forms)}
        typer.echo(json.dumps(report))
        return
    typer.echo(f"{len(rows)} texts of {prompts} prompts in {out}, in {len(forms)} of {len(FORMS)} forms")
