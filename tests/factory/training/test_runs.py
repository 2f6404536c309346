"""Folders of runs: one training at a time, the same run or none, and nothing left by what cannot start."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from factory.cli import main
from factory.engines.guidegen import networks
from factory.engines.guidegen.config import AutoencoderConfig
from factory.models.autoencoder import AutoencoderSize
from factory.training import checkpoint, presets
from factory.training.command import Dials
from factory.training.recipe import Recipe
from factory.training.runs import begin, trained
from manifests.anatomy import table_hash
from manifests.durable import TEMPORARY
from manifests.errors import BusyError, FileFormatError, LocationError, SpecMismatchError
from tests.factory.training.test_stages import SIZES

CONFIG = AutoencoderConfig(
    anatomy_ids=(1,),
    anatomy_table=table_hash(),
    spacing_mm=24.0,
    size=AutoencoderSize(4, (1, 2), 1, 2, "kl", 8, 2),
)


def test_one_training_at_a_time(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with begin(out, CONFIG, Recipe()):
        with pytest.raises(BusyError, match=f"process {os.getpid()}"), begin(out, CONFIG, Recipe()):
            pass
        before = {path.name for path in out.iterdir()}
    assert before == {"config.json", ".lock"}
    with begin(out, CONFIG, Recipe(steps=7)):  # more steps are the same run
        pass
    with pytest.raises(SpecMismatchError, match="seed"), begin(out, CONFIG, Recipe(seed=3)):
        pass


def test_a_run_from_before_a_field_goes_on_and_leftovers_of_a_killed_start_do_not_bar(tmp_path: Path) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / f"{TEMPORARY}config-1").write_text("{")
    with begin(out, CONFIG, Recipe()):
        pass
    text = (out / "config.json").read_text().replace('"hdr": true,', "")
    assert "hdr" not in text
    (out / "config.json").write_text(text)
    with begin(out, CONFIG, Recipe()):
        pass
    with pytest.raises(SpecMismatchError, match="hdr"), begin(out, CONFIG.model_copy(update={"hdr": False}), Recipe()):
        pass
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("")
    with pytest.raises(LocationError, match="something else"), begin(tmp_path / "other", CONFIG, Recipe()):
        pass


def test_a_torn_checkpoint_is_no_weights(tmp_path: Path) -> None:
    net = networks.autoencoder(CONFIG)
    with begin(tmp_path / "run", CONFIG, Recipe()):
        average = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        state = checkpoint.State(net, average, torch.optim.AdamW(net.parameters()))
        saved = checkpoint.save(tmp_path / "run", 1, state)
    assert trained(tmp_path / "run").step == 1
    saved.path.write_bytes(saved.path.read_bytes()[:-1])
    with pytest.raises(FileFormatError, match="truncated"):
        trained(tmp_path / "run")


def test_a_missing_encoder_or_perceptual_network_leaves_nothing(
    toy_run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presets, "PRESETS", {stage: {"toy": size} for stage, size in SIZES.items()})
    run = toy_run(2)
    list(run)
    words = ["--data", str(run.dataset.root), "--preset", "toy", "--out", str(tmp_path / "out")]
    for stage, option in (("masks", "--encoder"), ("autoencoder", "--perceptual")):
        with pytest.raises(SystemExit) as ended:
            main(["train", stage, *words, option, "/no/such/place"])
        assert ended.value.code == 2
        assert "/no/such/place" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


_TOY = """
import sys
from factory.cli import main
from factory.training import presets
from tests.factory.training.test_stages import SIZES
presets.PRESETS = {stage: {"toy": size} for stage, size in SIZES.items()}
main(sys.argv[1:])
"""


@pytest.mark.slow  # three processes that import torch
def test_a_killed_training_resumes_to_the_unbroken_one(toy_run, tmp_path: Path) -> None:
    """Saved at every step, killed somewhere, gone on with: the same bytes."""
    run = toy_run(4)
    list(run)
    command = [sys.executable, "-c", _TOY, "train", "autoencoder", "--data", str(run.dataset.root), "--json"]
    command += ["--preset", "toy", "--steps", "60"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run([*command, "--out", str(whole)], env=environment, check=True, capture_output=True)
    with subprocess.Popen([*command, "--out", str(broken)], env=environment, stdout=subprocess.DEVNULL) as process:
        until = time.monotonic() + 600
        while not (broken / "latest.json").is_file() and time.monotonic() < until:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert 1 <= checkpoint.find(broken).step < 60
    subprocess.run([*command, "--out", str(broken)], env=environment, check=True, capture_output=True)
    files = [checkpoint.find(out).path.read_bytes() for out in (whole, broken)]
    assert files[0] == files[1]


def test_a_preset_says_how_many_cases_are_taken_at_once() -> None:
    assert Dials(data=[], out=Path("run"), preset="tiny").recipe("masks").part == 2
    assert Dials(data=[], out=Path("run"), preset="tiny", part=1).recipe("masks").part == 1
