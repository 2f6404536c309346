"""Segmenters as the project ships them: a folder with the weights of networks, their configuration and a card.

    model.safetensors   weights of a plain U-Net (`plain_unet.py`) or of several, half precision
    config.json         `BuiltinConfig`: labels, spacing, normalisation, shape of the network, held-out DSC
    README.md           the card: what it was trained on, what it is good for, its licence

How a CT goes in and labels come out: `whole_scan.py`. No pickle is read.
"""

from copy import deepcopy
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int16, UInt8
from pydantic import Field, model_validator

from downstream.ledger import writing
from downstream.nnunet_layout import require_nnunet
from downstream.plain_unet import plain_unet
from downstream.segmenter import Segmenter, SegmenterCard
from downstream.sliding import sliding_scores
from downstream.weight_folder import CONFIG, WEIGHTS, read_config
from downstream.whole_scan import ScanNetwork, segment_scan
from manifests.case import Row
from manifests.errors import FileFormatError, LocationError
from manifests.geometry import Grid

__all__ = ["BuiltinConfig", "BuiltinSegmenter", "builtin_network", "shipped_weights", "write_builtin"]

CARD = "README.md"
SHIPPED = "torso25"


class BuiltinConfig(Row):
    """Everything about a built-in segmenter but its weights.

    Attributes:
        name: of the segmenter.
        labels: names by value from 1; 0 is background.
        spacing_mm: isotropic spacing the network works at.
        patch_zyx: voxels of a tile, divisible by 2^(resolutions - 1), folded by twice that.
        clip_hu: CTs are cut to these values (nnU-Net: the 0.5th and 99.5th percentile of the foreground),
        mean_hu, sd_hu: then centred and scaled.
        features: channels of each resolution.
        convolutions: convolutions of each resolution, on the way down; the way up has as many, the lowest left out.
        members: networks whose scores are averaged.
        folded: computes at half the spacing's resolution (`trainers/folded.py`).
        squeezed: the network sees soft tissue spread (`trainers/squeeze.py`).
        largest: small pieces of organs that are one are taken away.
        scales: a scan is read at the spacing times each of them; the scores are averaged.
        held_out_dice: mean DSC by label on held-out cases of the training set.
        held_out_on: what these cases were.
    """

    name: str
    labels: tuple[str, ...]
    spacing_mm: float
    patch_zyx: tuple[int, int, int]
    clip_hu: tuple[float, float]
    mean_hu: float
    sd_hu: float
    features: tuple[int, ...]
    convolutions: tuple[int, ...]
    members: int = Field(default=1, ge=1)
    folded: bool = False
    squeezed: bool = False
    largest: bool = True
    scales: tuple[float, ...] = (1.0,)
    held_out_dice: dict[str, float] = Field(default_factory=dict)
    held_out_on: str = ""

    @model_validator(mode="after")
    def _fits(self) -> "BuiltinConfig":
        halvings = 2 ** (len(self.features) - 1 + self.folded)
        if len(self.convolutions) != len(self.features):
            raise ValueError("channels and convolutions of each resolution")
        if any(edge % halvings for edge in self.patch_zyx) or self.spacing_mm <= 0 or self.sd_hu <= 0:
            raise ValueError(f"patch_zyx divisible by {halvings}, spacing_mm and sd_hu above 0")
        return self


def builtin_network(config: BuiltinConfig) -> Any:
    """The network of a configuration, or the mean of its networks, randomly initialised."""
    from downstream.trainers.averaged import averaged

    shape = (config.features, config.convolutions, 1 + len(config.labels))
    return averaged([plain_unet(*shape, folded=config.folded) for _ in range(config.members)])


class BuiltinSegmenter(Segmenter):
    """A plain U-Net or the mean of several from a folder, kept in memory."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        require_nnunet()
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_model

        from downstream.trainers.squeeze import squeeze, unchanged

        self.config = read_config(folder, BuiltinConfig)
        self.card = SegmenterCard(
            self.config.name,
            {name: value for value, name in enumerate(self.config.labels, start=1)},
            self.config.held_out_dice,
            self.config.held_out_on,
        )
        self._device = torch.device(device)
        self._network = builtin_network(self.config)
        try:
            load_model(self._network, folder / WEIGHTS, device="cpu")
        except (OSError, RuntimeError, SafetensorError) as error:
            raise FileFormatError(
                str(folder / WEIGHTS),
                got=str(error).splitlines()[0],
                need=f"the weights of the network in {CONFIG}",
                do="Get the folder again.",
            ) from error
        self._network.to(self._device, memory_format=torch.channels_last_3d).eval()
        c = self.config
        self._squeeze = squeeze({"mean": c.mean_hu, "std": c.sd_hu}) if c.squeezed else unchanged
        scores = partial(sliding_scores, self._scores, patch_zyx=c.patch_zyx)
        how = (c.spacing_mm, c.patch_zyx, c.clip_hu, c.mean_hu, c.sd_hu, c.largest, c.scales)
        self._on_scans = ScanNetwork(scores, self.card.labels, *how)

    def segment(self, ct: Int16[np.ndarray, "z y x"], grid: Grid) -> UInt8[np.ndarray, "z y x"]:
        """Label a CT; see `Segmenter`."""
        return segment_scan(ct, grid, self._on_scans)

    def _scores(self, tile: Float32[np.ndarray, "a b c"]) -> Float32[np.ndarray, "labels a b c"]:
        import torch

        from downstream.trainers.autocast import autocast_cpu

        with torch.inference_mode(), autocast_cpu(self._device):
            answer = self._network(self._squeeze(torch.from_numpy(tile))[None, None].to(self._device))
        return np.asarray(answer[0].float().cpu().numpy())


def write_builtin(folder: Path, network: Any, config: BuiltinConfig, card: str) -> None:
    """Write a network in the form that `BuiltinSegmenter` reads, its weights in half precision.

    Args:
        folder: made if missing; files there are replaced.
        network: as `builtin_network` makes it, trained.
        config: of the network.
        card: Markdown: training data, purpose, limits, licence.

    Raises:
        LocationError: the folder cannot be written.
        StorageError: the disk is full or fails.
    """
    from safetensors.torch import save_file

    half = deepcopy(network).half()
    tensors = {**dict(half.named_parameters()), **dict(half.named_buffers())}  # each once, however many names share it
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS)
        (folder / WEIGHTS).chmod(0o644)  # safetensors lets nobody else read it
        (folder / CONFIG).write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")
        (folder / CARD).write_text(card, encoding="utf-8")


def shipped_weights() -> Path:
    """Folder of the weights that come with the project.

    Raises:
        LocationError: this version comes without.
    """
    folder = Path(str(files("downstream"))) / "weights" / SHIPPED
    if not (folder / CONFIG).is_file():
        raise LocationError(
            "--segmenter builtin",
            got="no weights in this version of the project",
            need="a folder with model.safetensors and config.json",
            do="Give builtin:FOLDER, nnunet:FOLDER or totalsegmentator.",
        )
    return folder
