"""Usability studies: refusals before hours are spent, arms, a scripted trainer, and, slowly, nnU-Net killed at every step."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import downstream.usability.study as study_module
from downstream.nnunet_plan import PLANS_NAME
from downstream.results import Result, Results
from downstream.steps import Steps
from downstream.tables.paper import paper_tables
from downstream.tasks import Ended, Task, in_turn, side_by_side
from downstream.usability.arms import Arm, arms_of, ranked, trainings
from downstream.usability.costs import study_costs
from downstream.usability.curve import curves, draw_curve
from downstream.usability.inputs import check_inputs
from downstream.usability.options import UsabilityOptions, parse_sizes
from downstream.usability.plans import PLANS
from downstream.usability.pool import PRODUCTS, missing_cases, plan_key
from downstream.usability.report import write_report
from downstream.usability.study import check_work_folder, study
from downstream.usability.work import Job, pool_folder, training_folder
from manifests.errors import InputError, InvalidValueError, LocationError, UnknownNameError, WorkerError

ROOT = Path(__file__).parents[2]
OPTIONS = UsabilityOptions(plan="tiny", scheme="kits", sizes=(0, 2, 4), seeds=2, workers=1, may_lack=("cyst",))


@pytest.fixture
def pair(measured_boxes):
    return measured_boxes("real", "real", 10), measured_boxes("made", "synthetic", 5)


@given(st.sets(st.text("abcdef", min_size=3, max_size=6), min_size=12), st.integers(1, 6))
def test_smaller_arms_are_parts_of_larger_ones(cases, size):
    order = ranked(list(cases))
    assert ranked(list(reversed(order))) == order
    small, large = (set(Arm("synthetic", n).cases(["r"], order)) for n in (size, 2 * size))
    assert len(small) == size
    assert small < large
    assert set(Arm("real+synthetic", size).cases(["r"], order)) == small | {"r"}


def test_size_nought_of_the_mixture_is_real_alone():
    assert arms_of(("real+synthetic",), (0, 5)) == (Arm("real", 0), Arm("real+synthetic", 5))
    assert arms_of(("synthetic",), (0, 5)) == (Arm("synthetic", 5),)
    assert arms_of(("real",), (0,)) == (Arm("real", 0),)


def test_trainings_end_with_a_whole_table_after_each_seed():
    sides = [(("a", "b"), ("t",)), (("a", "t"), ("b",))]
    planned = trainings(arms_of(("real", "synthetic"), (1,)), sides, ("s",), 2)
    assert [one.seed for one in planned] == [0] * 4 + [1] * 4
    assert len({one.name for one in planned}) == 8
    assert all(not {*one.train} & {*one.test} for one in planned)
    assert all("s" not in one.test for one in planned)


@pytest.mark.parametrize("text", ["", "1,x", "5,5", "-1", "1.5"])
def test_sizes_are_whole_numbers_once(text):
    assert parse_sizes("0, 100,200") == (0, 100, 200)
    with pytest.raises(InvalidValueError, match="--sizes"):
        parse_sizes(text)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"plan": "huge"}, UnknownNameError, "--plan"),
        ({"scheme": "kits99"}, UnknownNameError, "label scheme"),
        ({"scheme": "kits", "may_lack": ()}, InvalidValueError, "no cyst in any of 2"),
        ({"scheme": "maisi132", "may_lack": ()}, InvalidValueError, "without gaps"),
        ({"kinds": ("real", "fake")}, UnknownNameError, "'fake'"),
        ({"sizes": (0,)}, InvalidValueError, "no size above 0"),
        ({"sizes": (0, 6)}, InvalidValueError, "got 5 cases; need 6"),
        ({"device": "tpu"}, UnknownNameError, "--device"),
        ({"plan_on": "synthetic", "kinds": ("real",)}, InvalidValueError, "--plan-on"),
        ({"may_lack": ("spleen",)}, UnknownNameError, "--may-lack"),
        ({"seeds": 0}, InvalidValueError, "--seeds"),
        ({"folds": 99}, InvalidValueError, "99 for 10 cases"),
        ({"stand_in": True}, InvalidValueError, "got real scans"),
        ({"protocol": "btcv"}, InputError, "btcv"),
    ],
)
def test_what_cannot_work_is_refused(pair, changes, error, words):
    with pytest.raises(error, match=words):
        check_inputs(*pair, replace(OPTIONS, **changes))


def test_datasets_that_cannot_serve_are_refused_and_nothing_is_written(pair, measured_boxes, tmp_path):
    real, made = pair
    for places, words in (
        ((tmp_path / "nowhere", made), "dataset"),
        ((made, real), "a generated dataset"),
        ((real, None), "--synthetic: got nothing"),
        ((real, real), "got real scans"),
        ((real, measured_boxes("empty", "synthetic", 0)), "no accepted case"),
        (
            (real, measured_boxes("leaky", "synthetic", 10, patients="real")),
            "training cases that show what is held out",
        ),
    ):
        with pytest.raises(InputError, match=words):
            study((*places, tmp_path / "out"), replace(OPTIONS, sizes=(0, 2)))
    assert not (tmp_path / "out").exists()
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(LocationError, match="something else"):
        check_work_folder(tmp_path)


def test_voxels_too_coarse_for_the_plan_are_refused(pair, monkeypatch):
    monkeypatch.setattr("downstream.usability.inputs.COARSER", 0.5)  # the boxes have 5 mm, the plan 6
    with pytest.raises(InvalidValueError, match="voxels of 5 mm"):
        check_inputs(*pair, OPTIONS)


def test_every_plan_says_what_the_trainer_needs():
    for plan in PLANS.values():
        assert plan.size["iterations"] > 0
        assert plan.planner in ("ExperimentPlanner", "nnUNetPlannerResEncM", "nnUNetPlannerResEncL")
        assert bool(plan.size["features"]) == bool(plan.size["spacing_mm"])
        halvings = len(plan.size["features"]) - 1 + plan.size["folded"]
        assert not any(n % 2**halvings for n in plan.size["patch_zyx"])
        assert len(plan.size["convolutions"]) == len(plan.size["features"])


def test_a_dry_run_counts_what_is_left(pair, tmp_path, monkeypatch):
    monkeypatch.setattr("downstream.usability.costs.measured_step_s", lambda *_: 0.5)
    costs = study_costs(check_inputs(*pair, OPTIONS), OPTIONS, tmp_path / "out")
    assert (costs.trainings, costs.finished) == (10, 0)
    assert costs.arms["real+synthetic:4"] == (12, 2)
    assert costs.seconds["train"] > 10 * PLANS["tiny"].size["iterations"] * 0.5
    assert costs.memory_gb == pytest.approx(12 * 22 * 18 * 26 * 70 / 216 * 3e-9)
    assert not (tmp_path / "out").exists()


DICE = {"real": 0.8, "real+synthetic:2": 0.85}


class Script:
    """Stands in for the processes of a study: leaves what they would leave, notes what is started, fails what is named."""

    def __init__(self):
        self.started, self.failing = [], set()

    def __call__(self, tasks, tell):
        for task in tasks:
            out, step, what = Path(task.arguments[0]), *task.arguments[1:]
            self.started.append(f"{step} {what}")
            if what in self.failing:
                yield Ended(task, "out of memory")
                continue
            job = Job.read(out)
            self.prepare(job, int(what)) if step == "prepare" else self.train(job, what)
            yield Ended(task)

    def starts(self):
        found, self.started = self.started, []
        return found

    def prepare(self, job, fold):
        folder = pool_folder(job.out, fold)
        folder.mkdir(parents=True, exist_ok=True)
        steps = Steps(folder, PRODUCTS)
        steps.done("plan", plan_key(job, fold))
        plan = {"configurations": {"3d_fullres": {"spacing": [6, 6, 6]}}, "on": job.data["folds"][fold]["plan_cases"]}
        (folder / f"{PLANS_NAME}.json").write_text(json.dumps(plan))
        steps.finish("plan", plan_key(job, fold))
        for case in missing_cases(job, fold):
            (folder / "sources" / case).write_text(job.data["sources"][case])

    def train(self, job, name):
        training, folder = job.data["trainings"][name], training_folder(job.out, name)
        steps, keys = Steps(folder, dict.fromkeys(("train", "predict", "score"), ("scores",))), job.keys(name)
        for step in ("train", "predict", "score"):
            steps.done(step, keys[step])
            steps.finish(step, keys[step])
        for number, case in enumerate(training["test"]):
            dice = DICE[training["arm"]] + 0.01 * number + 0.001 * training["seed"]
            rows = [("dice", dice), ("nsd", dice), ("hd95_mm", 10.0), ("paper_dice", dice), ("paper_hd95_voxels", 2.0)]
            scores = [
                Result(case, "kidney", metric, value, training["arm"], training["seed"]) for metric, value in rows
            ]
            Results(scores).write(folder / "scores" / f"{case}.csv")


def test_a_study_goes_on_where_it_failed_and_ends_in_tables(pair, tmp_path, monkeypatch):
    monkeypatch.setattr(study_module, "in_turn", script := Script())
    out, real, both = tmp_path / "out", "fold0-real-seed0", "fold0-real+synthetic-2-seed0"
    options = replace(OPTIONS, kinds=("real", "real+synthetic"), sizes=(0, 2), seeds=1)
    script.failing = {real, both}
    with pytest.raises(WorkerError, match="out of memory"):
        study((pair[0], None, out), replace(options, kinds=("real",), sizes=(0,)), script)
    assert script.starts() == ["prepare 0", f"train {real}"]
    script.failing = {both}
    part = study((*pair, out), options, script)
    assert script.starts() == ["prepare 0", f"train {real}", f"train {both}"], "the cases of the new arm are prepared"
    assert list(part.failed) == [both]
    assert {row.arm for row in part.scores} == {"real"}
    script.failing = set()
    done = study((*pair, out), options, script)
    assert script.starts() == [f"train {both}"], "what is finished stays"
    assert {row.arm for row in done.scores} == {"real", "real+synthetic:2"}
    report = write_report(done)
    assert "| real+synthetic:2 | 10 | 1 | 0.8" in report.table()
    saved = json.loads((out / "results.json").read_text())
    assert (saved["bench"], saved["arms"]["real"], saved["failed"]) == ("usability", {"train": 8, "test": 2}, {})
    assert Results.read(out / "scores.csv").rows == done.scores.rows
    (contrast,) = [one for one in report.contrasts if (one.structure, one.metric) == ("all", "dice")]
    assert contrast.comparison.difference.mean == pytest.approx(0.05)
    assert [size for size, _ in curves(done.scores)["real+synthetic"]] == [0, 2]
    assert draw_curve(done.scores, out / "figures" / "curve.png", "t").stat().st_size > 5000
    table = next(table for table in paper_tables([out]) if table.key == "downstream-sweep")
    assert [len(row.cells) for row in table.rows] == [6, 6], "sizes 0, 2, 100, 200, 500, 1000"


def toy_tasks(folder):
    """One process that ends well and one that does not."""
    modules = (("good", "this"), ("bad", "nothing"))
    return [Task(name, module, (), (("TOY", "1"),), folder / f"{name}.txt") for name, module in modules]


def test_a_task_that_fails_does_not_stop_the_others(tmp_path):
    ended = {one.task.name: one.error for one in in_turn(toy_tasks(tmp_path)[::-1], lambda *_: None)}
    assert not ended["good"]
    assert "nothing" in ended["bad"]
    assert "Namespaces are one honking great idea" in (tmp_path / "good.txt").read_text()


@pytest.mark.ray
def test_tasks_side_by_side_end_like_those_in_turn(tmp_path):
    pytest.importorskip("ray")
    from factory.cli import _spread

    ended = {
        one.task.name: one.error for one in side_by_side(_spread, 2, gpus=False)(toy_tasks(tmp_path), lambda *_: None)
    }
    assert ended == {one.task.name: one.error for one in in_turn(toy_tasks(tmp_path), lambda *_: None)}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_at_every_step_it_ends_with_the_same_scores(pair, tmp_path, workers_end):
    def start(out):
        command = [
            *(sys.executable, "-m", "factory.cli", "bench", "usability", "--real", str(pair[0]), "--out", str(out))
        ]
        command += [*("--synthetic", str(pair[1]), "--plan", "tiny", "--scheme", "kits", "--may-lack", "cyst")]
        command += [*("--sizes", "0,4", "--arms", "real,real+synthetic", "--seeds", "1", "--iterations", "50")]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    out = tmp_path / "killed"
    moments = ("raw/*/export.jsonl", "preprocessed/*/dataset_fingerprint.json", "preprocessed/*/sources/*")
    moments += ("trainings/*/results/**/checkpoint_latest.pth", "trainings/*/predictions/*.nii.gz")
    moments += ("trainings/*real-seed0/steps/score.done", "trainings/*+*/results/**/checkpoint_latest.pth")
    kept = None
    for moment in moments:
        process = start(out)
        while not list(out.glob(moment)) and process.poll() is None:
            time.sleep(0.05)
        assert process.poll() is None, process.communicate()[1]
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        assert workers_end(out), "they are told by the pipe that closes"
        finished = list(out.glob("trainings/*real-seed0/steps/score.done"))
        assert not kept or finished[0].stat().st_mtime_ns == kept, "a finished arm is not lost"
        kept = finished[0].stat().st_mtime_ns if finished else None
    for place in (out, tmp_path / "whole"):
        process = start(place)
        assert process.communicate()[1] is not None
        assert process.returncode == 0
    assert (out / "scores.csv").read_bytes() == (tmp_path / "whole" / "scores.csv").read_bytes()
    facts = json.loads((out / "results.json").read_text())["facts"]
    assert len(set(facts["plan_hashes"])) == 1
    assert facts["nnunetv2"].startswith("2.")
