"""Commands `factory train masks | autoencoder | latents | slices | pack | errors`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from factory.training.command import Dials, stage_command

if TYPE_CHECKING:
    from factory.training.starts import Start

__all__ = ["app"]

app = typer.Typer(help="Train GuideGen's stages on datasets, and pack their weights.", no_args_is_help=True)

_Spacing = Annotated[float | None, typer.Option(help="Working spacing in mm; default: the preset's.")]
_Encoder = Annotated[Path | None, typer.Option(help="Folder of a frozen text encoder; default: train a small one.")]
_Injection = Annotated[bool, typer.Option(help="Inject text by learned queries; else attend to it.")]
_Diffusion = Annotated[int, typer.Option(help="T, steps of the diffusion.", min=1)]
_Prediction = Annotated[str, typer.Option(help="eps, v or flow.")]


@stage_command(app, "masks")
def _masks(  # one parameter per option
    dials: Dials,
    spacing: _Spacing = None,
    encoder: _Encoder = None,
    injection: _Injection = True,
    diffusion_steps: _Diffusion = 1000,
) -> "Start":
    """Train stage I: prompts to masks.

    Several processes or machines: --workers, on Ray, or start it under torchrun.
    """
    from factory.training.starts import TextChoice, start_masks

    said = spacing, TextChoice(encoder, injection, diffusion_steps)
    return start_masks(dials.data, dials.sized("masks"), dials.recipe("masks"), said)


@stage_command(app, "autoencoder")
def _autoencoder(  # one parameter per option
    dials: Dials,
    spacing: _Spacing = None,
    bottleneck: Annotated[str, typer.Option(help="kl or vq.")] = "kl",
    hdr: Annotated[bool, typer.Option(help="Compare through random CT windows.")] = True,
    pyramid: Annotated[bool, typer.Option(help="Give the masks to every level.")] = True,
    adversarial: Annotated[bool, typer.Option(help="Train against discriminators; needs MONAI.")] = False,
    perceptual: Annotated[
        Path | None, typer.Option(help="Local weights of VGG or LPIPS, for a perceptual term.")
    ] = None,
) -> "Start":
    """Train stage II: CT to latents and back."""
    from factory.training.starts import AutoencoderChoice, start_autoencoder

    choice = AutoencoderChoice(spacing, bottleneck, hdr, pyramid, adversarial, perceptual)
    return start_autoencoder(dials.data, dials.sized("autoencoder"), dials.recipe("autoencoder"), choice)


@stage_command(app, "latents")
def _latents(  # one parameter per option
    dials: Dials,
    autoencoder: Annotated[Path, typer.Option(help="Run of the autoencoder, or packed weights with one.")],
    encoder: _Encoder = None,
    injection: _Injection = True,
    diffusion_steps: _Diffusion = 1000,
    prediction: _Prediction = "v",
    masks: Annotated[bool, typer.Option(help="Give it the masks; without, text alone.")] = True,
    text: Annotated[bool, typer.Option(help="Give it the text; without, masks alone.")] = True,
) -> "Start":
    """Train stage III: masks and prompts to latents of CT."""
    from factory.training.starts import LatentsChoice, TextChoice, start_latents

    reading = TextChoice(encoder, injection, diffusion_steps)
    choice = LatentsChoice(autoencoder, dials.out, reading, prediction, masks, text)
    return start_latents(dials.data, dials.sized("latents"), dials.recipe("latents"), choice)


@stage_command(app, "slices")
def _slices(  # one parameter per option
    dials: Dials,
    spacing: _Spacing = None,
    encoder: _Encoder = None,
    injection: _Injection = True,
    diffusion_steps: _Diffusion = 1000,
    prediction: _Prediction = "v",
) -> "Start":
    """Train the slice-by-slice image model."""
    from factory.training.starts import TextChoice, start_slices

    said = spacing, TextChoice(encoder, injection, diffusion_steps), prediction
    return start_slices(dials.data, dials.sized("slices"), dials.recipe("slices"), said)


@app.command("pack")
def pack_command(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, at most one of each stage.")],
    out: Annotated[Path, typer.Option(help="New folder of weights.")],
    sample_steps: Annotated[int | None, typer.Option(help="Steps of the samplers; default: the configs'.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Scale of guidance, 1 = none; default: the configs'.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Of the anatomy in stage I, 1 = as trained; default: the config's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Write the weights of runs to one folder.

    It holds safetensors, configs and a model card.
    """
    from factory.training.pack import Sampling, pack

    packed = pack(runs, out, Sampling(sample_steps, guidance, temperature))
    lines = [f"{name}: step {one['step']}, {one['bytes'] / 1e6:.1f} MB" for name, one in packed.items()]
    typer.echo(json.dumps({"out": str(out), "stages": packed}) if as_json else "\n".join([f"{out}:", *lines]))


@app.command("errors")
def errors_command(
    weights: Annotated[Path, typer.Argument(help="Folder of packed weights with an autoencoder.")],
    data: Annotated[list[Path], typer.Option("--data", help="Dataset that it was not trained on; may be repeated.")],
    out: Annotated[Path | None, typer.Option(help="JSON file for the errors of single cases.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Measure what the autoencoder loses.

    Mean absolute errors in HU of reconstructed cases, by range of HU and in lesions.
    """
    from factory.training.errors import reconstruction_errors, write_errors

    rows = list(reconstruction_errors(weights, data))
    if out:
        write_errors(out, rows)
    names = [name for name in (rows[0] if rows else {}) if name != "case_id"]
    values = {name: [value for row in rows if isinstance(value := row[name], float)] for name in names}
    means = {name: sum(several) / len(several) for name, several in values.items() if several}
    lines = [f"{len(rows)} cases", *(f"  {name:16} {mean:7.1f} HU" for name, mean in means.items())]
    typer.echo(json.dumps({"cases": len(rows), "means": means}) if as_json else "\n".join(lines))
