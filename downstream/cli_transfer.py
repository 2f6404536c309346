"""The command `factory bench transfer`: build, train, predict, score. The root command says who builds.

It hands a `Builder` down (`handed_down.py`): downstream makes no cases.
"""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from tqdm import tqdm

from downstream.handed_down import Builder, BuildRequest, HandedDown

if TYPE_CHECKING:
    from downstream.transfer import TransferOptions
    from downstream.transfer_tables import TransferResult

__all__ = ["app", "show_progress"]

app = typer.Typer()
_BUILDING = "Building"


@app.command("transfer")
def bench_transfer(  # one parameter per option
    context: typer.Context,
    real: Annotated[Path, typer.Argument(help="Dataset of labelled real CT; see: factory ingest.")],
    out: Annotated[Path, typer.Option(help="Work folder; the same command goes on in it.")],
    synthetic: Annotated[Path | None, typer.Option(help="Train on this dataset instead of building one.")] = None,
    n: Annotated[int, typer.Option(help="Cases to build.", rich_help_panel=_BUILDING)] = 200,
    randomise: Annotated[float, typer.Option(help="As in: factory build.", rich_help_panel=_BUILDING)] = 0.5,
    preset: Annotated[str | None, typer.Option(help="Resolution; default: the plan's.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the build.", rich_help_panel=_BUILDING)] = 0,
    plan: Annotated[str, typer.Option(help="Size: tiny, nano (a CPU) or full (a GPU).")] = "nano",
    scheme: Annotated[str, typer.Option(help="Labels to train and score.")] = "torso25",
    iterations: Annotated[int | None, typer.Option(help="Training steps; default: the plan's.")] = None,
    members: Annotated[int | None, typer.Option(help="Networks, scores averaged; default: the plan's.")] = None,
    training_seed: Annotated[int, typer.Option(help="Seed of weights, patches and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    workers: Annotated[int, typer.Option(help="Processes for building and preprocessing.")] = 2,
    exclude: Annotated[list[str] | None, typer.Option(help="CASE:LABEL that is labelled in part.")] = None,
    largest: Annotated[bool, typer.Option(help="Keep the largest piece of organs that are one.")] = True,
    tolerance: Annotated[float, typer.Option(help="mm, of the surface distance NSD.")] = 3.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, say what it will cost, do nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Train on synthetic CT alone, score on real CT.

    Builds cases, trains nnU-Net on them, segments the real scans and scores them. Repeat the
    command to go on after an interruption.
    """
    from downstream.transfer import TransferOptions, check_target, check_work_folder, parse_exclusions
    from downstream.transfer_plans import transfer_plan

    left_out = parse_exclusions(exclude or [])
    options = TransferOptions(
        plan, scheme, iterations, training_seed, device, workers, largest, tolerance, left_out, members
    )
    check_target(real, options)
    check_work_folder(out)
    grid = preset or transfer_plan(plan).preset
    make = _builder(context)(BuildRequest(out / "synthetic", n, grid, seed, randomise, workers))
    if dry_run:
        _print_costs(options, real, synthetic or n, as_json=as_json)
        return
    if synthetic is None:
        make(as_json)
    _transfer((synthetic or out / "synthetic", real, out), options, as_json=as_json)


def _builder(context: typer.Context) -> Builder:
    """What the root command hands down."""
    assert isinstance(context.obj, HandedDown), "the root command passes obj=HandedDown(...)"
    return context.obj.builder


def _transfer(places: tuple[Path, Path, Path], options: "TransferOptions", *, as_json: bool) -> None:
    from downstream.transfer import transfer
    from downstream.transfer_figures import draw_best_and_worst

    quiet = True if as_json else None
    with tqdm(unit="", disable=quiet, bar_format="{desc}: {n_fmt}/{total_fmt} |{bar}| {elapsed}") as bar:
        result = transfer(*places, options, partial(show_progress, bar))
    draw_best_and_worst(result)
    typer.echo(json.dumps(result.to_json(), indent=2) if as_json else _text(result))


def _text(result: "TransferResult") -> str:
    return f"{result.table()}\n\n{result.case_table()}\n\n{result.out}: table.md, scores.csv, results.json, figures/"


def _print_costs(options: "TransferOptions", real: Path, source: Path | int, *, as_json: bool) -> None:
    from downstream.transfer_costs import transfer_costs

    costs = transfer_costs(options, real, source)
    typer.echo(json.dumps(costs.to_json(), indent=2) if as_json else str(costs))


def show_progress(bar: "tqdm[Any]", stage: str, done: int, total: int) -> None:
    """Show on a bar how far a job is."""
    bar.set_description_str(stage, refresh=False)
    bar.n, bar.total = done, total
    bar.refresh()
