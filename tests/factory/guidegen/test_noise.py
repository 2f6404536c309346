"""Noise of latents: white, or partly common to the voxels of a structure."""

import numpy as np
import pytest
import torch

from factory.diffusion.chance import normal
from factory.engines.guidegen.config import LatentsConfig
from factory.engines.guidegen.noise import NoiseKeys, latent_noise
from factory.models.feature_generator import FeatureGeneratorSize
from manifests.anatomy import structure, table_hash

NAMES = ("liver", "kidney_left", "kidney_right", "aorta", "iliac_artery_left", "iliac_vena_left")
IDS = tuple(sorted(structure(name).id for name in NAMES))
PLACES = ("outside", *NAMES, "lesion in the liver", "lesion in a kidney")
SIDE, CASES = 8, 1500


def config(shared: float) -> LatentsConfig:
    return LatentsConfig(
        anatomy_ids=IDS,
        anatomy_table=table_hash(),
        spacing_mm=6.0,
        size=FeatureGeneratorSize(),
        latent_channels=2,
        halvings=1,
        autoencoder_sha256="",
        latent_mean=(0.0, 0.0),
        latent_sd=(1.0, 1.0),
        shared_noise=shared,
    )


def label(place: str) -> int:
    hosts = {"lesion in the liver": "liver", "lesion in a kidney": "kidney_left"}
    name = hosts.get(place, place)
    klass = 0 if name == "outside" else 1 + IDS.index(structure(name).id)
    return klass + (len(IDS) + 1) * (place in hosts)


def generators(seed: int = 0, count: int = CASES) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + number) for number in range(count)]


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    """Noise by case, place and voxel (channels are voxels of another draw), a slab of two slices for each place."""
    labels = torch.tensor([label(place) for place in PLACES]).repeat_interleave(2)[:, None, None]
    labels = labels.expand(-1, SIDE, SIDE)[None].expand(CASES, -1, -1, -1)
    like = torch.zeros(CASES, 2, len(PLACES), SIDE // 2, SIDE // 2)
    made = config(0.3)
    return latent_noise(NoiseKeys(made), generators(), like, labels)[:, 0].flatten(2).numpy()


def test_each_voxel_has_variance_one(drawn: np.ndarray) -> None:
    assert drawn.mean() == pytest.approx(0, abs=0.02)
    np.testing.assert_allclose(drawn.var(axis=(0, 2)), 1.0, atol=0.12)


def test_voxels_of_a_structure_share_their_part_and_no_more(drawn: np.ndarray) -> None:
    common = drawn.mean(2).var(0)  # of means over voxels: the share, and the rest over their number
    np.testing.assert_allclose(common, 0.3 + 0.7 / drawn.shape[2], atol=0.09)


@pytest.mark.parametrize(
    ("one", "other", "correlation"),
    [
        ("kidney_left", "kidney_right", 1.0),  # of one group
        ("aorta", "iliac_artery_left", 0.5),  # of one tissue
        ("aorta", "iliac_vena_left", 0.5),  # blood is one
        ("liver", "kidney_left", 0.5),  # parenchyma too
        ("liver", "aorta", 0.0),
        ("liver", "lesion in the liver", 0.0),  # a lesion is not like its organ
        ("lesion in a kidney", "lesion in the liver", 1.0),
        ("outside", "liver", 0.0),
    ],
)
def test_what_is_shared_between_structures(drawn: np.ndarray, one: str, other: str, correlation: float) -> None:
    a, b = (drawn[:, PLACES.index(name)].mean(1) for name in (one, other))
    assert np.mean(a * b) / 0.3 == pytest.approx(correlation, abs=0.2)


def test_a_temperature_moves_what_is_shared_alone() -> None:
    labels, made = torch.ones(1, 8, 8, 8, dtype=torch.long), config(0.3)
    like, keys = torch.zeros(1, 2, 4, 4, 4), NoiseKeys(made)
    half, full = (latent_noise(keys, generators(count=1), like, labels, t) for t in (0.5, 1.0))
    off = (full - half)[0]
    torch.testing.assert_close(off, off[:, :1, :1, :1].expand_as(off))
    assert off.abs().min() > 0


def test_without_a_share_noise_is_white_to_the_bit() -> None:
    like, made = torch.zeros(2, 2, 4, 4, 4), config(0.0)
    noise = latent_noise(NoiseKeys(made), generators(count=2), like, torch.ones(2, 8, 8, 8, dtype=torch.long))
    assert torch.equal(noise, normal(generators(count=2), like))


def test_a_case_draws_the_same_in_any_batch() -> None:
    labels, made = torch.randint(0, 7, (3, 8, 8, 8), generator=torch.Generator().manual_seed(1)), config(0.3)
    together = latent_noise(NoiseKeys(made), generators(count=3), torch.zeros(3, 2, 4, 4, 4), labels)
    alone = latent_noise(NoiseKeys(made), generators(1, 1), torch.zeros(1, 2, 4, 4, 4), labels[1:2])
    assert torch.equal(together[1], alone[0])
