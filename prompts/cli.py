"""The commands `factory prompts ...`: tables, reports and distributions to a prompts table."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from manifests.errors import InvalidValueError, UnknownNameError
from prompts.mapping import apply_mapping, load_mapping, mapping_names
from prompts.render import TEMPLATE_VERSION, render
from prompts.rules import extract
from prompts.sampling import Distribution, default_distribution, load_distribution, sample_table
from prompts.schema import Prompt
from prompts.sources import Reject, read_reports, read_table, write_rejects
from prompts.table import PromptRow, read_prompts, write_prompts

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Make prompts from tables, reports or a distribution.")

Out = Annotated[Path, typer.Option("--out", help="Prompts table to write (Parquet).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


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
    rows = [_row(prompt, f"{table.name}#{name}") for name, prompt in mapped.prompts]
    _finish(out, rows, mapped.rejects, as_json)


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
        rows.append(PromptRow(found.prompt, render(found.prompt), report.source, TEMPLATE_VERSION, found.evidence))
    if not rows:
        raise InvalidValueError(
            f"reports {path}", got=f"{len(rejects)} without text", need="at least one report", do="Check the source."
        )
    _finish(out, rows, rejects, as_json)


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
    rows = [_row(prompt, f"sample:{name}:{seed}#{index}") for index, prompt in enumerate(prompts)]
    _finish(out, rows, (), as_json)


def _draw(source: str, n: int, seed: int) -> tuple[list[Prompt], str]:
    if source.endswith(".toml") or source == "default":
        chosen: Distribution = default_distribution() if source == "default" else load_distribution(Path(source))
        return [chosen.draw(seed, index) for index in range(n)], chosen.name
    table = [row.prompt for row in read_prompts(Path(source))]
    return sample_table(table, n, seed), Path(source).name


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
        typer.echo(json.dumps({"prompts": len(rows), **_summary(rows), "rows": shown}))
        return
    for row in rows[:n]:
        typer.echo(f"{row.prompt.prompt_id}  {render(row.prompt)}")
    _print_summary(rows)


@app.command()
def mappings(as_json: AsJson = False) -> None:
    """List the column mappings there are."""
    known = {name: load_mapping(name).description for name in mapping_names()}
    typer.echo(json.dumps(known) if as_json else "\n".join(f"{name:14} {text}" for name, text in known.items()))


def _row(prompt: Prompt, source: str) -> PromptRow:
    return PromptRow(prompt, render(prompt), source, TEMPLATE_VERSION)


def _finish(out: Path, rows: Sequence[PromptRow], rejects: Sequence[Reject], as_json: bool) -> None:
    """Write prompts, and rejects beside them; report both."""
    beside = out.with_name(f"{out.stem}.rejects.jsonl")
    write_prompts(out, rows)
    if rejects:
        write_rejects(beside, rejects)
    else:
        beside.unlink(missing_ok=True)
    reasons = Counter(reject.reason for reject in rejects)
    if as_json:
        report = {
            "out": str(out),
            "prompts": len(rows),
            "rejected": len(rejects),
            "rejects": str(beside) if rejects else None,
        }
        typer.echo(json.dumps({**report, "reasons": dict(reasons.most_common()), **_summary(rows)}))
        return
    typer.echo(f"{len(rows)} prompts in {out}" + (f"; {len(rejects)} rows rejected, see {beside}" if rejects else ""))
    for reason, count in reasons.most_common(5):
        typer.echo(f"  {count:6} rejected: {reason}")
    _print_summary(rows)


def _summary(rows: Sequence[PromptRow]) -> dict[str, Any]:
    organs = Counter(tumour.organ for row in rows for tumour in row.prompt.tumours)
    sexes = Counter(row.prompt.patient.sex or "unstated" for row in rows)
    return {"sexes": dict(sexes.most_common()), "tumour_organs": dict(organs.most_common())}


def _print_summary(rows: Sequence[PromptRow]) -> None:
    for title, counts in _summary(rows).items():
        typer.echo(f"{title.replace('_', ' ')}: " + (", ".join(f"{name} {n}" for name, n in counts.items()) or "none"))
