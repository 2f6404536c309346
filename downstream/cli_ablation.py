"""The command `factory bench ablation`: GuideGen without each of its parts, trained, drawn from and measured."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

from downstream.cli_transfer import show_progress

if TYPE_CHECKING:
    from downstream.ablation.measure import Measuring
    from downstream.ablation.plan import Inputs

__all__ = ["app"]

app = typer.Typer()


@app.command("ablation")
def bench_ablation(  # one parameter per option
    train: Annotated[Path, typer.Option(help="Generated dataset to train on.")],
    held_out: Annotated[Path, typer.Option(help="Another one: its prompts are drawn for, its images compared with.")],
    out: Annotated[Path, typer.Option(help="Work folder; the same command goes on in it.")],
    arms: Annotated[str, typer.Option(help="Some arms, with commas, full among them; or all.")] = "all",
    n: Annotated[int, typer.Option(help="Held-out prompts to draw for.", min=1)] = 24,
    preset: Annotated[str, typer.Option(help="Size of networks and trainings: tiny, demo or full.")] = "tiny",
    build_preset: Annotated[str, typer.Option(help="Resolution of what is drawn.")] = "tiny",
    weights: Annotated[
        Path | None, typer.Option(help="Packed weights that stand for all trainings without switches.")
    ] = None,
    steps: Annotated[str, typer.Option(help="Of masks,autoencoder,latents; default: the preset's.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of trainings, builds and intervals.")] = 0,
    segmenter: Annotated[str | None, typer.Option(help="As in: factory bench alignment.")] = None,
    attributes: Annotated[bool, typer.Option(help="Read attributes off the images.")] = True,
    resamples: Annotated[int, typer.Option(help="Bootstrap samples of set measures.", min=1)] = 200,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all, print plan and cost, do nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Leave out each part of GuideGen in turn.

    Trains what an arm needs of its own, draws for the same held-out prompts, and measures with intervals. Repeat the command to
    go on after an interruption.
    """
    from downstream.ablation.arms import chosen_arms
    from downstream.ablation.costs import ablation_costs
    from downstream.ablation.plan import Options, check_inputs, parse_steps, plan
    from downstream.ablation.report import write_report
    from downstream.ablation.study import ablate, check_work_folder

    options = Options(
        chosen_arms(arms), preset, build_preset, n, parse_steps(steps), seed, weights and weights.resolve()
    )
    inputs = check_inputs(train, held_out, options)
    out = out.resolve()
    check_work_folder(out)
    if dry_run:
        costs = ablation_costs(plan(inputs, options, out), preset, out)
        typer.echo(json.dumps(costs.to_json(), indent=2) if as_json else str(costs))
        return
    measuring = _measuring(inputs if attributes else None, segmenter, seed, resamples)
    quiet = True if as_json else None
    with tqdm(unit="", disable=quiet, bar_format="{desc}: {n_fmt}/{total_fmt} |{bar}| {elapsed}") as bar:
        done = ablate(inputs, options, out, measuring, partial(show_progress, bar))
    report, text = write_report(done)
    files = f"{out}: table.md, scores.csv, measures-by-arm.csv, results.json"
    typer.echo(json.dumps(report.to_json(), indent=2) if as_json else f"{text}\n{files}")


def _measuring(attributes: "Inputs | None", segmenter: str | None, seed: int, resamples: int) -> "Measuring":
    from downstream.ablation.measure import Measuring
    from downstream.segmenter import open_segmenter

    network = None if segmenter is None else open_segmenter(segmenter)
    return Measuring(network, attributes.train if attributes else None, resamples, seed)
