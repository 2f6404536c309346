"""A run's folder: what it trains, and the weights it has reached."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from factory.engines.guidegen import networks
from factory.engines.guidegen.config import (
    AutoencoderConfig,
    Config,
    LatentsConfig,
    MasksConfig,
    SlicesConfig,
    StageName,
    parse_config,
)
from factory.engines.guidegen.weights import PACKAGE_FILE, Package
from factory.training import checkpoint
from factory.training.checkpoint import CONFIG_FILE, write_bytes
from factory.training.recipe import Recipe
from manifests.durable import TEMPORARY
from manifests.errors import BusyError, FileFormatError, LocationError, SpecMismatchError
from manifests.lock import hold

__all__ = ["KINDS", "Trained", "begin", "trained"]

KINDS: Mapping[StageName, type[Config]] = {
    "masks": MasksConfig,
    "autoencoder": AutoencoderConfig,
    "latents": LatentsConfig,
    "slices": SlicesConfig,
}
_FREE = ("steps", "part", "save_every", "validate_every", "loaders", "half")
"""Dials of a recipe that a resumed run may change: they move its end, not what a step computes from what."""


@dataclass(frozen=True, slots=True)
class Trained:
    """The averaged weights of a run's newest checkpoint, as the file that a package holds.

    Attributes:
        sha256: of `data`.
    """

    config: Config
    step: int
    data: bytes
    sha256: str


@contextmanager
def begin(out: Path, config: Config, recipe: Recipe) -> Iterator[None]:
    """Start a run in a new folder, or make sure that the one there is the same run; hold it for this process.

    Raises:
        BusyError: if another process trains there.
        SpecMismatchError: naming the fields that differ.
        LocationError: if the folder holds something else or cannot be written.
        StorageError: if the disk is full or fails.
    """
    path = out / CONFIG_FILE
    asked = {"config": json.loads(config.model_dump_json()), "recipe": json.loads(recipe.model_dump_json())}
    if not path.exists():
        if out.exists() and not all(one.name.startswith(TEMPORARY) for one in out.iterdir()):
            raise LocationError(
                str(out),
                got="a folder that holds something else",
                need="a new folder or a run",
                do="Choose another --out.",
            )
        write_bytes(path, json.dumps(asked, indent=1).encode())
    _require_same(out, asked, config)
    with hold(out / ".lock", partial(_busy, out)):
        yield


def _busy(out: Path, holder: str) -> BusyError:
    return BusyError(
        f"run {out}",
        got=f"a training in progress ({holder})",
        need="one at a time",
        do="Wait for it or stop it, then run the same command again: it resumes.",
    )


def _require_same(out: Path, asked: dict[str, Any], config: Config) -> None:
    path = out / CONFIG_FILE
    there = _read(path)
    known = {name: field.default for name, field in type(config).model_fields.items()}  # of fields newer than the run
    changed = [name for name, value in asked["config"].items() if there["config"].get(name, known.get(name)) != value]
    changed += [
        name for name in asked["recipe"] if name not in _FREE and there["recipe"].get(name) != asked["recipe"][name]
    ]
    if changed:
        raise SpecMismatchError(
            f"run {out}",
            got=f"another {', '.join(changed)}",
            need="what it was started with",
            do="Run the command as before to resume, or choose another --out.",
        )


def trained(out: Path, stage: StageName | None = None) -> Trained:
    """The weights that a run has reached, or those of a stage that a folder of packed weights holds.

    Args:
        out: folder of the run, or of weights.
        stage: which stage it must be of; None = any, of a run.

    Raises:
        LocationError: if it is no run, or has no checkpoint yet.
        InvalidValueError: if packed weights have no such stage.
        FileFormatError: if it is of another stage, or damaged.
    """
    if stage is not None and (out / PACKAGE_FILE).is_file():
        package = Package.open(out)
        config, data = package.config(stage, KINDS[stage]), package.read(stage)
        return Trained(config, package.step(stage), data, checkpoint.sha256_of(data))
    path = out / CONFIG_FILE
    if not path.is_file():
        raise LocationError(
            str(out), got=f"no {CONFIG_FILE} in it", need="a folder written by `factory train`", do="Check the path."
        )
    content = _read(path)["config"]
    kind = KINDS.get(content.get("stage"))
    if kind is None or (stage is not None and content["stage"] != stage):
        raise FileFormatError(
            str(out),
            got=f"a run of stage {content.get('stage')!r}",
            need=f"stage {stage or ' or '.join(KINDS)}",
            do="Name the run of that stage.",
        )
    config = parse_config(kind, json.dumps(content), path)
    newest = checkpoint.find(out)
    if newest is None:
        raise LocationError(str(out), got="no checkpoint yet", need="a run that has saved one", do="Train it longer.")
    build = {
        "masks": _first(networks.synthesizer),
        "autoencoder": networks.autoencoder,
        "latents": _first(networks.generator),
        "slices": _first(networks.slices),
    }
    average = checkpoint.averages(newest, build[content["stage"]](config))
    data = safetensors.torch.save({name: _halved(average[name]).contiguous() for name in sorted(average)})
    return Trained(config, newest.step, data, checkpoint.sha256_of(data))


def _halved(tensor: Tensor) -> Tensor:
    """Half precision, enough for weights that have been averaged; it halves what ships."""
    return tensor.half() if tensor.is_floating_point() else tensor


def _first(make: Any) -> Any:
    """A maker of networks without its tokenizer."""
    return lambda config: make(config)[0]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
        return {"config": dict(content["config"]), "recipe": dict(content["recipe"])}
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise FileFormatError(
            str(path),
            got=str(error),
            need="config and recipe of a run",
            do="Restore the file, or start anew elsewhere.",
        ) from error
