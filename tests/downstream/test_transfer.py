"""Transfer from synthetic to real: refusals before hours are spent, what is scored, and, slowly, kills at every step."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from downstream.nnunet_plan import plan_for
from downstream.results import Result, Results
from downstream.steps import alone
from downstream.transfer import TransferOptions, check_target, check_work_folder, transfer
from downstream.transfer import parse_exclusions as parse
from downstream.transfer_costs import transfer_costs
from downstream.transfer_figures import slice_dice
from downstream.transfer_plans import PLANS, member_seed
from downstream.transfer_scores import REAL, SYNTHETIC, Scoring, score_arms
from downstream.transfer_tables import rows_of
from downstream.whole_scan import keep_largest
from manifests.dataset import Dataset, DatasetSpec
from manifests.errors import BusyError, InputError, InvalidValueError, LocationError, UnknownNameError
from manifests.foreign import measure_structures
from manifests.nifti import write_nifti
from manifests.schemes import paint, scheme

ROOT = Path(__file__).parents[2]
TINY = TransferOptions(plan="tiny", scheme="btcv13", workers=1)


@pytest.fixture
def real_boxes(box_dataset, tmp_path):
    """Box cases as an ingest leaves them: of kind real, measured, each with its patient."""

    def build(cases, *, image=True):
        source = box_dataset(cases, "drawn")
        dataset = Dataset.create(tmp_path / "real", DatasetSpec(kind="real", prompts={"name": "boxes"}))
        for record in source.accepted():
            arrays = source.read(record.case_id)
            if not image:
                arrays = replace(arrays, ct=np.full_like(arrays.ct, -1024))
            measured = measure_structures(arrays.ct, arrays.anatomy, arrays.grid)
            changes = {"structures": measured, "patient_id": f"p{record.index}", "prompt_id": None}
            dataset.save(record.model_copy(update=changes), arrays)
        return dataset

    return build


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"plan": "huge"}, UnknownNameError, "--plan"),
        ({"scheme": "torso99"}, UnknownNameError, "label scheme"),
        ({"scheme": "msd-colon"}, InvalidValueError, "no accepted case with a structure"),
        ({"device": "tpu"}, UnknownNameError, "--device"),
        ({"iterations": 0}, InvalidValueError, "--iterations"),
        ({"members": 0}, InvalidValueError, "--members"),
        ({"workers": 0}, InvalidValueError, "--workers"),
        ({"tolerance_mm": float("nan")}, InvalidValueError, "--tolerance"),
        ({"exclude": (("nobody", "liver"),)}, UnknownNameError, "nobody:liver"),
    ],
)
def test_bad_options_are_refused(real_boxes, changes, error, words):
    with pytest.raises(error, match=words):
        check_target(real_boxes(2).root, replace(TINY, **changes))


def test_datasets_that_cannot_serve_are_refused_and_nothing_is_written(real_boxes, box_dataset, tmp_path):
    real, out = real_boxes(2).root, tmp_path / "out"
    with pytest.raises(LocationError, match=r"no dataset\.json"):
        transfer(box_dataset(6).root, tmp_path / "nowhere", out, TINY)
    with pytest.raises(InvalidValueError, match="a dataset of real scans"):
        transfer(real, real, out, TINY)
    with pytest.raises(InvalidValueError, match="too few prompts"):
        transfer(box_dataset(6, "one", prompts=2).root, real, out, TINY)
    assert not out.exists()


def test_scans_without_images_are_refused(real_boxes):
    with pytest.raises(InvalidValueError, match="labels without an image"):
        check_target(real_boxes(2, image=False).root, TINY)


def test_cases_drawn_from_a_patient_to_be_scored_are_refused(real_boxes, box_dataset, tmp_path):
    drawn = box_dataset(5, "free")
    leaky = Dataset.create(tmp_path / "leaky", DatasetSpec(kind="synthetic", prompts={"name": "boxes"}))
    for record in drawn.accepted():
        patient = {"patient_id": "p1"} if record.index == 4 else {}
        leaky.save(record.model_copy(update=patient), drawn.read(record.case_id))
    with pytest.raises(InvalidValueError, match="cases drawn from p1"):
        transfer(leaky.root, real_boxes(2).root, tmp_path / "out", TINY)
    assert not (tmp_path / "out").exists()


def test_a_foreign_or_busy_work_folder_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(LocationError, match="something else"):
        check_work_folder(tmp_path)
    (work := tmp_path / "work").mkdir()
    with alone(work, "a transfer"), pytest.raises(BusyError, match="a transfer at work"), alone(work, "a transfer"):
        pass
    check_work_folder(work)


@pytest.mark.parametrize("text", ["liver", ":liver", "case:"])
def test_an_exclusion_needs_case_and_label(text):
    assert parse(["a:b:liver"]) == (("a:b", "liver"),)
    with pytest.raises(InputError, match="CASE:LABEL"):
        parse([text])


def test_a_label_is_scored_only_where_its_reference_has_it(real_boxes, tmp_path):
    real, how = real_boxes(2), Scoring(scheme("torso24"), 3.0, ())
    first, second = (record.case_id for record in real.accepted())
    for case in (first, second):
        arrays, record = real.read(case), real.record(case)
        predicted = paint(arrays.anatomy, arrays.lesions, record.lesions, how.scheme)
        predicted[:2] = how.scheme.labels["liver"]  # there is no reference for it
        if case == second:
            predicted[predicted == how.scheme.labels["kidney_left"]] = 0
        path = tmp_path / "predictions" / REAL / f"{case}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(path, predicted, arrays.grid)
    targets = {REAL: {"dataset": str(real.root), "cases": [first, second]}}
    scores = score_arms(tmp_path, targets, how, lambda *_: None)
    assert {row.structure for row in scores} == {"kidney_left", "kidney_right"}
    assert scores.where(structure="kidney_left", metric="dice").by_case() == {first: 1.0, second: 0.0}
    assert scores.where(structure="kidney_right", metric="hd95_mm").by_case() == {first: 0.0, second: 0.0}
    left_out = replace(how, exclude=((second, "kidney_left"),))
    again = score_arms(tmp_path, targets, left_out, lambda *_: None)
    assert scores.where(structure="kidney_left", metric="dice").by_case()[first] == 1.0
    assert len(again.where(structure="kidney_left", metric="dice")) == 1


def test_whole_lungs_of_a_reference_meet_merged_lobes():
    labels, table = scheme("torso24").labels, scheme("torso24").structure_values()
    from manifests.anatomy import structure

    for lobe in ("lung_upper_lobe_left", "lung_lower_lobe_left", "lung_left"):
        assert table[structure(lobe).id] == labels["lung_left"]
    for segment in ("colon", "colon_sigmoid", "rectum"):
        assert table[structure(segment).id] == labels["colon"]


def test_rows_are_means_over_scans_in_the_order_of_the_scheme():
    rows = [Result("a", "spleen", "dice", 0.8, REAL), Result("b", "spleen", "dice", 0.6, REAL)]
    rows += [Result("a", "liver", "dice", 0.9, REAL), Result("s", "liver", "dice", 1.0, SYNTHETIC)]
    first, second = rows_of(Results(rows), ["liver", "heart", "spleen"])
    assert (first.label, first.dice.mean, first.synthetic_dice.mean) == ("liver", 0.9, 1.0)
    assert (second.label, second.dice.n) == ("spleen", 2)
    assert second.dice.mean == pytest.approx(0.7)


def test_small_pieces_go_to_the_next_best_label():
    logits = np.zeros((4, 3, 3, 12), np.float32)
    logits[1, :, :, :5] = logits[1, :, :, 8:10] = 2
    logits[2, :, :, 8:10] = 1
    logits[3, 0, 0, 11] = logits[3, 2, 2, 6] = 3
    keep_largest(logits, {"background": 0, "liver": 1, "spleen": 2, "colon": 3})
    best = logits.argmax(0)
    assert (best[:, :, :5] == 1).all()
    assert (best[:, :, 8:10] == 2).all()
    assert (best == 3).sum() == 2, "a colon may lie in pieces"
    assert np.isfinite(logits).all(), "or interpolation would spread it"


def test_a_lung_may_lie_in_large_pieces_alone():
    logits = np.zeros((2, 3, 3, 20), np.float32)
    logits[1, :, :, :8] = logits[1, :, :, 9:12] = 2
    logits[1, 0, 0, 15:18] = 2
    keep_largest(logits, {"background": 0, "lung_left": 1})
    assert (logits.argmax(0) == 1).sum() == 9 * 11, "air under the table is no lung"


def test_slices_are_ranked_where_the_reference_is_large():
    reference = np.zeros((4, 6, 6), np.uint8)
    reference[1, 1:5, 1:5], reference[2, 1:5, 1:5], reference[3, 0, 0] = 1, 2, 1
    predicted = reference.copy()
    predicted[2] = 1
    scores = slice_dice(predicted, reference, 0)
    assert scores[1] == 1.0
    assert scores[2] == 0.0
    assert np.isnan(scores[[0, 3]]).all()


@pytest.mark.parametrize("name", ["tiny", "nano"])
def test_a_plan_is_a_network_that_segments_its_patch(name):
    torch = pytest.importorskip("torch")
    plans = pytest.importorskip("nnunetv2.utilities.get_network_from_plans")
    size = PLANS[name].to_json()
    assert not any(n % 2 ** (len(size["features"]) - 1) for n in size["patch_zyx"])
    plan = plan_for({"configurations": {"2d": {}, "3d_fullres": {"architecture": _planned()}}}, size, {"seed": 0})
    parts = plan["configurations"]["3d_fullres"]["architecture"]
    network = plans.get_network_from_plans(
        parts["network_class_name"], parts["arch_kwargs"], parts["_kw_requires_import"], 1, 3, deep_supervision=False
    )
    with torch.no_grad():
        assert network(torch.zeros(1, 1, 32, 32, 32)).shape == (1, 3, 32, 32, 32)


def test_costs_follow_the_measured_step(real_boxes):
    pytest.importorskip("torch")
    costs = transfer_costs(TINY, real_boxes(2).root, 50)
    plan = PLANS["tiny"]
    assert costs.seconds["train"] == pytest.approx(plan.members * plan.iterations * costs.step_s)
    assert costs.seconds["build"] > 0
    assert "50 synthetic cases, 2 real scans" in str(costs)


def test_a_plan_gives_way_to_what_is_asked_for():
    assert PLANS["nano"].members == 1
    asked = TransferOptions(plan="nano", iterations=7, members=3).size()
    assert (asked["iterations"], asked["members"]) == (7, 3)
    assert asked | {"iterations": 10_000, "members": 1} == TransferOptions(plan="nano").size()


def test_no_two_trainings_share_a_seed():
    seeds = [member_seed(seed, 2, member) for seed in range(3) for member in range(2)]
    assert seeds == [*range(6)]


def _planned():
    return {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_killed_at_every_step_it_ends_with_the_same_scores(real_boxes, box_dataset, tmp_path, workers_end):
    real, drawn = real_boxes(2), box_dataset(8, "synthetic")

    def start(out, iterations="75"):
        command = [*(sys.executable, "-m", "factory.cli", "bench", "transfer", str(real.root), "--out", str(out))]
        command += [*("--synthetic", str(drawn.root), "--plan", "tiny", "--scheme", "btcv13")]
        command += ["--iterations", iterations]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    out = tmp_path / "killed"
    moments = ["raw/*/export.jsonl", "preprocessed/*/dataset_fingerprint.json", "results/**/checkpoint_latest.pth"]
    for moment in (*moments, "results/**/checkpoint_final.pth", "predictions/real/*.nii.gz", "scores/real/*.csv"):
        process = start(out)
        while not list(out.glob(moment)) and process.poll() is None:
            time.sleep(0.05)
        assert process.poll() is None, process.communicate()[1]
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert workers_end(out), "they are told by the pipe that closes"
    finished = [start(out), start(tmp_path / "whole")]
    for process in finished:
        message = process.communicate()[1]
        assert process.returncode == 0, message
    whole = tmp_path / "whole"
    losses = [path.read_text().splitlines() for path in out.glob("results/**/loss.csv")]
    assert len(losses) == 2
    assert all(len(lines) <= 3 for lines in losses), "a network that is finished is not trained again"
    assert (out / "scores.csv").read_bytes() == (whole / "scores.csv").read_bytes()
    result = json.loads((out / "results.json").read_text())
    assert {row["label"] for row in result["labels"]} == {"left kidney", "right kidney"}
    assert list((out / "figures").glob("*.png"))

    prepared = {path: path.stat().st_mtime_ns for path in out.glob("preprocessed/*/factoryPlans_3d_fullres/*")}
    process = start(out, iterations="50")
    message = process.communicate()[1]
    assert process.returncode == 0, message
    losses = [path.read_bytes().splitlines() for path in out.glob("results/**/loss.csv")]
    assert [len(lines) for lines in losses] == [2, 2], "both networks are trained anew, from the first step"
    assert losses[0] != losses[1], "from seeds of their own"
    assert prepared
    assert prepared == {path: path.stat().st_mtime_ns for path in prepared}, "preprocessing does not depend on steps"
