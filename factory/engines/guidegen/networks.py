"""From a config to its network, and to what turns texts into the network's token numbers."""

from collections.abc import Callable
from pathlib import Path

from jaxtyping import Int64
from torch import Tensor, nn

from factory.engines.guidegen.config import AutoencoderConfig, LatentsConfig, MasksConfig, SlicesConfig
from factory.models.autoencoder import Autoencoder
from factory.models.feature_generator import FeatureGenerator
from factory.models.slice_generator import SliceGenerator
from factory.models.synthesizer import Synthesizer
from factory.models.text_encoder import FrozenEncoder, TextEncoder, TextSize
from factory.models.tokenizer import Tokenizer
from manifests.errors import FileFormatError, LocationError, MissingDependencyError

__all__ = ["Told", "autoencoder", "generator", "slices", "synthesizer"]

Told = Callable[[list[str]], Int64[Tensor, "b n"]]
"""Texts to token numbers."""


def synthesizer(config: MasksConfig) -> tuple[Synthesizer, Told]:
    """The network of stage I, untrained, with its tokenizer.

    Raises:
        LocationError: if the folder of a frozen encoder is missing.
        FileFormatError: if there is no encoder in it.
    """
    encoder, told = _encoder(config.encoder, config.words, config.size.text)
    return Synthesizer(config.size, config.classes, encoder), told


def generator(config: LatentsConfig) -> tuple[FeatureGenerator, Told]:
    """The network of stage III, untrained, with its tokenizer; raises like `synthesizer`."""
    encoder, told = _encoder(config.encoder, config.words, config.size.text)
    latents = (config.latent_channels, config.halvings)
    return FeatureGenerator(config.size, config.classes, latents, encoder), told


def autoencoder(config: AutoencoderConfig) -> Autoencoder:
    """The network of stage II, untrained."""
    return Autoencoder(config.size, config.classes)


def slices(config: SlicesConfig) -> tuple[SliceGenerator, Told]:
    """The slice-by-slice network, untrained, with its tokenizer; raises like `synthesizer`."""
    encoder, told = _encoder(config.encoder, config.words, config.size.text)
    return SliceGenerator(config.size, config.classes, encoder), told


def _encoder(folder: Path | None, words: tuple[str, ...], size: TextSize) -> tuple[nn.Module, Told]:
    if folder is None:
        tokenizer = Tokenizer(words, size.length)
        return TextEncoder(size, tokenizer.values), tokenizer
    if not (folder / "config.json").is_file():
        raise LocationError(
            f"text encoder {folder}",
            got="no config.json in it" if folder.is_dir() else "no such folder",
            need="a local folder in the layout of Hugging Face",
            do="Put the encoder there, or train with the built-in one (without --encoder).",
        )
    try:
        encoder = FrozenEncoder(folder)
    except ImportError as error:
        raise MissingDependencyError(
            f"text encoder {folder}",
            got=str(error),
            need="the package transformers",
            do="pip install 'ct-factory[transformers]'.",
        ) from error
    except (OSError, ValueError) as error:
        raise FileFormatError(
            f"text encoder {folder}",
            got=str(error).split("\n")[0],
            need="an encoder with tokenizer and safetensors",
            do="Check the folder.",
        ) from error
    return encoder, lambda texts: encoder.tokens(texts, size.length)
