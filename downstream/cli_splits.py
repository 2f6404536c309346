"""The command `factory bench splits`: who trains, who is held out, and whether anything leaks."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from downstream.leakage import Leak
    from downstream.protocols import Split

__all__ = ["bench_splits"]

_MOST_LEAKS = 10


def bench_splits(
    real: Annotated[Path, typer.Argument(help="Dataset to split.")],
    protocol: Annotated[
        str | None, typer.Option(help="btcv, amos, msd-lung, msd-colon, kits, official or holdout; default: what fits.")
    ] = None,
    synthetic: Annotated[
        list[Path] | None, typer.Option(help="Dataset that may be trained on; more than one may be given.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Parts of the hold-out, one of which is tested.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show a benchmark's split and look for leaks.

    Names the cases of each side; exit 1 if a training case shares a patient, prompt, source or scan with one held out.
    """
    from downstream.leakage import find_leaks
    from downstream.protocols import benchmark_split
    from manifests.dataset import Dataset

    dataset = Dataset.open(real)
    split = benchmark_split(dataset, protocol, folds=folds)
    leaks = find_leaks(split, dataset, [Dataset.open(path) for path in synthetic or []])
    if as_json:
        facts = asdict(split) | {"split_id": split.split_id, "leaks": [asdict(leak) for leak in leaks]}
        typer.echo(json.dumps(facts, indent=2))
    else:
        typer.echo("\n".join(_lines(split, leaks)))
    if leaks:
        raise typer.Exit(1)


def _lines(split: "Split", leaks: "tuple[Leak, ...]") -> list[str]:
    lines = [f"protocol {split.protocol}, split {split.split_id}"]
    sides = {"train": split.train, "val": split.val, "test": split.test}
    lines += [f"{name:5} {len(cases):4}  {' '.join(cases)}" for name, cases in sides.items()]
    lines += [f"leak: {leak.case_id} has {leak.shared} of {leak.held_out}" for leak in leaks[:_MOST_LEAKS]]
    return [*lines, f"{len(leaks)} leaks" if leaks else "no leak"]
