"""Two processes on Ray compute what one does, and what one of them raises ends the training."""

import json
from pathlib import Path

import pytest
import torch

from factory.cli import main
from factory.engines.guidegen.networks import autoencoder
from factory.training import checkpoint
from factory.training.runs import trained

pytestmark = [pytest.mark.ray, pytest.mark.slow]  # starts Ray, and two processes that import torch


def test_two_processes_on_ray_compute_what_one_does(
    toy_run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = toy_run(4)
    list(run)
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else they wait for all else that a busy machine does
    words = ["train", "autoencoder", "--data", str(run.dataset.root), "--preset", "tiny", "--json"]
    words += ["--spacing", "24", "--steps", "2"]
    found, averages = [], []
    for workers in ("1", "2"):
        out = tmp_path / workers
        with pytest.raises(SystemExit) as ended:
            main([*words, "--workers", workers, "--out", str(out)])
        assert not ended.value.code, capsys.readouterr().err
        found.append(json.loads(capsys.readouterr().out))
        averages.append(checkpoint.averages(checkpoint.find(out), autoencoder(trained(out).config)))
    torch.testing.assert_close(averages[1], averages[0], rtol=1e-4, atol=1e-5)
    assert found[1]["losses"]["loss"] == pytest.approx(found[0]["losses"]["loss"], rel=1e-4)
    with pytest.raises(SystemExit) as ended:
        main([*words, "--workers", "2", "--seed", "1", "--out", str(tmp_path / "2")])
    assert ended.value.code == 2
    assert "seed; need what it was started with" in capsys.readouterr().err
