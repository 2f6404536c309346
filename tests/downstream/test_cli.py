"""The commands: what they print, with which status they end, and what they leave behind."""

import json

import pytest

from factory.cli import main


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return ended.value.code, printed.out, printed.err


def test_export_prints_a_summary_or_one_json_object(box_dataset, tmp_path, capsys):
    dataset = box_dataset(4).root
    options = ("--id", "501", "--name", "Boxes", "--scheme", "kits", "--out", tmp_path / "raw", "--no-verify")
    status, out, _ = run(capsys, "export", "nnunet", dataset, *options)
    assert status == 0
    assert "4 cases (4 written, 0 kept)" in out
    assert "warning: no case holds cyst" in out
    status, out, _ = run(capsys, "export", "nnunet", dataset, *options, "--json")
    summary = json.loads(out)
    assert status == 0
    assert (summary["kept"], summary["cases_with"]) == (4, {"kidney": 4, "tumour": 3, "cyst": 0})


@pytest.mark.parametrize(
    "changes",
    [("--id", "7"), ("--name", "a/b"), ("--scheme", "nonsense"), ("--folds", "7"), ("--id", "501x")],
)
def test_bad_input_is_one_error_with_status_2_and_no_trace(box_dataset, tmp_path, capsys, changes):
    options = {"--id": "501", "--name": "Boxes", "--scheme": "kits", "--out": str(tmp_path / "raw")} | dict([changes])
    status, out, err = run(capsys, "export", "nnunet", box_dataset(3).root, *sum(options.items(), ()))
    assert status == 2
    assert out == ""
    assert err.count("error:") == 1
    assert "need" in err
    assert not (tmp_path / "raw").exists()


def test_no_dataset_is_refused(tmp_path, capsys):
    status, _, err = run(capsys, "view", tmp_path / "nothing")
    assert status == 2
    assert "error:" in err
    assert list(tmp_path.iterdir()) == []


def test_view_draws_beside_the_dataset(box_dataset, capsys):
    root = box_dataset(3).root
    status, out, _ = run(capsys, "view", root, "--n", 2)
    assert status == 0
    assert "2 cases" in out
    assert {path.name for path in (root.parent / "boxes-view").iterdir()} == {"index.html", "contact_sheet.png"}
    status, out, _ = run(capsys, "view", root, "--out", root.parent / "there", "--json")
    assert (status, json.loads(out)["cases"]) == (0, 3)


def test_bench_refuses_what_is_no_export(tmp_path, capsys):
    status, _, err = run(capsys, "bench", "nnunet", tmp_path, "--out", tmp_path / "out")
    assert status == 2
    assert "factory export nnunet" in err
