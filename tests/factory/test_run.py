"""Builds from config to report: resuming, extending, refusing, and accounting for every case."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from factory.config import BuildConfig, WorkerConfig
from factory.run import Run, build
from factory.testing import TOY_PRESET, Behaviour, toy_models
from manifests.dataset import Dataset
from manifests.errors import BusyError, FileFormatError, InvalidValueError, SpecMismatchError, StorageError
from manifests.identity import array_blake3
from manifests.validate import check

MakeRun = Callable[..., Run]


def drain(run: Run) -> list[str]:
    return [outcome.record.case_id for outcome in run]


def test_a_build_delivers_exactly_n_and_says_so(toy_run: MakeRun) -> None:
    run = toy_run(5, behaviour=Behaviour(rejected=0.4))
    made = drain(run)
    report = run.report()
    assert (report.accepted, report.requested, report.complete, report.ended) == (5, 5, True, "done")
    assert report.made + report.rejected + report.failed == len(made) > 5
    assert report.reasons == {"toy gate": report.rejected}
    assert report.stored_bytes == sum(one.stored_bytes or 0 for one in run.dataset.accepted())
    assert 0.5 < report.busy_fraction <= 1.0
    table = pq.read_table(run.dataset.manifest_path).to_pandas()
    assert len(table) == len(made)
    assert sorted(table[table["status"] == "accepted"]["index"]) == list(range(5))
    written = json.loads(next((run.dataset.root / "runs").glob("*.json")).read_text())
    assert written["accepted"] == 5
    assert check(run.dataset) == []


def test_stored_arrays_are_those_that_were_judged(toy_run: MakeRun) -> None:
    run = toy_run(1)
    drain(run)
    record = run.dataset.accepted()[0]
    arrays = run.dataset.read(record.case_id)
    request = run._plan.job(0).request()
    toys = toy_models()
    assert array_blake3(arrays.ct) == array_blake3(toys.images.render(request, toys.masks.draw(request)))


def test_the_same_command_resumes_and_a_larger_n_extends(toy_run: MakeRun) -> None:
    first = drain(toy_run(3))
    assert drain(toy_run(3)) == []
    more = drain(toy_run(5))
    assert len(more) == 2
    whole = toy_run(5, out="whole")
    assert sorted(drain(whole)) == sorted(first + more)
    assert [one.ct_blake3 for one in whole.dataset.accepted()] == [
        one.ct_blake3 for one in Dataset.open(whole.dataset.root.with_name("dataset")).accepted()
    ]


def test_rejection_keeps_the_prompts_of_the_slots(toy_run: MakeRun) -> None:
    run = toy_run(8, behaviour=Behaviour(rejected=0.5), candidates=12)
    drain(run)
    ages = [one.requested.age_years for one in run.dataset.accepted()]
    assert ages == [50, 51, 52, 53, 50, 51, 52, 53]


def test_spent_candidates_are_accounted_for_and_more_can_be_given(toy_run: MakeRun) -> None:
    stingy = toy_run(6, behaviour=Behaviour(rejected=0.6), candidates=1)
    drain(stingy)
    report = stingy.report()
    assert not report.complete
    assert report.accepted + len(report.unfilled) == 6
    assert {gap.reasons for gap in report.unfilled} == {("toy gate: drew a blank",)}
    generous = toy_run(6, behaviour=Behaviour(rejected=0.6), candidates=20)
    drain(generous)
    assert generous.report().complete


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"ages": (50, 51)}, {"behaviour": Behaviour(rejected=0.1)}, {"randomise": 0.5}]
)
def test_another_spec_is_refused_and_nothing_changes(toy_run: MakeRun, change: dict) -> None:
    run = toy_run(2)
    drain(run)
    before = {path: path.stat().st_mtime_ns for path in run.dataset.root.rglob("*")}
    with pytest.raises(SpecMismatchError):
        toy_run(2, **change)
    assert {path: path.stat().st_mtime_ns for path in run.dataset.root.rglob("*")} == before


def test_one_build_at_a_time(toy_run: MakeRun) -> None:
    run = toy_run(2)
    outcomes = iter(run)
    next(outcomes)
    with pytest.raises(BusyError):
        drain(toy_run(2))
    assert len(list(outcomes)) == 1


def test_a_full_disk_stops_the_run_and_it_resumes(toy_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    run = toy_run(4)
    save = Dataset.save

    def full(self: Dataset, record, arrays):
        if record.index == 2:
            raise StorageError("saving", got="No space left on device", need="room", do="Free space.")
        return save(self, record, arrays)

    monkeypatch.setattr(Dataset, "save", full)
    with pytest.raises(StorageError, match="No space left"):
        drain(run)
    report = run.report()
    assert (report.complete, report.made) == (False, 2)
    assert report.ended.startswith("StorageError")
    monkeypatch.undo()
    assert len(drain(toy_run(4))) == 2


def test_ctrl_c_leaves_a_manifest_and_a_report(toy_run: MakeRun) -> None:
    run = toy_run(4)
    outcomes = iter(run)
    next(outcomes)
    with pytest.raises(KeyboardInterrupt):
        outcomes.throw(KeyboardInterrupt)  # type: ignore[attr-defined]
    assert run.report().ended == "interrupted"
    assert pq.read_table(run.dataset.manifest_path).num_rows == 1
    assert len(drain(toy_run(4))) == 3


def test_bad_input_writes_nothing(tmp_path: Path) -> None:
    out, table = tmp_path / "out", tmp_path / "p.parquet"
    table.write_bytes(b"PAR1 no")
    with pytest.raises(FileFormatError):
        build(BuildConfig(out=out, n=1, manifest=table, preset=TOY_PRESET), toy_models)
    for bad in ({"n": 0}, {"n": 1, "candidates": 0}, {"n": 1, "seed": -1}):
        with pytest.raises(InvalidValueError):
            BuildConfig(out=out, **bad)
    for worse in ({"count": 0}, {"timeout_s": 0.0}, {"timeout_s": float("nan")}, {"max_attempts": 0}):
        with pytest.raises(InvalidValueError):
            WorkerConfig(**worse)
    assert not out.exists()


def test_prompts_without_a_manifest_are_drawn_and_kept(tmp_path: Path) -> None:
    config = BuildConfig(out=tmp_path / "d", n=3, preset=TOY_PRESET, candidates=1)
    run = Run(config, toy_models)
    drain(run)
    table = pq.read_table(run.dataset.prompts_path).to_pandas()
    assert list(table["prompt_id"]) == [one.prompt_id for one in run.dataset.records()]


def test_an_ungated_build_delivers_what_the_gate_refuses(toy_run) -> None:
    run = toy_run(6, behaviour=Behaviour(rejected=0.5), candidates=1, ungated=True)
    list(run)
    report, records = run.report(), run.dataset.accepted()
    assert report.complete
    assert report.rejected == 0
    refused = [record for record in records if record.reasons]
    assert 0 < len(refused) < len(records) == 6
    assert run.dataset.read(refused[0].case_id).ct.size
    assert run.dataset.spec.gate["enforced"] is False
    assert "not enforced" in (run.dataset.root / "README.md").read_text()
    gated = toy_run(6, behaviour=Behaviour(rejected=0.5), candidates=1, out="gated")
    list(gated)
    assert {record.case_id for record in gated.dataset.records()} == {record.case_id for record in records}
