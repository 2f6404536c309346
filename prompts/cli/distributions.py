"""The command `factory prompts sample`."""

from pathlib import Path
from typing import Annotated

import typer

from prompts.cli.finish import AsJson, Out, finish, plain_row
from prompts.sampling import Distribution, default_distribution, load_distribution, sample_table
from prompts.schema import Prompt
from prompts.table import read_prompts

__all__ = ["app"]

app = typer.Typer()


@app.command()
def sample(
    out: Out,
    source: Annotated[
        str, typer.Argument(help="Prompts table (Parquet), distribution (TOML), or `default`, which ships with it.")
    ] = "default",
    n: Annotated[int, typer.Option("--n", min=1, help="Number of prompts.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed; row i is the same for any --n.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Draw prompts like a table's or by default.

    From the marginals of a prompts table, or from a distribution: a TOML file or the one shipped.
    """
    prompts, name = _draw(source, n, seed)
    rows = [plain_row(prompt, f"sample:{name}:{seed}#{index}") for index, prompt in enumerate(prompts)]
    finish(out, rows, (), as_json)


def _draw(source: str, n: int, seed: int) -> tuple[list[Prompt], str]:
    if source.endswith(".toml") or source == "default":
        chosen: Distribution = default_distribution() if source == "default" else load_distribution(Path(source))
        return [chosen.draw(seed, index) for index in range(n)], chosen.name
    table = [row.prompt for row in read_prompts(Path(source))]
    return sample_table(table, n, seed), Path(source).name
