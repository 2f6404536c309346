"""Commands `factory train masks | autoencoder | latents | slices | pack`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from factory.training.distributed import Team
    from factory.training.loop import Stage
    from factory.training.presets import StagePreset
    from factory.training.recipe import Recipe

__all__ = ["app"]

app = typer.Typer(help="Train GuideGen's stages on datasets, and pack their weights.", no_args_is_help=True)

_Data = Annotated[list[Path], typer.Option("--data", help="Dataset to train on; may be repeated.")]
_Out = Annotated[Path, typer.Option(help="Folder of the run; the same command resumes it.")]
_Preset = Annotated[str, typer.Option(help="Size: tiny, demo or full.")]
_Steps = Annotated[int | None, typer.Option(help="Optimiser steps; default: the preset's.")]
_Batch = Annotated[int | None, typer.Option(help="Cases of one step, over all processes.")]
_Part = Annotated[int, typer.Option(help="Cases that a process takes at once; the rest is accumulated.")]
_Rate = Annotated[float | None, typer.Option(help="Learning rate; default: the preset's.")]
_Spacing = Annotated[float | None, typer.Option(help="Working spacing in mm; default: the preset's.")]
_Seed = Annotated[int, typer.Option(help="Seed of weights, order, noise and texts.")]
_Loaders = Annotated[int, typer.Option(help="Threads that read cases.")]
_Encoder = Annotated[Path | None, typer.Option(help="Folder of a frozen text encoder; default: train a small one.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]


@app.command("masks")
def train_masks(  # one parameter per option
    data: _Data,
    out: _Out,
    preset: _Preset = "demo",
    steps: _Steps = None,
    batch: _Batch = None,
    part: _Part = 1,
    learning_rate: _Rate = None,
    spacing: _Spacing = None,
    seed: _Seed = 0,
    loaders: _Loaders = 1,
    encoder: _Encoder = None,
    injection: Annotated[bool, typer.Option(help="Inject text by learned queries; else attend to it.")] = True,
    as_json: _Json = False,
) -> None:
    """Train stage I: prompts to masks.

    Start it under torchrun to use several processes or machines.
    """
    from factory.training.presets import stage_preset
    from factory.training.starts import start_masks

    chosen = stage_preset("masks", preset)
    recipe = _recipe(
        chosen, steps, batch, {"part": part, "learning_rate": learning_rate, "seed": seed, "loaders": loaders}
    )
    start = start_masks(data, chosen, recipe, (spacing, encoder, injection))
    _run(out, recipe, start, as_json)


@app.command("autoencoder")
def train_autoencoder(  # one parameter per option
    data: _Data,
    out: _Out,
    preset: _Preset = "demo",
    steps: _Steps = None,
    batch: _Batch = None,
    part: _Part = 1,
    learning_rate: _Rate = None,
    spacing: _Spacing = None,
    seed: _Seed = 0,
    loaders: _Loaders = 1,
    bottleneck: Annotated[str, typer.Option(help="kl or vq.")] = "kl",
    hdr: Annotated[bool, typer.Option(help="Compare through random CT windows.")] = True,
    pyramid: Annotated[bool, typer.Option(help="Give the masks to every level.")] = True,
    adversarial: Annotated[bool, typer.Option(help="Train against discriminators; needs MONAI.")] = False,
    as_json: _Json = False,
) -> None:
    """Train stage II: CT to latents and back."""
    from factory.training.presets import stage_preset
    from factory.training.starts import start_autoencoder

    chosen = stage_preset("autoencoder", preset)
    recipe = _recipe(
        chosen, steps, batch, {"part": part, "learning_rate": learning_rate, "seed": seed, "loaders": loaders}
    )
    start = start_autoencoder(data, chosen, recipe, (spacing, bottleneck, hdr, pyramid, adversarial))
    _run(out, recipe, start, as_json)


@app.command("latents")
def train_latents(  # one parameter per option
    data: _Data,
    out: _Out,
    autoencoder: Annotated[Path, typer.Option(help="Run of the autoencoder.")],
    preset: _Preset = "demo",
    steps: _Steps = None,
    batch: _Batch = None,
    part: _Part = 1,
    learning_rate: _Rate = None,
    seed: _Seed = 0,
    loaders: _Loaders = 1,
    encoder: _Encoder = None,
    injection: Annotated[bool, typer.Option(help="Inject text by learned queries; else attend to it.")] = True,
    prediction: Annotated[str, typer.Option(help="eps, v or flow.")] = "v",
    as_json: _Json = False,
) -> None:
    """Train stage III: masks and prompts to latents of CT."""
    from factory.training.presets import stage_preset
    from factory.training.starts import start_latents

    chosen = stage_preset("latents", preset)
    recipe = _recipe(
        chosen, steps, batch, {"part": part, "learning_rate": learning_rate, "seed": seed, "loaders": loaders}
    )
    start = start_latents(data, chosen, recipe, (autoencoder, out, encoder, injection, prediction))
    _run(out, recipe, start, as_json)


@app.command("slices")
def train_slices(  # one parameter per option
    data: _Data,
    out: _Out,
    preset: _Preset = "demo",
    steps: _Steps = None,
    batch: _Batch = None,
    part: _Part = 1,
    learning_rate: _Rate = None,
    spacing: _Spacing = None,
    seed: _Seed = 0,
    loaders: _Loaders = 1,
    encoder: _Encoder = None,
    injection: Annotated[bool, typer.Option(help="Inject text by learned queries; else attend to it.")] = True,
    prediction: Annotated[str, typer.Option(help="eps, v or flow.")] = "v",
    as_json: _Json = False,
) -> None:
    """Train the slice-by-slice image model."""
    from factory.training.presets import stage_preset
    from factory.training.starts import start_slices

    chosen = stage_preset("slices", preset)
    recipe = _recipe(
        chosen, steps, batch, {"part": part, "learning_rate": learning_rate, "seed": seed, "loaders": loaders}
    )
    start = start_slices(data, chosen, recipe, (spacing, encoder, injection, prediction))
    _run(out, recipe, start, as_json)


@app.command("pack")
def pack_command(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, at most one of each stage.")],
    out: Annotated[Path, typer.Option(help="New folder of weights.")],
    as_json: _Json = False,
) -> None:
    """Write the weights of runs to one folder.

    It holds safetensors, configs and a model card.
    """
    from factory.training.pack import pack

    packed = pack(runs, out)
    lines = [f"{name}: step {one['step']}, {one['bytes'] / 1e6:.1f} MB" for name, one in packed.items()]
    typer.echo(json.dumps({"out": str(out), "stages": packed}) if as_json else "\n".join([f"{out}:", *lines]))


def _recipe(preset: "StagePreset", steps: int | None, batch: int | None, rest: dict[str, Any]) -> "Recipe":
    """The preset's recipe with what the options say."""
    from pydantic import ValidationError

    from factory.training.recipe import Recipe
    from manifests.errors import InvalidValueError

    said = {name: value for name, value in {"steps": steps, "batch": batch, **rest}.items() if value is not None}
    try:
        return Recipe.model_validate(preset.recipe.model_dump() | said)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise InvalidValueError(
            f"--{name}", got=str(first["input"]), need=first["msg"], do="Correct the option."
        ) from error


def _run(out: Path, recipe: "Recipe", start: "Callable[[Team], tuple[Stage, Any]]", as_json: bool) -> None:
    """Train until the recipe's steps are done, with a bar, event files, and a summary at the end."""
    from tqdm import tqdm

    from factory.training.distributed import joined
    from factory.training.events import Events
    from factory.training.loop import Step, train
    from factory.training.runs import begin

    with joined() as team:
        stage, config = start(team)
        if team.leads:
            begin(out, config, recipe)
        team.wait()
        events = Events(out / "logs") if team.leads else None
        last: Step | None = None
        seconds = stalled = 0.0
        quiet = True if as_json or not team.leads else None
        with tqdm(total=recipe.steps, unit="step", disable=quiet, dynamic_ncols=True) as bar:
            for last in train(stage, recipe, out, team):
                seconds, stalled = seconds + last.seconds, stalled + last.stalled
                bar.update(last.number - bar.n)
                bar.set_postfix(loss=f"{last.losses['loss']:.4g}", stalled=f"{stalled / seconds:.0%}", refresh=False)
                if events:
                    events.scalars(last.number, _named(last.losses, "train") | _named(last.scores, "held_out"))
    if team.leads:
        found: dict[str, Any] = {"out": str(out), "steps": recipe.steps, "losses": last.losses if last else {}}
        found |= {"scores": last.scores if last else {}, "seconds": round(seconds, 1)}
        found["stalled"] = round(stalled / seconds, 4) if seconds else 0.0
        text = f"{out}: {recipe.steps} steps" + ("" if last else ", done before")
        scores = [f"  held out: {name} {value:.4g}" for name, value in found["scores"].items()]
        typer.echo(json.dumps(found) if as_json else "\n".join([text, *scores]))


def _named(values: dict[str, float], group: str) -> dict[str, float]:
    return {f"{group}/{name}": value for name, value in values.items()}
