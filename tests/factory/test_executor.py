"""One suite for both executors: the same cases, the same account of what goes wrong."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from factory.config import WorkerConfig
from factory.engines.base import ImageModel, Masks, Request
from factory.executor import Models, make_case
from factory.run import Run
from factory.testing import Behaviour, ToyMasks, toy_models
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.errors import StorageError

MakeRun = Callable[..., Run]
Hashes = dict[tuple[int, int], tuple[str, str | None, str | None, str | None]]

INLINE = WorkerConfig()
TWO = WorkerConfig(count=2, timeout_s=60.0)


@pytest.fixture(
    params=[
        pytest.param(INLINE, id="inline"),
        pytest.param(TWO, id="ray-2", marks=pytest.mark.ray),
    ]
)
def workers(request: pytest.FixtureRequest) -> WorkerConfig:
    """Each way to work; Ray is started once and only for those that need it."""
    if request.param.separate:
        request.getfixturevalue("local_ray")
    config: WorkerConfig = request.param
    return config


def drain(run: Run) -> list[CaseRecord]:
    return [outcome.record for outcome in run]


def hashes(dataset: Dataset) -> Hashes:
    """What must not depend on who made a case, when, or how often it was interrupted."""
    return {
        (one.index, one.candidate): (one.status, one.ct_blake3, one.anatomy_blake3, one.lesions_blake3)
        for one in dataset.records()
    }


@pytest.mark.ray
@pytest.mark.usefixtures("local_ray")
def test_one_ray_worker_makes_the_same_cases(toy_run: MakeRun) -> None:
    test_the_same_cases_whoever_makes_them(toy_run, WorkerConfig(count=1, timeout_s=60.0))


def test_the_same_cases_whoever_makes_them(toy_run: MakeRun, workers: WorkerConfig) -> None:
    picky = Behaviour(rejected=0.4)
    reference = toy_run(6, behaviour=picky, out="reference")
    drain(reference)
    run = toy_run(6, behaviour=picky, workers=workers)
    records = drain(run)
    assert hashes(run.dataset) == hashes(reference.dataset)
    assert len(records) == len(run.dataset.records())
    assert sorted(one.index for one in run.dataset.accepted()) == list(range(6))
    assert {one.status for one in records} == {"accepted", "rejected"}
    assert run.report().complete


def test_a_deterministic_error_is_recorded_and_not_repeated(toy_run: MakeRun, workers: WorkerConfig) -> None:
    run = toy_run(4, ages=(50, 60), behaviour=Behaviour(raise_age=60), workers=workers, candidates=2)
    records = drain(run)
    failed = [one for one in records if one.status == "failed"]
    assert sorted((one.index, one.candidate) for one in failed) == [(1, 0), (1, 1), (3, 0), (3, 1)]
    assert {one.reasons for one in failed} == {("ValueError: the toy was told to raise",)}
    assert {one.attempt for one in failed} == {1}
    assert sorted(one.index for one in records if one.status == "accepted") == [0, 2]
    assert [gap.index for gap in run.report().unfilled] == [1, 3]
    assert not run.report().complete


def test_a_transient_error_is_repeated_then_recorded(toy_run: MakeRun, workers: WorkerConfig) -> None:
    run = toy_run(2, ages=(50, 60), behaviour=Behaviour(scarce_age=60), workers=workers, candidates=1)
    records = {one.index: one for one in drain(run)}
    assert records[0].status == "accepted"
    assert records[1].status == "failed"
    assert "no memory" in records[1].reasons[0]
    assert records[1].reasons[0].endswith("3 attempts")


def test_a_failing_store_stops_the_run_and_nothing_is_lost(
    toy_run: MakeRun, workers: WorkerConfig, tmp_path: Path
) -> None:
    run = toy_run(4, workers=workers)
    outcomes = iter(run)
    next(outcomes)
    cases = run.dataset.root / "cases"
    cases.rename(tmp_path / "aside")  # what was written stays; what comes next finds a file in the way
    cases.write_text("")
    with pytest.raises(StorageError):
        list(outcomes)
    assert run.report().ended.startswith("StorageError")
    cases.unlink()
    (tmp_path / "aside").rename(cases)
    again = toy_run(4, workers=workers)
    drain(again)
    assert sorted(one.index for one in again.dataset.accepted()) == [0, 1, 2, 3]


def test_closing_the_iterator_leaves_a_dataset_to_resume(toy_run: MakeRun, workers: WorkerConfig) -> None:
    run = toy_run(6, workers=workers)
    outcomes = iter(run)
    first = next(outcomes).record
    outcomes.close()  # type: ignore[attr-defined]
    assert run.report().ended == "interrupted"
    again = toy_run(6, workers=workers)
    drained = drain(again)
    assert first.case_id not in {one.case_id for one in drained}
    assert Counter(one.index for one in again.dataset.accepted()) == Counter(range(6))


class WrongShape(ToyMasks):
    def draw(self, request: Request) -> Masks:
        masks = super().draw(request)
        return Masks(masks.anatomy[1:], masks.lesions[1:], masks.lesion_records)


class TooBright(ImageModel):
    identity = {"name": "toy", "version": "1"}  # noqa: RUF012

    def render(self, request: Request, masks: Masks) -> np.ndarray:
        return np.full(request.grid.shape_zyx, 4000, np.int16)


class UnrecordedLesion(ToyMasks):
    def draw(self, request: Request) -> Masks:
        masks = super().draw(request)
        return Masks(masks.anatomy, masks.lesions, ())


@pytest.mark.parametrize(
    ("masks", "images", "reason"),
    [
        (WrongShape(), None, "mask model, anatomy"),
        (UnrecordedLesion(), None, "one record for each instance"),
        (None, TooBright(), "-1024 to 3071 HU"),
    ],
)
def test_an_engine_that_breaks_its_contract_delivers_nothing(
    toy_run: MakeRun, masks: ToyMasks | None, images: ImageModel | None, reason: str
) -> None:
    run = toy_run(1)
    toys = toy_models()
    models = Models(masks or toys.masks, images or toys.images, toys.assess, toys.gate)
    record = make_case(run._plan.job(0), run.dataset, models).record
    assert record.status == "failed"
    assert record.reasons[0].startswith("EngineContractError")
    assert reason in record.reasons[0]
    assert run.dataset.accepted() == []


def test_a_case_committed_by_another_worker_stands(toy_run: MakeRun) -> None:
    run = toy_run(1)
    job = run._plan.job(0)
    first = make_case(job, run.dataset, toy_models()).record
    second = make_case(job, run.dataset, toy_models(), attempt=2).record
    assert second == first
    assert len(list((run.dataset.root / "cases" / job.case_id).iterdir())) == 1


def test_the_record_holds_asked_and_drawn_side_by_side(toy_run: MakeRun) -> None:
    record = drain(toy_run(1))[0]
    assert record.requested.sex is None
    assert record.drawn.sex in ("male", "female")
    assert record.drawn.age_years == record.requested.age_years == 50
    assert record.drawn.tumours[0].site == "liver"
    assert set(record.seconds) >= {"draw", "render", "assess"}
    assert record.mask_model == "toy 1"
