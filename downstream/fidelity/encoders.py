"""Encoders from local weights: a folder with `config.json` and `model.safetensors`, opened by an explicit path.

    {"kind": "resnet", "dimensions": 2, "blocks": [3, 4, 6, 3], "width": 64, "bottleneck": true,
     "window_hu": [-160, 240], "size": [224, 224], "mean": [0.485, 0.456, 0.406], "sd": [0.229, 0.224, 0.225]}

`kind` is "resnet" (two dimensions for FID, three for FVD) or "lpips". An image is cut to the fixed HU window, scaled to
[0, 1], resized to `size` and normalised per channel. Nothing is scaled per volume: that would hide wrong HU. Another network
(I3D, a CT encoder, CT-CLIP's) subclasses `Encoder`, or its vectors come from a file (`embeddings.py`).
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Num
from pydantic import model_validator

from downstream.weight_folder import CONFIG, WEIGHTS, read_config
from manifests.case import Row
from manifests.errors import FileFormatError, InvalidValueError, MissingDependencyError

__all__ = ["Encoder", "EncoderConfig", "NetworkEncoder", "PerceptualDistance"]

BATCH = 16


class EncoderConfig(Row):
    """What a network is and how images go into it; the text of the module explains the fields."""

    kind: Literal["resnet", "lpips"]
    window_hu: tuple[float, float]
    size: tuple[int, ...]
    name: str = ""
    dimensions: Literal[2, 3] = 2
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    bottleneck: bool = True
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    sd: tuple[float, ...] = (0.229, 0.224, 0.225)

    @model_validator(mode="after")
    def _fits(self) -> "EncoderConfig":
        if len(self.size) != self.dimensions or len(self.mean) != len(self.sd):
            raise ValueError("a size for each dimension, a mean and sd for each channel")
        if self.window_hu[0] >= self.window_hu[1] or min(self.sd) <= 0:
            raise ValueError("window_hu from low to high, sd above 0")
        if self.kind == "lpips" and self.dimensions != 2:
            raise ValueError("lpips has two dimensions")
        return self


class Encoder(ABC):
    """Turns images into vectors.

    Attributes:
        dimensions: 2 for slices, 3 for volumes.
    """

    dimensions: int

    @abstractmethod
    def encode(self, images_hu: Num[np.ndarray, "n ..."]) -> Float32[np.ndarray, "n features"]:
        """One vector for each image in HU, all of one shape."""


class NetworkEncoder(Encoder):
    """A residual network from a folder."""

    def __init__(self, folder: Path, dimensions: int, device: str = "cpu") -> None:
        self.config = read_config(folder, EncoderConfig)
        if (self.config.kind, self.config.dimensions) != ("resnet", dimensions):
            raise InvalidValueError(
                str(folder),
                got=f"{self.config.kind} in {self.config.dimensions} dimensions",
                need=f"a resnet in {dimensions} dimensions",
                do="Give slices a network in two, volumes one in three.",
            )
        from downstream.fidelity.networks import ResNet

        c = self.config
        network = ResNet(c.dimensions, len(c.mean), c.blocks, c.width, c.bottleneck)
        self.dimensions = dimensions
        self._network, self._device = _loaded(network, folder, device), device

    def encode(self, images_hu: Num[np.ndarray, "n ..."]) -> Float32[np.ndarray, "n features"]:
        """See `Encoder`."""
        import torch

        found = []
        with torch.inference_mode():
            for start in range(0, len(images_hu), BATCH):
                images = _prepared(images_hu[start : start + BATCH], self.config)
                found.append(self._network(images.to(self._device)).float().cpu().numpy())
        return np.concatenate(found)


class PerceptualDistance:
    """LPIPS from a folder."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        self.config = read_config(folder, EncoderConfig)
        if self.config.kind != "lpips":
            raise InvalidValueError(str(folder), got=self.config.kind, need="lpips", do="Give the weights of LPIPS.")
        from downstream.fidelity.networks import Lpips

        self._network, self._device = _loaded(Lpips(64 // self.config.width), folder, device), device

    def between(self, first_hu: Num[np.ndarray, "n y x"], second_hu: Num[np.ndarray, "n y x"]) -> float:
        """Mean distance of slices, one by one; images go in as [-1, 1]."""
        import torch

        plain = self.config.model_copy(update={"mean": (0.5,) * 3, "sd": (0.5,) * 3})
        with torch.inference_mode():
            total = 0.0
            for start in range(0, len(first_hu), BATCH):
                pair = (_prepared(part[start : start + BATCH], plain) for part in (first_hu, second_hu))
                total += float(self._network(*(images.to(self._device) for images in pair)).sum())
        return total / len(first_hu)


def _loaded(network: Any, folder: Path, device: str) -> Any:
    """Load weights; a classifier's own head (`fc`, `classifier`) and counters may stay over."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise MissingDependencyError(
            "safetensors", got="no such package", need="it to read weights", do="pip install safetensors torch"
        ) from error
    path = folder / WEIGHTS
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise FileFormatError(
            str(path), got=str(error).splitlines()[0], need="safetensors", do="Convert it."
        ) from error
    missing, strange = network.load_state_dict(state, strict=False)
    missing = [name for name in missing if not name.endswith("num_batches_tracked")]
    strange = [name for name in strange if not name.startswith(("fc.", "classifier."))]
    if missing or strange:
        raise FileFormatError(
            str(path),
            got=f"{len(missing)} weights missing, {len(strange)} unknown, such as {(missing + strange)[0]}",
            need=f"the weights of the network in {CONFIG}",
            do="Correct the configuration, or convert the names.",
        )
    return network.to(device).eval()


def _prepared(images_hu: Num[np.ndarray, "n ..."], config: EncoderConfig) -> Any:
    """Window, resize and normalise; one tensor with the same image in each channel."""
    import torch

    low, high = config.window_hu
    x = torch.from_numpy(np.ascontiguousarray(images_hu, np.float32))[:, None]
    x = ((x - low) / (high - low)).clamp(0, 1)
    mode = "bilinear" if config.dimensions == 2 else "trilinear"
    x = torch.nn.functional.interpolate(x, config.size, mode=mode, align_corners=False)
    shape = (1, -1, *(1,) * config.dimensions)
    mean, sd = (torch.tensor(values).reshape(shape) for values in (config.mean, config.sd))
    return (x - mean) / sd
