"""The perceptual term: a distance in the features of given weights, the same as LPIPS computes it; bad weights are told."""

from itertools import pairwise
from pathlib import Path

import pytest
import safetensors.torch
import torch

from downstream.fidelity.networks import Lpips
from factory.models.perceptual import Perceptual
from factory.training.perceptual import open_perceptual
from manifests.errors import FileFormatError, LocationError


@pytest.fixture
def lpips() -> Lpips:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Lpips(width=16)
    for name, parameter in network.named_parameters():
        parameter.data = (
            parameter.data.abs() if name.startswith("lin") else 2.5 * parameter.data
        )  # features that stay large
    return network


def pair() -> tuple[torch.Tensor, torch.Tensor]:
    one = torch.Generator().manual_seed(0)
    return torch.rand(2, 1, 16, 16, 16, generator=one) - 0.5, torch.rand(2, 1, 16, 16, 16, generator=one) - 0.5


@torch.inference_mode()
def test_it_is_lpips_where_the_weights_are(lpips: Lpips) -> None:
    network = Perceptual(lpips.state_dict())
    assert [len(stage) for stage in network.stages] == [4, 5, 7, 7, 7]
    real, made = pair()
    slices = [volume[:, 0, ::4].reshape(-1, 1, 16, 16).expand(-1, 3, -1, -1) for volume in (real, made)]
    torch.testing.assert_close(network(real, made, 0), lpips(*slices).mean(), rtol=1e-3, atol=0)


def test_gradients_reach_the_reconstruction_alone(lpips: Lpips) -> None:
    network = Perceptual({name: tensor for name, tensor in lpips.state_dict().items() if name.startswith("features")})
    real, made = pair()
    assert float(network(real, real, 1)) == 0
    made.requires_grad_()
    network(real, made, 2).backward()
    assert made.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_file_or_its_folder(lpips: Lpips, tmp_path: Path) -> None:
    safetensors.torch.save_file(lpips.state_dict(), tmp_path / "model.safetensors")
    found = [open_perceptual(place)[1] for place in (tmp_path, tmp_path / "model.safetensors")]
    assert found[0] == found[1]
    with pytest.raises(LocationError, match="--perceptual"):
        open_perceptual(tmp_path / "nowhere")
    state = lpips.state_dict()
    for tensors in ({"fc.weight": torch.zeros(2)}, {"features.0.weight": state["features.0.weight"]}):
        safetensors.torch.save_file(tensors, tmp_path / "other.safetensors")
        with pytest.raises(FileFormatError, match="features"):
            open_perceptual(tmp_path / "other.safetensors")
    (tmp_path / "torn.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:-9])
    with pytest.raises(FileFormatError, match="torn"):
        open_perceptual(tmp_path / "torn.safetensors")


def test_numbers_left_out_are_poolings() -> None:
    tensors = {}
    for number, (inner, outer) in zip((0, 2, 5), pairwise((1, 2, 3, 4)), strict=True):
        tensors |= {
            f"features.{number}.weight": torch.ones(outer, inner, 3, 3),
            f"features.{number}.bias": torch.ones(outer),
        }
    network = Perceptual(tensors)
    assert [[type(layer).__name__ for layer in stage] for stage in network.stages] == [
        ["Conv2d", "ReLU", "Conv2d", "ReLU"],
        ["MaxPool2d", "Conv2d", "ReLU"],
    ]
