"""The command `factory bench usability`: nnU-Net on real, synthetic and mixed cases, tested on real ones.

The root command hands down who runs trainings side by side: downstream knows no Ray.
"""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

from downstream.cli_transfer import show_progress
from downstream.handed_down import HandedDown

if TYPE_CHECKING:
    from downstream.usability.options import UsabilityOptions

__all__ = ["app"]

app = typer.Typer()
_Pair = tuple[Path, Path | None, Path]


@app.command("usability")
def bench_usability(  # one parameter per option
    context: typer.Context,
    real: Annotated[Path, typer.Option(help="Dataset of labelled real CT; see: factory ingest.")],
    out: Annotated[Path, typer.Option(help="Work folder; the same command goes on in it.")],
    synthetic: Annotated[Path | None, typer.Option(help="Dataset of generated cases.")] = None,
    arms: Annotated[str, typer.Option(help="Some of real,synthetic,real+synthetic.")] = "real,synthetic,real+synthetic",
    sizes: Annotated[str, typer.Option(help="Numbers of synthetic cases.")] = "0,100,200,500,1000",
    folds: Annotated[int, typer.Option(help="1: the sides of the protocol; more: parts of a cross-validation.")] = 1,
    seeds: Annotated[int, typer.Option(help="Trainings of each arm and fold.")] = 3,
    plan: Annotated[str, typer.Option(help="Size: tiny, nano, small (a CPU), resenc-m or resenc-l (a GPU).")] = "nano",
    scheme: Annotated[str, typer.Option(help="Labels to train and score.")] = "torso24",
    iterations: Annotated[int | None, typer.Option(help="Steps of every training; default: the plan's.")] = None,
    protocol: Annotated[str | None, typer.Option(help="Sides of the real cases; default: the dataset's own.")] = None,
    plan_on: Annotated[str, typer.Option(help="Whose training cases nnU-Net plans on: real or synthetic.")] = "real",
    stand_in: Annotated[bool, typer.Option("--stand-in", help="--real is generated and stands for scans.")] = False,
    may_lack: Annotated[list[str] | None, typer.Option(help="Label that one side may lack.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    workers: Annotated[int, typer.Option(help="Processes for preprocessing.")] = 2,
    parallel: Annotated[int, typer.Option(help="Trainings at once, on Ray; with cuda a GPU each.")] = 1,
    tolerance: Annotated[float, typer.Option(help="mm, of the surface distance NSD.")] = 3.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, say what it will cost, do nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare training on real and synthetic CT.

    Plans once, trains every arm with the same number of steps, tests all on the same real cases. Repeat
    the command to go on after an interruption.
    """
    from downstream.usability.options import UsabilityOptions, parse_sizes

    kinds = tuple(kind.strip() for kind in arms.split(","))
    options = UsabilityOptions(
        plan=plan,
        scheme=scheme,
        kinds=kinds,
        sizes=parse_sizes(sizes),
        folds=folds,
        seeds=seeds,
        iterations=iterations,
        protocol=protocol,
        plan_on=plan_on,
        stand_in=stand_in,
        may_lack=tuple(may_lack or ()),
        device=device,
        workers=workers,
        parallel=parallel,
        tolerance_mm=tolerance,
    )
    if dry_run:
        _print_costs((real, synthetic, out), options, as_json=as_json)
    else:
        _study(context, (real, synthetic, out), options, as_json=as_json)


def _print_costs(places: _Pair, options: "UsabilityOptions", *, as_json: bool) -> None:
    from downstream.usability.costs import study_costs
    from downstream.usability.inputs import check_inputs
    from downstream.usability.study import check_work_folder

    inputs = check_inputs(*places[:2], options)
    check_work_folder(places[2])
    costs = study_costs(inputs, options, places[2])
    typer.echo(json.dumps(costs.to_json(), indent=2) if as_json else str(costs))


def _study(context: typer.Context, places: _Pair, options: "UsabilityOptions", *, as_json: bool) -> None:
    from downstream.tasks import Executor, in_turn, side_by_side
    from downstream.usability.curve import draw_curve
    from downstream.usability.report import write_report
    from downstream.usability.study import study

    execute: Executor = in_turn
    if options.parallel > 1:
        assert isinstance(context.obj, HandedDown), "the root command passes obj=HandedDown(...)"
        execute = side_by_side(context.obj.spread, options.parallel, gpus=options.device == "cuda")
    quiet = True if as_json else None
    with tqdm(unit="", disable=quiet, bar_format="{desc}: {n_fmt}/{total_fmt} |{bar}| {elapsed}") as bar:
        done = study(places, options, execute, partial(show_progress, bar))
    report = write_report(done)
    picture = draw_curve(
        done.scores, done.out / "figures" / "curve.png", f"scheme {options.scheme}, plan {options.plan}"
    )
    text = f"{report.table()}\n\n{report.label_table()}\n\n{done.out}: table.md, scores.csv, comparisons.csv, results.json, {picture.name}"
    typer.echo(json.dumps(report.to_json(), indent=2) if as_json else text)
    for name, error in done.failed.items():
        typer.echo(f"failed: {name}: {error}", err=True)
    if done.failed:
        raise typer.Exit(1)
