"""Tiny random weights, packed as trained ones are."""

from pathlib import Path

import pytest
import torch

from factory.engines.guidegen import networks
from factory.engines.guidegen.config import AutoencoderConfig, Config, LatentsConfig, MasksConfig, SlicesConfig
from factory.models.autoencoder import AutoencoderSize
from factory.models.feature_generator import FeatureGeneratorSize
from factory.models.injection import InjectionSize
from factory.models.slice_generator import SliceGeneratorSize
from factory.models.synthesizer import SynthesizerSize
from factory.models.text_encoder import TextSize
from factory.models.tokenizer import vocabulary
from factory.models.unet import UNetSize
from factory.training import checkpoint
from factory.training.pack import pack
from factory.training.recipe import Recipe
from factory.training.runs import begin, trained
from manifests.anatomy import structure, table_hash

IDS = tuple(sorted(structure(name).id for name in ("spleen", "liver", "kidney_left", "body", "skeletal_muscle")))
SHARED = {"anatomy_ids": IDS, "anatomy_table": table_hash(), "spacing_mm": 24.0}
TOLD = {"words": vocabulary(["a man with one tumour of the liver"]), "sample_steps": 2, "steps": 10, "guidance": 1.0}
UNET, TEXT, INJECTION = UNetSize(4, (1, 2), 1, 1), TextSize(8, 1, 1, 200), InjectionSize(2, 1, 1)


def save_run(out: Path, config: Config, network: torch.nn.Module) -> Path:
    """A run that has saved these weights, with nothing at zero."""
    for parameter in network.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    with begin(out, config, Recipe()):
        pass
    average = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    checkpoint.save(out, 1, checkpoint.State(network, average, torch.optim.AdamW(network.parameters())))
    return out


def make_runs(folder: Path, seed: int) -> list[Path]:
    """One run of each stage."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        masks = MasksConfig(**SHARED, **TOLD, size=SynthesizerSize(UNET, TEXT, INJECTION, 4))
        coder = AutoencoderConfig(**SHARED, size=AutoencoderSize(4, (1, 2), 1, 2, "kl", 8, 2))
        runs = [
            save_run(folder / "masks", masks, networks.synthesizer(masks)[0]),
            save_run(folder / "autoencoder", coder, networks.autoencoder(coder)),
        ]
        latents = LatentsConfig(
            **SHARED,
            **TOLD,
            size=FeatureGeneratorSize(UNET, TEXT, INJECTION, 2),
            latent_channels=2,
            halvings=1,
            autoencoder_sha256=trained(runs[1]).sha256,
            latent_mean=(0.0, 0.1),
            latent_sd=(1.0, 2.0),
        )
        slices = SlicesConfig(**SHARED, **TOLD, size=SliceGeneratorSize(UNET, TEXT, INJECTION, 2, 2))
        return [
            *runs,
            save_run(folder / "latents", latents, networks.generator(latents)[0]),
            save_run(folder / "slices", slices, networks.slices(slices)[0]),
        ]


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return make_runs(tmp_path_factory.mktemp("runs"), 0)


@pytest.fixture
def other_weights(tmp_path: Path) -> Path:
    """Weights of the same networks from another seed."""
    pack(make_runs(tmp_path, 1), tmp_path / "weights")
    return tmp_path / "weights"


@pytest.fixture(scope="session")
def weights(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    pack(runs, folder)
    return folder
