"""The command `factory prompts evaluate`."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from prompts.cli.finish import AsJson
from prompts.evaluation import HEADLINE, Evaluation, Half, Joined, Slot, evaluate, join_reports, read_reference
from prompts.gold import GOLD_PATH
from prompts.table import read_prompts

__all__ = ["app"]

app = typer.Typer()


@app.command("evaluate")
def evaluate_table(
    tables: Annotated[list[Path], typer.Argument(help="Prompts tables made by one extractor.")],
    gold: Annotated[
        Path,
        typer.Option(
            "--gold",
            help="Gold set (JSON lines) or another prompts table as reference.",
            show_default="the labels that ship",
        ),
    ] = GOLD_PATH,
    split: Annotated[
        Half, typer.Option("--split", help="Half of the reports: dev, or the test half that is held back.")
    ] = "all",
    show_errors: Annotated[bool, typer.Option("--show-errors", help="List each disagreement.")] = False,
    as_json: AsJson = False,
) -> None:
    """Score an extraction: precision, recall, F1, false fills and kappa by field.

    Without --gold against the labels that ship, if their reports were extracted.
    """
    rows = [row for table in tables for row in read_prompts(table)]
    names = ", ".join(str(table) for table in tables)
    joined = join_reports(rows, read_reference(gold), split, f"prompts table {names}")
    scores = evaluate(joined.pairs)
    if as_json:
        errors = [_error(report, slot) for report, slot in scores.errors]
        about = {
            "tables": [str(table) for table in tables],
            "gold": str(gold),
            "split": split,
            "not_found": joined.not_found,
        }
        typer.echo(json.dumps({**about, **scores.as_dict(), **({"errors": errors} if show_errors else {})}))
        return
    _print(scores, joined, split)
    if show_errors:
        for report, slot in scores.errors:
            typer.echo(f"{report}: {slot.field} is {_shown(slot.reference)}, found {_shown(slot.found)}")


def _error(report: str, slot: Slot) -> dict[str, Any]:
    return {"report": report, "field": slot.field, "reference": slot.reference, "found": slot.found}


def _print(scores: Evaluation, joined: Joined, split: Half) -> None:
    missing = f"; {joined.not_found} labelled reports are not in the table" if joined.not_found else ""
    typer.echo(f"{scores.reports} reports ({split}){missing}")
    typer.echo(f"{'field':10}{'precision':>10}{'recall':>8}{'F1':>8}{'support':>9}{'false fills':>16}{'kappa':>8}")
    for name, one in scores.fields.items():
        fills = f"{_ratio(one.false_fill_rate)} ({one.false_fills}/{one.unstated})"
        ratios = f"{_ratio(one.precision):>10}{_ratio(one.recall):>8}{_ratio(one.f1):>8}"
        typer.echo(f"{name:10}{ratios}{one.support:9}{fills:>16}{_ratio(one.kappa):>8}")
    total = scores.headline
    low, high = scores.micro_f1_interval or (None, None)
    typer.echo(f"over {', '.join(HEADLINE)}:")
    typer.echo(f"  micro-F1 {_ratio(total.f1)} (95 % of resampled reports: {_ratio(low)} to {_ratio(high)})")
    typer.echo(f"  false-fill rate {_ratio(total.false_fill_rate)} ({total.false_fills}/{total.unstated})")


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _shown(value: str | float | None) -> str:
    return "unstated" if value is None else f"{value:g}" if isinstance(value, float) else value
