"""The commands `factory prompts fit`, `sample` and `fidelity`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from prompts.cli.finish import AsJson, Out, finish, plain_row
from prompts.sampling import (
    MIN_COUNT,
    Distribution,
    default_distribution,
    fit,
    load_distribution,
    require_mode,
    write_distribution,
)
from prompts.table import read_prompts

__all__ = ["app"]

app = typer.Typer()

MinCount = Annotated[int, typer.Option(help="No stored figure describes fewer rows than this.")]


@app.command("fit")
def fit_table(
    table: Annotated[Path, typer.Argument(help="Prompts table (Parquet).")],
    out: Annotated[Path, typer.Option("--out", help="Distribution to write (TOML).")],
    min_count: MinCount = MIN_COUNT,
    as_json: AsJson = False,
) -> None:
    """Fit an attribute distribution from which no row of the table can be recovered."""
    fitted = fit([row.prompt for row in read_prompts(table)], table.stem, min_count)
    write_distribution(out, fitted)
    groups = {
        name: {"rows": group.rows, "columns": len(group.category) + len(group.number), "pairs": len(group.pair)}
        for name, group in fitted.group.items()
    }
    if as_json:
        report = {"out": str(out), "rows": fitted.rows, "min_count": min_count, "groups": groups}
        typer.echo(json.dumps({**report, "distribution_id": fitted.distribution_id}))
        return
    typer.echo(f"{fitted.rows} prompts in {out}; no figure describes fewer than {min_count}")
    for name, group in groups.items():
        typer.echo(
            f"  {name:24} {group['rows']:6} rows, {group['columns']} columns, {group['pairs']} pairs of categories"
        )


@app.command()
def sample(
    out: Out,
    source: Annotated[
        str, typer.Argument(help="Prompts table (Parquet), distribution (TOML), or `default`, which ships with it.")
    ] = "default",
    n: Annotated[int, typer.Option("--n", min=1, help="Number of prompts.")] = 1000,
    mode: Annotated[
        str,
        typer.Option(
            help="match (follow the source), balanced (equal counts for each tumour site), rare (rare levels more"
            " often), coverage (low-discrepancy: spread over the whole distribution)."
        ),
    ] = "match",
    seed: Annotated[int, typer.Option(help="Seed; row i is the same for any --n.")] = 0,
    min_count: MinCount = MIN_COUNT,
    as_json: AsJson = False,
) -> None:
    """Draw prompts from a distribution or from what is fitted to a prompts table.

    `--min-count` is for tables; a distribution has its own.
    """
    how = require_mode(mode)
    distribution = _distribution(source, min_count)
    prompts = distribution.sample(n, seed, how)
    label = f"sample:{distribution.name}:{mode}:{seed}"
    finish(out, [plain_row(prompt, f"{label}#{index}") for index, prompt in enumerate(prompts)], (), as_json)


def _distribution(source: str, min_count: int) -> Distribution:
    if source == "default":
        return default_distribution()
    path = Path(source)
    if path.suffix == ".toml":
        return load_distribution(path)
    return fit([row.prompt for row in read_prompts(path)], path.stem, min_count)


@app.command()
def fidelity(
    reference: Annotated[Path, typer.Argument(help="Prompts table that others are compared with.")],
    sampled: Annotated[Path | None, typer.Argument(help="Prompts table to compare.")] = None,
    dataset: Annotated[
        Path | None, typer.Option(help="A build: its requested prompts before and after the quality gate.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the report and its plots.")] = None,
    bootstraps: Annotated[int, typer.Option(min=1, help="Resamples of the reference that give the limit.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Tell how like a reference other prompts are, beside the limit that sampling error sets."""
    from manifests.dataset import Dataset
    from prompts.fidelity import Reference, compare
    from prompts.fidelity_report import Table, candidates, markdown, require_something, to_json, write_report

    require_something(sampled, dataset)
    known = Reference([row.prompt for row in read_prompts(reference)])
    tables: list[Table] = [(sampled.name, [row.prompt for row in read_prompts(sampled)])] if sampled else []
    if dataset:
        tables += candidates(Dataset.open(dataset).records(), str(dataset))
    results = [compare(known, prompts, name, bootstraps=bootstraps) for name, prompts in tables]
    if out:
        write_report(out, known, tables, results)
    typer.echo(json.dumps(to_json(known, results, out)) if as_json else markdown(known, results))
    if out and not as_json:
        typer.echo(f"Report and plots in {out}")
