"""nnU-Net on an export: refusals before hours are spent, and, slowly, a real training."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from downstream.export_nnunet import ExportOptions, export
from downstream.metrics import CaseScore
from downstream.nnunet import NnunetOptions, NnunetResult, run_nnunet
from manifests.errors import InvalidValueError, LocationError, UnknownNameError, WorkerError

KITS = ExportOptions(id="501", name="Boxes", scheme="kits", folds=2, workers=2, verify=False)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"plan": "huge"}, UnknownNameError),
        ({"device": "tpu"}, UnknownNameError),
        ({"fold": 2}, InvalidValueError),
        ({"fold": -1}, InvalidValueError),
        ({"iterations": 0}, InvalidValueError),
        ({"seed": -1}, InvalidValueError),
    ],
)
def test_bad_options_are_refused_before_anything_is_written(box_dataset, tmp_path, changes, error):
    folder = export(box_dataset(4), tmp_path / "raw", KITS).folder
    with pytest.raises(error):
        run_nnunet(folder, tmp_path / "out", NnunetOptions(**changes))
    assert not (tmp_path / "out").exists()


def test_no_export_and_a_foreign_work_folder_are_refused(box_dataset, tmp_path):
    with pytest.raises(LocationError, match=r"no dataset\.json"):
        run_nnunet(tmp_path, tmp_path / "out", NnunetOptions())
    folder = export(box_dataset(4), tmp_path / "raw", KITS).folder
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(LocationError, match="something else"):
        run_nnunet(folder, out, NnunetOptions())
    assert [path.name for path in out.iterdir()] == ["thesis.tex"]


def test_a_failing_job_is_reported_with_its_last_line(box_dataset, tmp_path):
    pytest.importorskip("nnunetv2")
    folder = export(box_dataset(4), tmp_path / "raw", KITS).folder
    (folder / "dataset.json").write_text("[]")
    with pytest.raises(WorkerError, match=r"exit 1: \w+Error: .*; need exit 0\. Read .*log\.txt"):
        run_nnunet(folder, tmp_path / "out", NnunetOptions())
    assert "Traceback" in (tmp_path / "out" / "log.txt").read_text()


def test_results_say_null_where_nothing_is_defined():
    scores = (CaseScore("a", "kidney", 0.5, 9, 9), CaseScore("a", "cyst", math.nan, 0, 0))
    data = NnunetResult("Dataset501_Boxes", NnunetOptions(), scores, {}).to_json()
    text = json.dumps(data, allow_nan=False)
    assert json.loads(text)["cases"][1]["dice"] is None
    assert (data["mean_dice"], data["mean_over_labels"]) == (0.5, 1)


@pytest.mark.slow
def test_an_interruption_ends_every_process_of_the_job(box_dataset, tmp_path, workers_end):
    folder = export(box_dataset(4), tmp_path / "raw", KITS).folder

    def stop(stage, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_nnunet(folder, tmp_path / "out", NnunetOptions(), stop)
    assert workers_end(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_real_nnunet_segments_the_cases_that_were_held_out(box_dataset, tmp_path):
    folder = export(box_dataset(6), tmp_path / "raw", KITS).folder
    command = [
        *(sys.executable, "-m", "factory.cli", "bench", "nnunet", str(folder)),
        *("--out", str(tmp_path / "run"), "--plan", "tiny", "--iterations", "200", "--workers", "1", "--json"),
    ]
    run = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    result = json.loads(run.stdout)
    split = json.loads((folder / "splits_final.json").read_text())[0]
    assert {row["case_id"] for row in result["cases"]} == set(split["val"])
    assert result["facts"]["train"] == split["train"]
    labels = {row["label"]: row for row in result["labels"]}
    assert labels["kidney"]["dice_mean"] > 0.8
    assert labels["cyst"]["absent"] + labels["cyst"]["false_alarms"] == len(split["val"]), "no case has one"
    assert json.loads((tmp_path / "run" / "results.json").read_text()) == result
    assert np.isfinite(result["mean_dice"])
