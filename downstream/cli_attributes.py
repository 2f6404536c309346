"""The command `factory bench attributes`: how well a classifier reads the attributes of a dataset off its CTs."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from tqdm import tqdm

if TYPE_CHECKING:
    from downstream.attributes import AttributeScore
    from downstream.stats import Interval

__all__ = ["bench_attributes"]


def bench_attributes(
    training: Annotated[Path, typer.Argument(help="Dataset to train on; a fifth is held out.")],
    test: Annotated[Path, typer.Argument(help="Dataset to judge.")],
    epochs: Annotated[int, typer.Option(help="Passes over the training cases.", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="Seed of weights, order, augmentation and intervals.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Read attributes off the CTs.

    Trains a small classifier of sex, age decade, contrast phase and tumour organ.
    """
    from downstream.attributes import AttributeOptions, read_attributes
    from manifests.dataset import Dataset

    datasets = Dataset.open(training), Dataset.open(test)
    with tqdm(total=epochs, unit="epoch", disable=True if as_json else None) as bar:
        scores = read_attributes(*datasets, AttributeOptions(epochs, seed), lambda: bar.update() and None)
    text = json.dumps({"attributes": [asdict(score) for score in scores]}, indent=2) if as_json else _text(scores)
    typer.echo(text)


def _text(scores: "list[AttributeScore]") -> str:
    lines = ["attribute       test cases   own held-out cases     chance  classes  trained on"]
    lines += [
        f"{score.attribute:15} {_percent(score.accuracy)}  {_percent(score.ceiling)}  {100 * score.chance:5.1f} %"
        f"  {len(score.classes):7}  {score.trained_on:10}"
        for score in scores
    ]
    lines.append("balanced accuracy in per cent with 95 % interval; the held-out cases show what the classifier can")
    left_out = [f"{score.attribute} {value} ({n})" for score in scores for value, n in score.left_out.items()]
    return "\n".join([*lines, *([f"too rare to train on: {', '.join(left_out)}"] if left_out else [])])


def _percent(interval: "Interval") -> str:
    return f"{100 * interval.mean:4.0f} ({100 * interval.low:.0f}-{100 * interval.high:.0f})".ljust(18)
