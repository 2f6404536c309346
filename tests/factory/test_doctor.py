"""Findings about a machine and a dataset."""

from collections.abc import Callable
from pathlib import Path

import pytest

from factory import doctor
from factory.config import PRESETS
from factory.doctor import diagnose
from factory.run import Run

MakeRun = Callable[..., Run]


def by_subject(findings: list[doctor.Diagnosis]) -> dict[str, doctor.Diagnosis]:
    return {found.subject: found for found in findings}


def test_a_machine_that_can_build_has_nothing_bad() -> None:
    assert [found for found in diagnose(PRESETS["tiny"], 1) if found.level == "bad"] == []


def test_a_disk_that_is_too_small_is_bad() -> None:
    assert by_subject(diagnose(PRESETS["hires"], 10**9))["disk"].level == "bad"


def test_a_missing_package_is_bad_and_an_optional_one_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    found = by_subject(diagnose(PRESETS["tiny"], 1))
    assert (found["zarr"].level, found["ray"].level) == ("bad", "note")


def test_factory_boy_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "3.3")
    assert by_subject(diagnose(PRESETS["tiny"], 1))["factory_boy"].level == "bad"


def test_nnunet_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path))
    assert by_subject(diagnose(PRESETS["tiny"], 1))["nnU-Net folders"].level == "ok"
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "none"))
    assert "nnUNet_raw" in by_subject(diagnose(PRESETS["tiny"], 1))["nnU-Net folders"].message


def test_a_dataset_in_use_and_one_without_its_arrays(toy_run: MakeRun) -> None:
    run = toy_run(2)
    list(run)
    root = run.dataset.root
    found = by_subject(diagnose(PRESETS["tiny"], 1, root))
    assert "2 accepted" in found["dataset"].message
    assert found["lock"].message == "free"
    with run.dataset.lock():
        assert by_subject(diagnose(PRESETS["tiny"], 1, root))["lock"].level == "note"
    case_id = run.dataset.accepted()[0].case_id
    (root / "cases" / case_id).rename(root / "cases" / "elsewhere")
    assert case_id in by_subject(diagnose(PRESETS["tiny"], 1, root))["arrays"].message


def test_no_dataset_is_bad(tmp_path: Path) -> None:
    assert by_subject(diagnose(PRESETS["tiny"], 1, tmp_path))["dataset"].level == "bad"
