"""The whole ablation on phantoms with networks of a few channels: every command that the plan names is one that exists."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from downstream.ablation import study
from downstream.ablation.measure import Measuring
from downstream.ablation.plan import Options, check_inputs
from downstream.ablation.report import write_report
from downstream.ablation.study import ablate
from factory.cli import main
from factory.training import presets
from tests.factory.training.test_stages import SIZES

pytestmark = pytest.mark.slow  # trains seven networks


def command(module: str, arguments: Sequence[str], *_: object) -> None:
    """Run a command in this process."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert not ended.value.code, arguments


def test_from_two_datasets_to_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "PRESETS", {stage: {"toy": size} for stage, size in SIZES.items()})
    monkeypatch.setattr(study, "run_module", command)
    places = [tmp_path / name for name in ("train", "held")]
    for seed, place in enumerate(places):
        command("", ["build", "--out", str(place), "--n", "2", "--preset", "tiny", "--seed", str(seed)])
    options = Options(("full", "no-hdr", "text-only", "mask-only", "steps-4", "t-100"), "toy", "tiny", n=2)
    inputs = check_inputs(*places, options)
    report, text = write_report(ablate(inputs, options, tmp_path / "out", Measuring(resamples=5)))
    assert report.means["full"].keys() >= {"masks pass the gate", "error lung, HU", "error bone, HU"}
    assert report.means["no-hdr"].keys() == {title for title in report.means["full"] if title.startswith("error")}
    assert report.means["steps-4"].keys() >= {"masks pass the gate", "tumours within one"}
    assert "| no HDR | error lung, HU |" in text
    assert json.loads((tmp_path / "out" / "results.json").read_text())["arms"]["t-100"]["as"] == "T = 100"
