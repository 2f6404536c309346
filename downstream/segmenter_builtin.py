"""Segmenters as the project ships them: a folder with a network's weights, its configuration and a card.

    model.safetensors   weights of a plain U-Net (the network of nnU-Net's `PlainConvUNet`)
    config.json         `BuiltinConfig`: labels, spacing, normalisation, shape of the network, held-out DSC
    README.md           the card: what it was trained on, what it is good for, its licence

A CT is brought to the network's spacing, its scores back to the CT's grid (`resampling.py`). No pickle is read.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int16, UInt8
from pydantic import Field, ValidationError, model_validator

from downstream.nnunet_layout import require_nnunet
from downstream.pairs import writing
from downstream.resampling import resampled, vote
from downstream.segmenter import Segmenter, SegmenterCard
from downstream.sliding import sliding_scores
from manifests.case import Row
from manifests.errors import FileFormatError, LocationError
from manifests.geometry import Grid

__all__ = ["BuiltinConfig", "BuiltinSegmenter", "plain_unet", "shipped_weights", "write_builtin"]

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
SHIPPED = "torso24"


class BuiltinConfig(Row):
    """Everything about a built-in segmenter but its weights.

    Attributes:
        name: of the segmenter.
        labels: names by value from 1; 0 is background.
        spacing_mm: isotropic spacing the network works at.
        patch_zyx: voxels of a tile, divisible by 2^(resolutions - 1).
        clip_hu: CTs are cut to these values (nnU-Net: the 0.5th and 99.5th percentile of the foreground),
        mean_hu, sd_hu: then centred and scaled.
        features: channels of each resolution.
        convolutions: convolutions of each resolution, on the way down.
        decoder_convolutions: on the way up, one entry less.
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
    decoder_convolutions: tuple[int, ...]
    held_out_dice: dict[str, float] = Field(default_factory=dict)
    held_out_on: str = ""

    @model_validator(mode="after")
    def _fits(self) -> "BuiltinConfig":
        halvings = 2 ** (len(self.features) - 1)
        if not (len(self.convolutions) == len(self.features) == len(self.decoder_convolutions) + 1):
            raise ValueError("convolutions of each resolution, and of all but the lowest on the way up")
        if any(edge % halvings for edge in self.patch_zyx) or self.spacing_mm <= 0 or self.sd_hu <= 0:
            raise ValueError(f"patch_zyx divisible by {halvings}, spacing_mm and sd_hu above 0")
        return self


class BuiltinSegmenter(Segmenter):
    """A plain U-Net from a folder, kept in memory."""

    def __init__(self, folder: Path, device: str = "cpu") -> None:
        require_nnunet()
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_model

        self.config = _read_config(folder)
        self.card = SegmenterCard(
            self.config.name,
            {name: value for value, name in enumerate(self.config.labels, start=1)},
            self.config.held_out_dice,
            self.config.held_out_on,
        )
        self._device = torch.device(device)
        self._network = plain_unet(self.config)
        try:
            load_model(self._network, folder / WEIGHTS, device="cpu")
        except (OSError, RuntimeError, SafetensorError) as error:
            raise FileFormatError(
                str(folder / WEIGHTS),
                got=str(error).splitlines()[0],
                need=f"the weights of the network in {CONFIG}",
                do="Get the folder again.",
            ) from error
        self._network.to(self._device).eval()

    def segment(self, ct: Int16[np.ndarray, "z y x"], grid: Grid) -> UInt8[np.ndarray, "z y x"]:
        """Label a CT; see `Segmenter`."""
        values, coarse = resampled(ct, grid, self.config.spacing_mm)
        normalised = (values.clip(*self.config.clip_hu) - self.config.mean_hu) / self.config.sd_hu
        scores = sliding_scores(self._scores, normalised.astype(np.float32), self.config.patch_zyx)
        return np.asarray(vote(scores, coarse, grid), np.uint8)

    def _scores(self, tile: Float32[np.ndarray, "a b c"]) -> Float32[np.ndarray, "labels a b c"]:
        import torch

        with torch.inference_mode():
            answer = self._network(torch.from_numpy(tile)[None, None].to(self._device))
        return np.asarray(answer[0].float().cpu().numpy())


def plain_unet(config: BuiltinConfig) -> Any:
    """nnU-Net's plain U-Net of a configuration, one input channel, randomly initialised."""
    from dynamic_network_architectures.architectures.unet import PlainConvUNet
    from torch import nn

    stages = len(config.features)
    return PlainConvUNet(
        input_channels=1,
        n_stages=stages,
        features_per_stage=list(config.features),
        conv_op=nn.Conv3d,
        kernel_sizes=[[3, 3, 3]] * stages,
        strides=[[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
        n_conv_per_stage=list(config.convolutions),
        num_classes=1 + len(config.labels),
        n_conv_per_stage_decoder=list(config.decoder_convolutions),
        conv_bias=True,
        norm_op=nn.InstanceNorm3d,
        norm_op_kwargs={"eps": 1e-5, "affine": True},
        nonlin=nn.LeakyReLU,
        nonlin_kwargs={"inplace": True},
    )


def write_builtin(folder: Path, network: Any, config: BuiltinConfig, card: str) -> None:
    """Write a network in the form that `BuiltinSegmenter` reads.

    Args:
        folder: made if missing; files there are replaced.
        network: as `plain_unet` makes it, trained.
        config: of the network.
        card: Markdown: training data, purpose, limits, licence.

    Raises:
        LocationError: the folder cannot be written.
        StorageError: the disk is full or fails.
    """
    from safetensors.torch import save_model

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        save_model(network, str(folder / WEIGHTS))
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


def _read_config(folder: Path) -> BuiltinConfig:
    try:
        return BuiltinConfig.model_validate_json((folder / CONFIG).read_text(encoding="utf-8"))
    except OSError as error:
        raise LocationError(
            str(folder), got=f"no {CONFIG}", need=f"a folder with {WEIGHTS} and {CONFIG}", do="Check the path."
        ) from error
    except ValidationError as error:
        fault = error.errors()[0]
        raise FileFormatError(
            str(folder / CONFIG),
            got=f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}",
            need="the fields of BuiltinConfig",
            do="Get the folder again.",
        ) from error
