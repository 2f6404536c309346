"""What only workers of their own can do: time limits, quarantine, and deaths that cost innocents nothing."""

import os
import re
import signal
from collections.abc import Callable
from functools import partial
from importlib import import_module

import pytest

from factory.config import WorkerConfig
from factory.executor import Models
from factory.run import Run, load_models
from factory.testing import Behaviour, toy_models
from manifests.case import CaseRecord
from manifests.errors import UnknownNameError, WorkerError

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("local_ray")]

MakeRun = Callable[..., Run]


def drain(run: Run) -> dict[int, CaseRecord]:
    return {outcome.record.index: outcome.record for outcome in run}


def test_cases_that_kill_or_hang_are_set_aside_and_cost_no_other(toy_run: MakeRun) -> None:
    accidents = Behaviour(crash_age=60, hang_age=61)
    workers = WorkerConfig(count=2, timeout_s=8.0, max_attempts=2)  # room for a busy machine
    run = toy_run(6, ages=(50, 60, 51, 61, 52, 53), behaviour=accidents, workers=workers, candidates=1)
    records = drain(run)
    assert {index for index, one in records.items() if one.status == "failed"} == {1, 3}
    assert records[1].reasons == ("WorkerError: the worker's process died, 2 attempts",)
    assert re.fullmatch(r"WorkerError: stopped after (8|9|1\d) s, 2 attempts", records[3].reasons[0])
    assert {one.attempt for one in records.values() if one.status == "accepted"} == {1}, "an innocent was charged"
    report = run.report()
    assert (report.accepted, report.failed, len(report.unfilled)) == (4, 2, 2)


def test_failed_cases_get_another_chance_on_request(toy_run: MakeRun) -> None:
    workers = WorkerConfig(count=1, timeout_s=60.0, max_attempts=1)
    sick = toy_run(2, ages=(50, 60), behaviour=Behaviour(crash_age=60), workers=workers, candidates=1)
    assert drain(sick)[1].status == "failed"
    assert drain(toy_run(2, ages=(50, 60), candidates=1)) == {}
    again = toy_run(2, ages=(50, 60), candidates=1, retry_failed=True)
    assert {index: one.status for index, one in drain(again).items()} == {1: "accepted"}
    assert again.report().complete


def test_a_killed_worker_is_replaced_and_its_case_made(toy_run: MakeRun) -> None:
    run = toy_run(8, behaviour=Behaviour(seconds=0.3), workers=WorkerConfig(count=2, max_attempts=9))
    records = {}
    for number, outcome in enumerate(run):
        records[outcome.record.index] = outcome.record
        if number in (0, 3):
            os.kill(int(outcome.worker.split(":")[1]), signal.SIGKILL)
    assert {one.status for one in records.values()} == {"accepted"}
    assert sorted(records) == list(range(8))


def test_models_that_cannot_be_loaded_stop_the_run(toy_run: MakeRun) -> None:
    run = toy_run(2, workers=WorkerConfig(count=2))
    run._load = partial(load_models, "no such model", "texture")
    with pytest.raises(UnknownNameError, match="no such model"):
        drain(run)


def test_workers_that_cannot_start_stop_the_run(toy_run: MakeRun) -> None:
    run = toy_run(2, workers=WorkerConfig(count=1, timeout_s=60.0))
    run._load = NotInstalledThere()
    with pytest.raises(WorkerError, match="die as they start"):
        drain(run)


class NotInstalledThere:
    """Reaches a worker as a module that the worker cannot import."""

    def __call__(self) -> Models:
        return toy_models()

    def __reduce__(self):
        return import_module, ("a_package_of_the_driver_alone",)


def test_a_run_without_any_worker_gives_up(toy_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    from factory import executor_ray

    monkeypatch.setattr(executor_ray, "_PATIENCE_S", 2.0)
    run = toy_run(1, workers=WorkerConfig(gpus_per_worker=1.0))
    with pytest.raises(WorkerError, match="no worker ready"):
        drain(run)
