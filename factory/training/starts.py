"""From options to a stage that is ready to train: open the data, say what it holds, build the network."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from factory.diffusion.gaussian import Prediction
from factory.engines.guidegen.config import AutoencoderConfig, Config, LatentsConfig, MasksConfig, SlicesConfig
from factory.models.injection import InjectionSize
from factory.models.tokenizer import vocabulary
from factory.training.autoencoder import AutoencoderStage
from factory.training.data import Cases
from factory.training.distributed import Team
from factory.training.latents import Latents, LatentsStage
from factory.training.loop import Stage
from factory.training.masks import MasksStage
from factory.training.perceptual import open_perceptual
from factory.training.presets import StagePreset
from factory.training.recipe import Recipe
from factory.training.runs import trained
from factory.training.slices import SlicesStage
from factory.training.texts import corpus, prompt_of
from manifests.anatomy import group, structure, table_hash
from manifests.errors import UnknownNameError

__all__ = [
    "AutoencoderChoice",
    "LatentsChoice",
    "Start",
    "TextChoice",
    "start_autoencoder",
    "start_latents",
    "start_masks",
    "start_slices",
]

UNDIVIDED = {"vertebrae": "vertebral_column", "rib": "ribs"}

Start = Callable[[Team], tuple[Stage, Config]]
"""Builds the stage on a team's device; weights are drawn from the recipe's seed."""

_SHARED_NOISE = 0.3
"""Share of the noise of latents that a structure's voxels have in common; chosen."""


@dataclass(frozen=True, slots=True)
class TextChoice:
    """How a diffused stage reads and diffuses.

    Attributes:
        encoder: folder of a frozen encoder; None trains one with the stage.
        injection: whether text is injected by learned queries.
        steps: T.
    """

    encoder: Path | None = None
    injection: bool = True
    steps: int = 1000


@dataclass(frozen=True, slots=True)
class AutoencoderChoice:
    """What stage II is made of: its spacing (None = the preset's), bottleneck, and which terms and masks it uses."""

    spacing_mm: float | None = None
    bottleneck: str = "kl"
    hdr: bool = True
    pyramid: bool = True
    adversarial: bool = False
    perceptual: Path | None = None


@dataclass(frozen=True, slots=True)
class LatentsChoice:
    """What stage III is made of: the autoencoder's run, its own run, and what it is told."""

    coder: Path
    out: Path
    text: TextChoice = TextChoice()
    prediction: str = "v"
    reads_masks: bool = True
    reads_text: bool = True


def start_masks(
    data: Sequence[Path], preset: StagePreset, recipe: Recipe, said: tuple[float | None, TextChoice]
) -> Start:
    """Stage I; `said` is spacing in mm, and how it reads.

    Vertebrae count as one class and ribs as one: no prompt speaks of a single one, and 47 classes
    fewer are 47 channels fewer at every voxel.
    """
    spacing_mm, choice = said

    def start(team: Team) -> tuple[Stage, Config]:
        cases = Cases(data, spacing_mm or preset.spacing_mm, recipe.held_out, with_ct=False)
        config = MasksConfig(**_merged(_shared(cases)), **_diffused(MasksConfig, choice, cases, preset, recipe))
        with _seeded(recipe.seed):
            return MasksStage(config, cases, team.device), config

    return start


def start_autoencoder(data: Sequence[Path], preset: StagePreset, recipe: Recipe, choice: AutoencoderChoice) -> Start:
    """Stage II."""
    _require("--bottleneck", choice.bottleneck, ("kl", "vq"))
    labels = preset.size.label_width if choice.pyramid else 0

    def start(team: Team) -> tuple[Stage, Config]:
        perceptual, sha256 = open_perceptual(choice.perceptual) if choice.perceptual else (None, "")
        cases = Cases(data, choice.spacing_mm or preset.spacing_mm, recipe.held_out, with_ct=True)
        size = replace(preset.size, bottleneck=choice.bottleneck, label_width=labels)
        config = AutoencoderConfig(
            **_shared(cases), size=size, hdr=choice.hdr, adversarial=choice.adversarial, perceptual_sha256=sha256
        )
        with _seeded(recipe.seed):
            return AutoencoderStage(config, cases, preset.crop, team.device, perceptual), config

    return start


def start_latents(data: Sequence[Path], preset: StagePreset, recipe: Recipe, choice: LatentsChoice) -> Start:
    """Stage III."""
    _require("--prediction", choice.prediction, get_args(Prediction))
    if not choice.reads_masks:
        preset = replace(preset, size=replace(preset.size, mask_width=0))

    def start(team: Team) -> tuple[Stage, Config]:
        found = trained(choice.coder, "autoencoder")
        assert isinstance(found.config, AutoencoderConfig)
        cases = Cases(data, found.config.spacing_mm, recipe.held_out, with_ct=True)
        kept = choice.out.with_name("latents-cache")  # of all runs beside this one: it goes by the autoencoder's hash
        latents = Latents(cases, found, kept, team.device)
        if not team.leads:
            team.wait()
        mean, sd = latents.prepare()
        if team.leads:
            team.wait()
        config = LatentsConfig(
            **_shared(cases),
            **_diffused(LatentsConfig, choice.text, cases, preset, recipe),
            prediction=choice.prediction,  # type: ignore[arg-type]  # checked above
            reads_text=choice.reads_text,
            latent_channels=found.config.size.latent_channels,
            halvings=len(found.config.size.multipliers) - 1,
            autoencoder_sha256=found.sha256,
            latent_mean=mean,
            latent_sd=sd,
            shared_noise=_SHARED_NOISE if preset.size.mask_width else 0.0,
        )
        with _seeded(recipe.seed):
            return LatentsStage(config, latents, team.device), config

    return start


def start_slices(
    data: Sequence[Path], preset: StagePreset, recipe: Recipe, said: tuple[float | None, TextChoice, str]
) -> Start:
    """The slice-by-slice generator; `said` is spacing in mm, how it reads, and prediction."""
    spacing_mm, choice, prediction = said
    _require("--prediction", prediction, get_args(Prediction))

    def start(team: Team) -> tuple[Stage, Config]:
        cases = Cases(data, spacing_mm or preset.spacing_mm, recipe.held_out, with_ct=True)
        config = SlicesConfig(
            **_shared(cases),
            **_diffused(SlicesConfig, choice, cases, preset, recipe),
            prediction=prediction,  # type: ignore[arg-type]  # checked above
        )
        with _seeded(recipe.seed):
            return SlicesStage(config, cases, team.device), config

    return start


def _shared(cases: Cases) -> dict[str, Any]:
    return {
        "anatomy_ids": cases.anatomy_ids(),
        "anatomy_table": table_hash(),
        "spacing_mm": cases.spacing_mm,
        "trained_on": cases.description(),
    }


def _merged(shared: dict[str, Any]) -> dict[str, Any]:
    """The same with the members of each group of `UNDIVIDED` counted as one class, where there are several."""
    ids: set[int] = set(shared["anatomy_ids"])
    merged: dict[int, int] = {}
    for name, whole in UNDIVIDED.items():
        members = {entry.id for entry in group(name)} & ids
        if len(members) > 1:
            merged |= dict.fromkeys(sorted(members), structure(whole).id)
            ids = ids - members | {structure(whole).id}
    return shared | {"anatomy_ids": tuple(sorted(ids)), "merged": merged}


def _diffused(
    kind: type[Config], choice: TextChoice, cases: Cases, preset: StagePreset, recipe: Recipe
) -> dict[str, Any]:
    """Fields of a config of a stage that reads text and diffuses."""
    encoder, size = choice.encoder, preset.size
    return {
        "words": () if encoder else _words(cases, recipe.seed),
        "encoder": encoder.resolve() if encoder else None,
        "size": size if choice.injection else replace(size, injection=InjectionSize(queries=0)),
        "steps": choice.steps,
        "sample_steps": min(choice.steps, kind.model_fields["sample_steps"].default),
    }


def _words(cases: Cases, seed: int) -> tuple[str, ...]:
    return vocabulary(corpus(map(prompt_of, cases.records), np.random.default_rng([seed, 1])))


def _require(option: str, got: str, known: Sequence[str]) -> None:
    if got not in known:
        raise UnknownNameError(option, got=repr(got), need=f"one of {', '.join(known)}", do="Choose one of these.")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Fresh weights come from torch's global generator: it is seeded here and put back."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
