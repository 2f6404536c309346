"""Damaged, foreign or incomplete weights are refused with a reason, and nothing half-written is left."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from factory.engines.guidegen.config import LatentsConfig, MasksConfig
from factory.engines.guidegen.networks import synthesizer
from factory.engines.guidegen.weights import Package
from factory.engines.registry import image_model, mask_model
from factory.training import checkpoint, pack
from factory.training.runs import trained
from manifests.errors import FileFormatError, InvalidValueError, LocationError, StorageError


@pytest.fixture
def copy(weights: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(weights, tmp_path / "copy"))


def load(folder: Path) -> None:
    package = Package.open(folder)
    package.load("masks", synthesizer(package.config("masks", MasksConfig))[0])


def test_packed_weights_are_the_averages_of_the_run(runs: list[Path], copy: Path) -> None:
    package = Package.open(copy)
    net = synthesizer(package.config("masks", MasksConfig))[0]
    package.load("masks", net)
    average = checkpoint.averages(checkpoint.find(runs[0]), synthesizer(trained(runs[0]).config)[0])
    for name, tensor in net.state_dict().items():
        torch.testing.assert_close(tensor, average[name].half().float())  # they are stored in half precision


def test_truncated_weights(copy: Path) -> None:
    path = copy / "masks.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FileFormatError, match="truncated"):
        load(copy)


def test_weights_of_another_network(copy: Path) -> None:
    content = json.loads((copy / "package.json").read_text())
    content["stages"]["masks"]["config"]["size"]["label_width"] += 1
    (copy / "package.json").write_text(json.dumps(content))
    with pytest.raises(FileFormatError, match="shape"):
        load(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "other", "stages": {}}'])
def test_a_damaged_package_file(copy: Path, text: str) -> None:
    (copy / "package.json").write_text(text)
    with pytest.raises(FileFormatError, match="guidegen-weights-4"):
        mask_model(f"guidegen:{copy}")


def test_another_anatomy_table(copy: Path) -> None:
    content = json.loads((copy / "package.json").read_text())
    content["stages"]["masks"]["config"]["anatomy_table"] = "elsewhere"
    (copy / "package.json").write_text(json.dumps(content))
    with pytest.raises(FileFormatError, match="anatomy table elsewhere"):
        mask_model(f"guidegen:{copy}")


def test_a_package_of_masks_alone_makes_no_images(runs: list[Path], tmp_path: Path) -> None:
    pack.pack(runs[:1], tmp_path / "some")
    mask_model(f"guidegen:{tmp_path / 'some'}")
    with pytest.raises(InvalidValueError, match="stage autoencoder"):
        image_model(f"guidegen:{tmp_path / 'some'}")


def test_latents_without_their_autoencoder(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match="no autoencoder"):
        pack.pack(runs[2:3], tmp_path / "none")
    with pytest.raises(InvalidValueError, match="second run"):
        pack.pack([runs[0], runs[0]], tmp_path / "none")
    with pytest.raises(LocationError, match=r"config\.json"):
        pack.pack([tmp_path / "nowhere"], tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_packed_weights_stand_in_for_the_runs_that_are_gone(runs: list[Path], weights: Path, tmp_path: Path) -> None:
    packed = trained(weights, "autoencoder")
    assert (packed.sha256, packed.step) == (trained(runs[1]).sha256, 1)
    with pytest.raises(LocationError, match=r"config\.json"):
        trained(weights)  # of which stage?
    told = pack.pack([weights, runs[0]], tmp_path / "again", pack.Sampling(steps=3))
    assert list(told) == ["masks", "autoencoder", "latents", "slices"]
    again, before = Package.open(tmp_path / "again"), Package.open(weights)
    assert again.config("latents", LatentsConfig).sample_steps == 3
    assert {stage: again.read(stage) for stage in told} == {stage: before.read(stage) for stage in told}
    pack.pack(runs[:1], tmp_path / "some")
    with pytest.raises(InvalidValueError, match="stage autoencoder"):
        trained(tmp_path / "some", "autoencoder")


def test_packed_weights_say_how_they_are_drawn_from(runs: list[Path], tmp_path: Path) -> None:
    pack.pack(runs[:2], tmp_path / "other", pack.Sampling(steps=7, guidance=3.5, temperature=0.9))
    config = Package.open(tmp_path / "other").config("masks", MasksConfig)
    assert (config.sample_steps, config.guidance, config.temperature) == (7, 3.5, 0.9)
    wrongs = {"steps": 11, "guidance": float("nan"), "temperature": 0.0}
    for wrong in (pack.Sampling(**{name: value}) for name, value in [*wrongs.items(), ("steps", 0)]):
        with pytest.raises(InvalidValueError, match="--"):
            pack.pack(runs[:1], tmp_path / "none", wrong)
    assert not (tmp_path / "none").exists()


def test_a_full_disk_leaves_nothing(runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def full(path: Path, data: bytes) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        path.write_bytes(data)

    monkeypatch.setattr(checkpoint, "replace", full)
    with pytest.raises(StorageError, match="No space left"):
        pack.pack(runs, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_no_encoder_where_the_config_says(copy: Path) -> None:
    content = json.loads((copy / "package.json").read_text())
    content["stages"]["masks"]["config"] |= {"encoder": "/no/such/encoder", "words": []}
    (copy / "package.json").write_text(json.dumps(content))
    with pytest.raises(LocationError, match="/no/such/encoder"):
        load(copy)
