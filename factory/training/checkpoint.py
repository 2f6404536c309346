"""Checkpoints of a run: what it needs to go on as if it had never stopped.

    config.json              the stage's config and recipe; a run continues only under the same
    step-00001000.safetensors  weights, their moving average, and the optimiser's moments
    latest.json              the newest checkpoint: its name, step and hash, replaced last

A checkpoint exists once `latest.json` names it. Nothing random is kept: every step draws from
generators of its own number.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from factory.engines.guidegen.weights import fill, read_tensors
from manifests.durable import TEMPORARY, replace
from manifests.errors import FileFormatError, LocationError, StorageError

__all__ = ["CONFIG_FILE", "Checkpoint", "State", "averages", "find", "load", "save", "sha256_of", "write_bytes"]

CONFIG_FILE, LATEST_FILE = "config.json", "latest.json"
_KEPT = 2


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The newest checkpoint of a run: optimiser steps done, its file, and that file's SHA-256."""

    step: int
    path: Path
    sha256: str


@dataclass(frozen=True, eq=False, slots=True)
class State:
    """What a training is at some step.

    Attributes:
        average: moving averages of the network's tensors, changed in place.
        helpers: networks that are trained beside it and not kept, such as discriminators.
    """

    network: nn.Module
    average: dict[str, Tensor]
    optimiser: Any
    helpers: nn.Module | None = None


def find(folder: Path) -> Checkpoint | None:
    """The newest checkpoint of a run, None before the first.

    Raises:
        FileFormatError: if `latest.json` cannot be read as one.
    """
    path = folder / LATEST_FILE
    try:
        entry = json.loads(path.read_bytes())
        return Checkpoint(int(entry["step"]), folder / Path(str(entry["file"])).name, str(entry["sha256"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise FileFormatError(
            str(path), got=str(error), need="step, file and sha256", do="Restore it, or start a new run elsewhere."
        ) from error


def save(folder: Path, step: int, state: State) -> Checkpoint:
    """Write a checkpoint, then name it in `latest.json`, then remove those before the last two.

    Raises:
        StorageError: if the disk is full or fails; the checkpoint before stands.
    """
    tensors = {f"network.{name}": tensor for name, tensor in state.network.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in state.average.items()}
    if state.helpers is not None:
        tensors |= {f"helpers.{name}": tensor for name, tensor in state.helpers.state_dict().items()}
    for number, moments in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": torch.as_tensor(value) for name, value in moments.items()}
    data = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})
    path = folder / f"step-{step:08d}.safetensors"
    sha256 = sha256_of(data)
    write_bytes(path, data)
    write_bytes(folder / LATEST_FILE, json.dumps({"step": step, "file": path.name, "sha256": sha256}).encode())
    for old in sorted(folder.glob("step-*.safetensors"))[:-_KEPT]:
        if old != path:
            old.unlink(missing_ok=True)
    for left in folder.glob(f"{TEMPORARY}*"):
        left.unlink(missing_ok=True)
    return Checkpoint(step, path, sha256)


def load(checkpoint: Checkpoint, state: State) -> None:
    """Put a checkpoint into the state of a training.

    Raises:
        LocationError, FileFormatError: if the file is missing, truncated, exchanged, or of another network.
    """
    parts = _parts(checkpoint)
    fill(state.network, parts["network"], checkpoint.path)
    if state.helpers is not None:
        fill(state.helpers, parts["helpers"], checkpoint.path)
    for name, tensor in state.average.items():
        tensor.copy_(parts["average"][name])
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimiser"].items():
        number, _, moment = name.partition(".")
        moments.setdefault(int(number), {})[moment] = tensor
    state.optimiser.load_state_dict({**state.optimiser.state_dict(), "state": moments})


def averages(checkpoint: Checkpoint, network: nn.Module) -> dict[str, Tensor]:
    """The moving averages of a checkpoint, which must fit the network; raises like `load`."""
    found = _parts(checkpoint)["average"]
    fill(network, found, checkpoint.path)
    return found


def _parts(checkpoint: Checkpoint) -> dict[str, dict[str, Tensor]]:
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "helpers": {}, "optimiser": {}}
    for name, tensor in read_tensors(checkpoint.path, checkpoint.sha256).items():
        part, _, rest = name.partition(".")
        parts.setdefault(part, {})[rest] = tensor
    return parts


def sha256_of(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all, and the folders that lead to it.

    Raises:
        StorageError: if the disk is full or fails.
        LocationError: if the place cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocationError(
            str(path.parent), got=error.strerror or str(error), need="a writable folder", do="Choose another --out."
        ) from error
    _write(path, data)


def _write(path: Path, data: bytes) -> None:
    try:
        replace(path, data)
    except OSError as error:
        raise StorageError(
            str(path),
            got=error.strerror or str(error),
            need=f"room for {len(data) / 1e6:.0f} MB",
            do="Free the disk, then run the same command again: it resumes.",
        ) from error
