"""Commands on finished datasets: `factory view`, `factory report` and `factory bench …`."""

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from tqdm import tqdm

from downstream.cli_ablation import app as ablation_app
from downstream.cli_alignment import app as alignment_app
from downstream.cli_export import app as export_app
from downstream.cli_faults import app as faults_app
from downstream.cli_fidelity import app as fidelity_app
from downstream.cli_pack import bench_pack
from downstream.cli_report import app as report_app
from downstream.cli_splits import bench_splits
from downstream.cli_tables import bench_tables
from downstream.cli_transfer import app as transfer_app
from downstream.cli_transfer import show_progress
from downstream.cli_usability import app as usability_app
from downstream.handed_down import BuildRequest, HandedDown

if TYPE_CHECKING:  # the commands import what they need: numpy, zarr and matplotlib take a second
    from downstream.nnunet import NnunetResult

__all__ = ["BuildRequest", "HandedDown", "app", "bench_app", "export_app"]

app = typer.Typer()
app.registered_commands += report_app.registered_commands
bench_app = typer.Typer(help="Train and score on a dataset.", no_args_is_help=True)
for part in (transfer_app, usability_app, alignment_app, fidelity_app, faults_app, ablation_app):
    bench_app.registered_commands += part.registered_commands
bench_app.command("splits")(bench_splits)
bench_app.command("tables")(bench_tables)
bench_app.command("pack")(bench_pack)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
_Dataset = Annotated[Path, typer.Argument(help="Directory of a dataset.")]


@bench_app.command("nnunet")
def bench_nnunet(  # one parameter per option
    folder: Annotated[Path, typer.Argument(help="DatasetXXX_Name, made by `factory export nnunet`.")],
    out: Annotated[Path | None, typer.Option(help="Work folder; default: runs/DatasetXXX_Name.")] = None,
    plan: Annotated[str, typer.Option(help="Size: tiny, nano (a CPU) or full (a GPU).")] = "nano",
    fold: Annotated[int, typer.Option(help="Split to hold out.")] = 0,
    iterations: Annotated[int | None, typer.Option(help="Training steps; default: the plan's.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, patches and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    workers: Annotated[int, typer.Option(help="Processes for preprocessing.")] = 2,
    as_json: _Json = False,
) -> None:
    """Train and score a real nnU-Net.

    Trains on one fold of an export and scores the cases held out.
    """
    from downstream.nnunet import NnunetOptions, run_nnunet

    options = NnunetOptions(plan, fold, iterations, seed, device, workers)
    with tqdm(unit="", disable=_quiet(as_json), bar_format="{desc}: {n_fmt}/{total_fmt} |{bar}| {elapsed}") as bar:
        result = run_nnunet(folder, out or Path("runs") / folder.name, options, partial(show_progress, bar))
    _print(result, as_json, _bench_text)


def _quiet(as_json: bool) -> bool | None:
    """Argument `disable` of tqdm: None draws a bar on a terminal alone."""
    return True if as_json else None


def _print(result: Any, as_json: bool, text: Callable[[Any], str]) -> None:
    data = result.to_json() if hasattr(result, "to_json") else asdict(result)
    typer.echo(json.dumps(data, indent=2, default=str) if as_json else text(result))
    sys.stdout.flush()


def _bench_text(result: "NnunetResult") -> str:
    mean, count = result.mean_dice()
    width = max(len(row.label) for row in result.labels())
    lines = [f"{'label':{width}}   DSC    SD     cases  misses  false alarms  absent"]
    lines += [
        f"{row.label:{width}}  {row.dice_mean:5.3f}  {row.dice_sd:5.3f}  {row.cases:5}"
        f"  {row.misses:6}  {row.false_alarms:12}  {row.absent:6}"
        for row in result.labels()
    ]
    lines.append(f"mean of {count} labels: {mean:.3f}; held-out cases: {len(result.facts['val'])}")
    lines.append("a label in neither mask is absent and not scored; a miss or a false alarm scores 0")
    return "\n".join(lines)
