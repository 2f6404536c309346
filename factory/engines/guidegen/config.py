"""What the weights of each stage say of themselves: enough to build the network, feed it and read it."""

from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from jaxtyping import UInt8
from pydantic import BaseModel, ConfigDict, ValidationError

from factory.diffusion.gaussian import Prediction
from factory.models.autoencoder import AutoencoderSize
from factory.models.feature_generator import FeatureGeneratorSize
from factory.models.slice_generator import SliceGeneratorSize
from factory.models.synthesizer import SynthesizerSize
from manifests.anatomy import structures, table_hash
from manifests.errors import FileFormatError

__all__ = ["AutoencoderConfig", "Config", "LatentsConfig", "MasksConfig", "SlicesConfig", "StageName", "parse_config"]

StageName = Literal["masks", "autoencoder", "latents", "slices"]
AnyConfig = TypeVar("AnyConfig", bound="Config")


class Config(BaseModel):
    """What all stages share.

    Attributes:
        anatomy_ids: anatomy id of each class but 0, which is the outside; ascending.
        merged: structures that count as another one, by id, e.g. each vertebra as the whole column.
        anatomy_table: hash of the table that the ids are of.
        spacing_mm: isotropic spacing that the stage works at.
        trained_on: the datasets: their specs, kinds, and how many cases.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    anatomy_ids: tuple[int, ...]
    merged: dict[int, int] = {}
    anatomy_table: str
    spacing_mm: float
    trained_on: dict[str, Any] = {}

    @property
    def classes(self) -> int:
        """Number of classes, the outside included."""
        return len(self.anatomy_ids) + 1

    def class_of_id(self) -> UInt8[np.ndarray, "256"]:
        """Look-up table from anatomy ids to classes.

        A structure that was not in the training data counts as its nearest relative that was: of its
        group, else of its tissue, else as any; a hole of air inside a body would be worse.
        """
        table = np.zeros(256, np.uint8)
        known = [entry for entry in structures() if entry.id in self.anatomy_ids]
        for entry in structures() if known else ():
            if entry.id in self.merged:
                table[entry.id] = 1 + self.anatomy_ids.index(self.merged[entry.id])
                continue
            near = min(known, key=lambda one: (one is not entry, one.group != entry.group, one.tissue != entry.tissue))
            table[entry.id] = 1 + self.anatomy_ids.index(near.id)
        return table

    def id_of_class(self) -> UInt8[np.ndarray, " classes"]:
        """Look-up table from classes to anatomy ids."""
        return np.array([0, *self.anatomy_ids], np.uint8)


class _Told(Config):
    """A stage that reads text.

    Attributes:
        words: vocabulary of the encoder that is trained with the stage; empty with a frozen one.
        encoder: folder of a frozen encoder in the layout of Hugging Face; None = the stage's own.
        steps: T of the diffusion.
        sample_steps, guidance: how samples are drawn where nothing else is said.
    """

    words: tuple[str, ...] = ()
    encoder: Path | None = None
    steps: int = 1000
    sample_steps: int = 32
    guidance: float = 1.0


class MasksConfig(_Told):
    """Stage I, the semantic synthesizer.

    Attributes:
        temperature: of the anatomy when masks are drawn, its volumes kept: below 1 drawings have smoother borders and
            vary less; 1 draws as trained.
        lesion_temperature: of where lesions are, not of how much: below 1 they come in fewer pieces.
    """

    stage: Literal["masks"] = "masks"
    size: SynthesizerSize
    temperature: float = 0.5
    lesion_temperature: float = 0.6


class AutoencoderConfig(Config):
    """Stage II, the autoencoder.

    Attributes:
        hdr: trained through random CT windows.
        adversarial: trained against discriminators.
        perceptual_sha256: of the weights of the perceptual term; empty without one.
    """

    stage: Literal["autoencoder"] = "autoencoder"
    size: AutoencoderSize
    hdr: bool = True
    adversarial: bool = False
    perceptual_sha256: str = ""


class LatentsConfig(_Told):
    """Stage III, the feature generator; it belongs to one autoencoder.

    Attributes:
        reads_text: whether it was trained with texts; without, masks alone guide it. Without masks its `mask_width` is 0.
        autoencoder_sha256: hash of the weights of that autoencoder.
        latent_mean, latent_sd: mean of each channel, and the standard deviation of all, over the training latents.
        shared_noise: share of the noise's variance that the voxels of a structure have in common.
        shared_temperature: of that share when images are drawn: below 1 fewer of them fall outside what a phase allows,
            and organs vary less.
    """

    stage: Literal["latents"] = "latents"
    size: FeatureGeneratorSize
    prediction: Prediction = "v"
    reads_text: bool = True
    latent_channels: int
    halvings: int
    autoencoder_sha256: str
    latent_mean: tuple[float, ...]
    latent_sd: tuple[float, ...]
    shared_noise: float = 0.0
    shared_temperature: float = 0.5
    sample_steps: int = 16


class SlicesConfig(_Told):
    """The slice-by-slice generator."""

    stage: Literal["slices"] = "slices"
    size: SliceGeneratorSize
    prediction: Prediction = "v"
    sample_steps: int = 16


def parse_config(kind: type[AnyConfig], text: str | bytes, where: Path) -> AnyConfig:
    """Read the config of a stage.

    Raises:
        FileFormatError: if the text is not one, or is of another anatomy table.
    """
    try:
        config = kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise FileFormatError(
            str(where),
            got=f"{'.'.join(map(str, first['loc'])) or 'content'}: {first['msg']}",
            need=f"a config of {kind.__name__.removesuffix('Config').lower()} weights",
            do="Restore the file, or train with this version.",
        ) from error
    if config.anatomy_table != table_hash():
        raise FileFormatError(
            str(where),
            got=f"anatomy table {config.anatomy_table}",
            need=f"{table_hash()}, the one installed",
            do="Install the version that the weights were trained with, or train again.",
        )
    return config
