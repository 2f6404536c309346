"""The ablation: what each arm trains of its own, resuming, and what its table says; commands are played by a stand-in."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from downstream.ablation import study
from downstream.ablation.arms import ARMS, FULL, chosen_arms
from downstream.ablation.measure import Measured, Measuring
from downstream.ablation.plan import Inputs, Options, check_inputs, parse_steps, plan
from downstream.ablation.report import AblationReport, write_report
from downstream.ablation.study import Ablation, ablate
from downstream.cli import bench_app
from downstream.results import Result, Results
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError, LocationError, UnknownNameError, WorkerError

ARMS_HERE = (FULL, "no-hdr", "text-only", "steps-4")


@pytest.fixture
def inputs(measured_boxes) -> Inputs:
    train, held_out = (Dataset.open(measured_boxes(name, "synthetic", 6)) for name in ("train", "held"))
    held_out.prompts_path.write_bytes(b"prompts")
    return Inputs(train, held_out)


class Stand:
    """Plays `factory`: leaves what each command would, notes it, and fails once where it is told to."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs, self.done, self.broken = inputs, [], ""

    def __call__(self, module: str, arguments: Sequence[str], *_: object) -> None:
        out = Path(arguments[arguments.index("--out") + 1])
        name = f"{out.parent.name}/{out.name}"
        if name == self.broken:
            self.broken = ""
            out.mkdir(exist_ok=True)
            raise WorkerError(module, got="exit 1", need="exit 0", do="Read the log.")
        self.done.append(name)
        if arguments[0] == "build":
            shutil.copytree(self.inputs.held_out.root, out)
        elif arguments[1] == "errors":
            worse = 10.0 if "no-hdr" in out.name else 0.0
            rows = [{"case_id": f"c{i}", "error_lung_hu": 20.0 + i + worse, "error_lesion_hu": None} for i in range(6)]
            out.write_text(json.dumps(rows))
        else:
            out.mkdir(exist_ok=arguments[1] != "pack")


@pytest.fixture
def stand(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> Stand:
    found = Stand(inputs)
    monkeypatch.setattr(study, "run_module", found)
    return found


OPTIONS = Options(ARMS_HERE, n=6)


def test_arms_share_what_they_have_in_common(inputs: Inputs, tmp_path: Path) -> None:
    steps = plan(inputs, OPTIONS, tmp_path / "out")
    names = [step.name for step in steps]
    assert len(names) == len(set(names))
    assert [name for name in names if name.startswith("runs/")] == [
        "runs/masks",
        "runs/autoencoder",
        "runs/latents",
        "runs/autoencoder-no-hdr",
        "runs/latents-no-hdr",
        "runs/autoencoder-no-pyramid",
        "runs/latents-no-masks-no-pyramid",
    ]
    assert {"data/full-masks", "data/steps-4-masks", "data/no-hdr-images"} < set(names)
    assert "data/no-hdr-masks" not in names
    text_only = next(step for step in steps if step.name == "runs/latents-no-masks-no-pyramid")
    assert text_only.arguments[text_only.arguments.index("--autoencoder") + 1].endswith("runs/autoencoder-no-pyramid")


def test_a_key_changes_with_all_that_a_step_builds_on_and_not_with_its_place(inputs: Inputs, tmp_path: Path) -> None:
    keys, moved, longer = (
        {step.name: step.key for step in plan(inputs, options, tmp_path / place)}
        for options, place in (
            (OPTIONS, "a"),
            (OPTIONS, "b"),
            (Options(ARMS_HERE, n=6, steps=parse_steps("5, 6,7")), "a"),
        )
    )
    assert keys == moved
    assert not set(keys.values()) & set(longer.values())
    other_n = {step.name: step.key for step in plan(inputs, Options(ARMS_HERE, n=5), tmp_path / "a")}
    changed = {name for name, key in keys.items() if other_n[name] != key}
    assert changed == {name for name in keys if name.startswith("data/")}


def test_packed_weights_stand_for_trainings_without_switches(inputs: Inputs, tmp_path: Path) -> None:
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "package.json").write_text("{}")
    here, there = (Options(ARMS_HERE, n=6, weights=tmp_path / place) for place in ("here", "there"))
    check_inputs(inputs.train.root, inputs.held_out.root, here)
    steps = {step.name: step for step in plan(inputs, here, tmp_path / "out")}
    assert [name for name in steps if name.startswith("runs/")] == [
        "runs/autoencoder-no-hdr",
        "runs/latents-no-hdr",
        "runs/autoencoder-no-pyramid",
        "runs/latents-no-masks-no-pyramid",
    ]
    packed, out = str(tmp_path / "here"), str(tmp_path / "out")
    assert steps["weights/full"].arguments[2:4] == (packed, "--out")
    assert steps["weights/no-hdr"].arguments[2:5] == (
        packed,
        f"{out}/runs/autoencoder-no-hdr",
        f"{out}/runs/latents-no-hdr",
    )
    moved = {step.name: step.key for step in plan(inputs, there, tmp_path / "out")}
    assert moved == {name: step.key for name, step in steps.items()}
    (tmp_path / "there" / "package.json").write_text('{"other": 1}')
    other = {step.name: step.key for step in plan(inputs, there, tmp_path / "out")}
    same = {name for name, key in moved.items() if other[name] == key}
    assert same == {name for name in moved if name.startswith("runs/")}
    with pytest.raises(LocationError, match=r"no package\.json"):
        check_inputs(inputs.train.root, inputs.held_out.root, Options(ARMS_HERE, n=6, weights=tmp_path))


def test_an_ablation_goes_on_where_it_stopped(inputs: Inputs, stand: Stand, tmp_path: Path) -> None:
    stand.broken = "weights/no-hdr"
    out = tmp_path / "out"
    with pytest.raises(WorkerError):
        ablate(inputs, OPTIONS, out, Measuring(resamples=5))
    before = list(stand.done)
    found = ablate(inputs, OPTIONS, out, Measuring(resamples=5))
    assert not set(before) & set(stand.done[len(before) :])
    assert found.arms.keys() == set(ARMS_HERE)
    total = len(stand.done)
    again = ablate(inputs, OPTIONS, out, Measuring(resamples=5))
    assert len(stand.done) == total
    assert [repr(one.cases.rows) for one in again.arms.values()] == [
        repr(one.cases.rows) for one in found.arms.values()
    ]
    assert again.arms[FULL].sets.keys() == found.arms[FULL].sets.keys() != set()
    report, text = write_report(again)
    effect = report.effects["no-hdr"]["error lung, HU"].comparison.difference
    assert (effect.mean, effect.n) == (10.0, 6)
    assert "| no HDR | error lung, HU | +10.0 (+10.0 to +10.0) |" in text
    assert text.count("ours, ") == 0  # no accuracy was measured: the paper's table has no row of ours
    assert json.loads((out / "results.json").read_text())["bench"] == "ablation"


def _made(values: dict[str, dict[str, float]]) -> Ablation:
    """Arms with accuracies of prompts, by name."""
    arms = {
        name: Measured(Results([Result(case, "sex", "accuracy", value, name) for case, value in rows.items()]))
        for name, rows in values.items()
    }
    facts = {"options": {"n": 2, "preset": "tiny"}, "train_cases": 9}
    return Ablation(Path(), arms, facts)


def test_the_paper_table_gets_a_row_of_each_arm(tmp_path: Path) -> None:
    found = _made({"full": {"a": 1.0, "b": 1.0}, "mask-only": {"a": 0.0, "b": 1.0}, "steps-4": {}})
    _, text = write_report(Ablation(tmp_path, found.arms, found.facts))
    rows = [line for line in text.splitlines() if line.startswith("| ours, ")]
    assert [row.split("|")[1].strip() for row in rows] == ["ours, full", "ours, no text"]
    assert rows[1].split("|")[3:7] == ["  ", "  ", "  ", " 0.50 (0.00 to 1.00) "]
    table = AblationReport(found).table().splitlines()
    assert table[-1] == "| 4 steps |  |"


def test_options_that_no_ablation_could_follow(inputs: Inputs, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="no-such"):
        chosen_arms("full,no-such")
    with pytest.raises(InvalidValueError, match="full among them"):
        chosen_arms("no-hdr")
    assert chosen_arms("no-hdr, full") == (FULL, "no-hdr")
    assert chosen_arms("all") == tuple(ARMS)
    for text in ("1,2", "1,2,x", "0,1,1"):
        with pytest.raises(InvalidValueError, match="--steps"):
            parse_steps(text)
    roots = inputs.train.root, inputs.held_out.root
    with pytest.raises(InvalidValueError, match="6 cases in both"):
        check_inputs(roots[0], roots[0], OPTIONS)
    with pytest.raises(InvalidValueError, match="6 held-out cases for --n 7"):
        check_inputs(*roots, Options(ARMS_HERE, n=7))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(LocationError, match="something else"):
        ablate(inputs, OPTIONS, tmp_path / "mine", Measuring())


def test_a_dry_run_says_what_it_would_cost_and_writes_nothing(inputs: Inputs, tmp_path: Path) -> None:
    words = ["ablation", "--train", inputs.train.root, "--held-out", inputs.held_out.root, "--out", tmp_path / "out"]
    words += ["--arms", "full,no-hdr", "--n", "6", "--dry-run"]
    done = CliRunner().invoke(bench_app, [*map(str, words), "--json"], catch_exceptions=False)
    costs = json.loads(done.stdout)
    assert len(costs["steps"]) == 12
    assert costs["left_s"] > 0 == costs["unknown"]
    assert not (tmp_path / "out").exists()
    text = CliRunner().invoke(bench_app, [*map(str, words), "--preset", "full"], catch_exceptions=False).stdout
    assert "12 of 12 steps to do: 0.0 min, and 12 steps of unknown cost" in text
