"""What every command that makes prompts does at its end: write them, write rejects beside them, report both."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from manifests.errors import LocationError
from prompts.render import TEMPLATE_VERSION, render
from prompts.schema import Prompt
from prompts.sources import Reject, write_rejects
from prompts.table import PromptRow, write_prompts

__all__ = ["AsJson", "Out", "finish", "plain_row", "print_summary", "summary"]


def _place(out: Path) -> Path:
    """Refuse a place that cannot be written before anything is read or paid for."""
    if not out.name or out.is_dir() or not out.parent.is_dir():
        got = "a folder" if not out.name or out.is_dir() else f"no folder {out.parent}"
        raise LocationError(f"--out {out}", got=got, need="a file in a folder that exists", do="Choose another --out.")
    return out


Out = Annotated[Path, typer.Option("--out", help="Prompts table to write (Parquet).", callback=_place)]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def plain_row(prompt: Prompt, source: str) -> PromptRow:
    """Make the row of a prompt that no report stands behind."""
    return PromptRow(prompt, render(prompt), source, TEMPLATE_VERSION)


def finish(
    out: Path,
    rows: Sequence[PromptRow],
    rejects: Sequence[Reject],
    as_json: bool,
    account: Mapping[str, Any] | None = None,
) -> None:
    """Write prompts, and rejects beside them; report both, and the account of a model in the JSON report."""
    beside = out.with_name(f"{out.stem}.rejects.jsonl")
    write_prompts(out, rows)
    if rejects:
        write_rejects(beside, rejects)
    else:
        beside.unlink(missing_ok=True)
    reasons = Counter(reject.reason for reject in rejects)
    if as_json:
        report: dict[str, Any] = {
            "out": str(out),
            "prompts": len(rows),
            "rejected": len(rejects),
            "rejects": str(beside) if rejects else None,
        }
        report |= {"reasons": dict(reasons.most_common()), **summary(rows), **(account or {})}
        typer.echo(json.dumps(report))
        return
    typer.echo(f"{len(rows)} prompts in {out}" + (f"; {len(rejects)} rows rejected, see {beside}" if rejects else ""))
    for reason, count in reasons.most_common(5):
        typer.echo(f"  {count:6} rejected: {reason}")
    print_summary(rows)


def summary(rows: Sequence[PromptRow]) -> dict[str, Any]:
    """Count prompts by sex and by tumour organ."""
    organs = Counter(tumour.organ for row in rows for tumour in row.prompt.tumours)
    sexes = Counter(row.prompt.patient.sex or "unstated" for row in rows)
    return {"sexes": dict(sexes.most_common()), "tumour_organs": dict(organs.most_common())}


def print_summary(rows: Sequence[PromptRow]) -> None:
    """Print the counts of `summary`."""
    for title, counts in summary(rows).items():
        typer.echo(f"{title.replace('_', ' ')}: " + (", ".join(f"{name} {n}" for name, n in counts.items()) or "none"))
