"""Opening the local weights of the perceptual term."""

import hashlib
from pathlib import Path

import safetensors
import safetensors.torch

from factory.models.perceptual import Perceptual
from manifests.errors import FileFormatError, LocationError

__all__ = ["open_perceptual"]

_NAME = "model.safetensors"


def open_perceptual(place: Path) -> tuple[Perceptual, str]:
    """A network and the SHA-256 of its weights, from a safetensors file or a folder with `model.safetensors`.

    Raises:
        LocationError: if there is no such file.
        FileFormatError: if it is no safetensors, or holds other tensors.
    """
    path = place / _NAME if place.is_dir() else place
    need, do = "weights of VGG or LPIPS as safetensors", "Give the file; docs/guidegen.md says which tensors it holds."
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LocationError(f"--perceptual {path}", got=error.strerror or str(error), need=need, do=do) from error
    try:
        return Perceptual(safetensors.torch.load(data)), hashlib.sha256(data).hexdigest()
    except (safetensors.SafetensorError, ValueError, RuntimeError) as error:
        raise FileFormatError(f"--perceptual {path}", got=str(error), need=need, do=do) from error
