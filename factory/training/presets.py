"""Sizes of networks and trainings: `tiny` for tests and a first look, `demo` for a laptop, `full` for GPUs."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from factory.models.autoencoder import AutoencoderSize
from factory.models.feature_generator import FeatureGeneratorSize
from factory.models.injection import InjectionSize
from factory.models.slice_generator import SliceGeneratorSize
from factory.models.synthesizer import SynthesizerSize
from factory.models.text_encoder import TextSize
from factory.models.unet import UNetSize
from factory.training.recipe import Recipe
from manifests.errors import UnknownNameError

__all__ = ["PRESETS", "StagePreset", "stage_preset"]


@dataclass(frozen=True, slots=True)
class StagePreset:
    """A stage at one size.

    Attributes:
        spacing_mm: of the working grid.
        size: of the network.
        recipe: how it is trained.
        crop: voxels along z, y, x that the autoencoder trains on at once; unused elsewhere.
    """

    spacing_mm: float
    size: Any
    recipe: Recipe
    crop: tuple[int, int, int] = (0, 0, 0)


_TEXT = TextSize(64, 2, 4, 96)
_WIDE_TEXT = TextSize(256, 4, 8, 128)

PRESETS: Mapping[str, Mapping[str, StagePreset]] = MappingProxyType(
    {
        "masks": {
            "tiny": StagePreset(
                10.0,
                SynthesizerSize(UNetSize(48, (1, 1, 1), 1, 1), _TEXT, InjectionSize(8, 1, 4), 16, 2),
                Recipe(
                    batch=2,
                    part=2,
                    steps=3000,
                    learning_rate=2e-3,
                    ema=0.995,
                    warmup=20,
                    save_every=100,
                    validate_every=1000,
                ),
            ),
            "demo": StagePreset(
                6.0,
                SynthesizerSize(UNetSize(48, (1, 2, 3, 4), 1, 2), _TEXT, InjectionSize(16, 1, 4), 16),
                Recipe(batch=4, steps=20_000, learning_rate=1e-3, save_every=500, validate_every=2000),
            ),
            "full": StagePreset(
                3.0,
                SynthesizerSize(UNetSize(64, (1, 1, 2, 2, 4), 1, 2, True), _WIDE_TEXT, InjectionSize(16, 2, 8), 32),
                Recipe(batch=8, steps=200_000, learning_rate=2e-4, ema=0.9999, save_every=1000, validate_every=5000),
            ),
        },
        "autoencoder": {
            "tiny": StagePreset(
                6.0,
                AutoencoderSize(16, (1, 2, 4), 1, 6, "kl", 256, 8),
                Recipe(batch=2, part=2, steps=5000, learning_rate=1e-3, ema=0.99, save_every=100, validate_every=1000),
                (24, 24, 24),
            ),
            "demo": StagePreset(
                3.0,
                AutoencoderSize(16, (1, 2, 4), 1, 4, "kl", 1024, 8),
                Recipe(batch=4, steps=10_000, learning_rate=1e-3, save_every=500, validate_every=2000),
                (64, 64, 64),
            ),
            "full": StagePreset(
                1.5,
                AutoencoderSize(32, (1, 2, 4), 1, 4, "kl", 8192, 16),
                Recipe(batch=8, steps=200_000, learning_rate=1e-4, ema=0.9999, save_every=1000, validate_every=5000),
                (128, 128, 128),
            ),
        },
        "latents": {
            "tiny": StagePreset(
                6.0,
                FeatureGeneratorSize(UNetSize(32, (1, 1), 1, 1), TextSize(32, 1, 2, 96), InjectionSize(8, 1, 2), 16),
                Recipe(batch=2, part=2, steps=2500, learning_rate=2e-3, ema=0.99, save_every=100, validate_every=2000),
            ),
            "demo": StagePreset(
                3.0,
                FeatureGeneratorSize(UNetSize(48, (1, 2, 3), 1, 1), _TEXT, InjectionSize(16, 1, 4), 16),
                Recipe(batch=4, steps=20_000, learning_rate=1e-3, save_every=500, validate_every=2000),
            ),
            "full": StagePreset(
                1.5,
                FeatureGeneratorSize(UNetSize(64, (1, 2, 4), 2, 1, True), _WIDE_TEXT, InjectionSize(16, 2, 8), 32),
                Recipe(batch=8, steps=200_000, learning_rate=1e-4, ema=0.9999, save_every=1000, validate_every=5000),
            ),
        },
        "slices": {
            "tiny": StagePreset(
                6.0,
                SliceGeneratorSize(UNetSize(16, (1, 2, 4), 1, 1), TextSize(32, 1, 2, 96), InjectionSize(8, 1, 2), 4, 2),
                Recipe(batch=2, steps=300, learning_rate=2e-3, ema=0.99, warmup=20, save_every=100, validate_every=300),
            ),
            "demo": StagePreset(
                3.0,
                SliceGeneratorSize(UNetSize(32, (1, 2, 4), 1, 1), _TEXT, InjectionSize(16, 1, 4), 8, 2),
                Recipe(batch=4, steps=20_000, learning_rate=1e-3, save_every=500, validate_every=2000),
            ),
            "full": StagePreset(
                1.5,
                SliceGeneratorSize(UNetSize(128, (1, 2, 4, 4), 2, 2, True), _WIDE_TEXT, InjectionSize(16, 2, 8), 16, 2),
                Recipe(batch=8, steps=200_000, learning_rate=1e-4, ema=0.9999, save_every=1000, validate_every=5000),
            ),
        },
    }
)


def stage_preset(stage: str, name: str) -> StagePreset:
    """Look a preset up.

    Raises:
        UnknownNameError: listing the presets there are.
    """
    known = PRESETS[stage]
    if name not in known:
        raise UnknownNameError("--preset", got=repr(name), need=f"one of {', '.join(known)}", do="Choose a preset.")
    return known[name]
