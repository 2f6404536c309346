"""What a trained nnU-Net leaves behind: JSON and checkpoints, read as data. Code in them is never run (torch's `weights_only`)."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from manifests.errors import FileFormatError, LocationError

__all__ = ["CHECKPOINT", "load_weights", "read_checkpoint", "read_json"]

CHECKPOINT = "checkpoint_final.pth"


def read_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        FileFormatError: it is none, or holds more than data.
    """
    import torch

    # numbers that trainers log: what numpy pickles them by, and their types
    rebuild = [np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]]
    plain = [*rebuild, np.dtype, np.ndarray, *(type(np.dtype(kind)) for kind in (np.float32, np.float64, int))]
    try:
        with torch.serialization.safe_globals(plain):
            stored: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises pickle's and its own
        raise FileFormatError(
            str(checkpoint),
            got=str(error).splitlines()[0],
            need="a checkpoint of nnU-Net that is data alone",
            do="Check the file; code in checkpoints is never run here.",
        ) from error
    return stored


def load_weights(network: Any, stored: dict[str, Any], checkpoint: Path) -> None:
    """Put the weights of a checkpoint into a network.

    Raises:
        FileFormatError: they are those of another network.
    """
    try:
        network.load_state_dict(stored["network_weights"])
    except RuntimeError as error:
        raise FileFormatError(
            str(checkpoint),
            got=str(error).splitlines()[0],
            need="weights of the network in its plan",
            do="Give the folder of one training; trainers that build a network of their own are not supported.",
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a training.

    Raises:
        LocationError: there is none.
        FileFormatError: it is no JSON.
    """
    try:
        data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LocationError(str(path), got="no such file", need="a trained nnU-Net folder", do="Check it.") from error
    except ValueError as error:
        raise FileFormatError(str(path), got=str(error), need="valid JSON", do="Copy the folder again.") from error
    return data
