import json
import shutil

import pytest
from typer.testing import CliRunner

from manifests.cli import app
from manifests.dataset import Dataset, DatasetSpec
from manifests.errors import LocationError
from manifests.testing import example_arrays, example_record

runner = CliRunner()


@pytest.fixture
def dataset(tmp_path):
    made = Dataset.create(tmp_path / "ds", DatasetSpec(kind="synthetic", mask_model={"name": "example"}))
    for index in range(2):
        made.save(example_record(index), example_arrays(index))
    made.publish(example_record(2, status="rejected"))
    made.compact()
    return made


def run(*arguments):
    return runner.invoke(app, [str(argument) for argument in arguments])


def test_check_of_an_intact_dataset(dataset):
    result = run("check", dataset.root)
    assert result.exit_code == 0
    assert "every promise is kept" in result.stdout
    assert json.loads(run("check", dataset.root, "--json").stdout) == {"ok": True, "findings": [], "removed": []}


def test_check_names_the_fault(dataset):
    record = dataset.accepted()[0]
    (dataset.case_path(record) / "0/c/0/0/0").unlink()
    result = run("check", dataset.root, "--fast")
    assert result.exit_code == 1
    assert "file-missing" in result.stdout
    assert record.case_id in result.stdout
    as_json = run("check", dataset.root, "--json")
    assert as_json.exit_code == 1
    (finding,) = json.loads(as_json.stdout)["findings"]
    assert finding["code"] == "file-missing"


def test_gc_removes_and_then_checks(dataset):
    case = dataset.case_path(dataset.accepted()[0])
    shutil.copytree(case, case.with_name("killed.ome.zarr"))
    assert run("check", dataset.root).exit_code == 1
    result = run("check", dataset.root, "--gc")
    assert result.exit_code == 0
    assert "removed cases/" in result.stdout
    assert not case.with_name("killed.ome.zarr").exists()


def test_info_counts_what_is_there(dataset):
    facts = json.loads(run("info", dataset.root, "--json").stdout)
    assert facts["cases"] == {"accepted": 2, "rejected": 1}
    assert facts["stored_bytes"] == sum(record.stored_bytes for record in dataset.accepted())
    assert facts["voxels"] == 2 * 20 * 16 * 18
    assert facts["attributes"]["lesions"] == {"liver": 2}
    assert facts["reasons"] == {"liver volume 12 ml below 600 ml": 1}
    assert facts["spec_id"] == dataset.spec.spec_id
    text = run("info", dataset.root).stdout
    assert "2 accepted, 1 rejected" in text
    assert "liver volume 12 ml" in text


def test_info_of_an_empty_dataset(tmp_path):
    Dataset.create(tmp_path, DatasetSpec(kind="real"))
    assert "none yet" in run("info", tmp_path).stdout


def test_card_is_written(dataset):
    assert run("card", dataset.root).exit_code == 0
    assert (dataset.root / "README.md").stat().st_size > 0


@pytest.mark.parametrize("command", ["check", "info", "card"])
def test_no_dataset_is_bad_input(tmp_path, command):
    assert isinstance(run(command, tmp_path).exception, LocationError)
