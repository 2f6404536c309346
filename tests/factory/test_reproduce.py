"""Making stored cases again."""

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest

from factory.executor import Models
from factory.reproduce import reproduce
from factory.run import Run
from factory.testing import Behaviour, ToyImages, ToyMasks, toy_models
from manifests.errors import InvalidValueError, SpecMismatchError, UnknownNameError

MakeRun = Callable[..., Run]


@pytest.fixture
def built(toy_run: MakeRun) -> Run:
    run = toy_run(4, behaviour=Behaviour(rejected=0.5))
    assert all(outcome.record for outcome in run)
    return run


def test_every_delivered_case_comes_out_the_same(built: Run) -> None:
    for record in built.dataset.accepted():
        assert reproduce(built.dataset.root, record.case_id, toy_models).identical


class Dialled(ToyImages):
    """Shows the dial in the image."""

    def render(self, request, masks):
        return super().render(request, masks) + np.int16(100 * request.randomise)


def test_the_dial_reaches_the_engines_the_records_and_a_case_made_again(toy_run: MakeRun) -> None:
    toys = toy_models()
    models = Models(toys.masks, Dialled(), toys.assess, toys.gate)
    run = toy_run(2, randomise=0.25)
    run = Run(run.config, lambda: models)
    assert all(outcome.record.notes["randomise"] == "0.25" for outcome in run)
    assert run.dataset.spec.randomise == 0.25
    assert {record.notes["gate"] for record in run.dataset.records()} == {"margins of intensity x 1"}, "the toy gate"
    assert "| randomise | 0.25 |" in (run.dataset.root / "README.md").read_text()
    record = run.dataset.accepted()[0]
    assert reproduce(run.dataset.root, record.case_id, lambda: models).identical
    plain = toy_run(2, out="plain")
    assert {outcome.record.case_id for outcome in plain}.isdisjoint({found.case_id for found in run.dataset.records()})


class Careless(ToyImages):
    """Changed its output without changing its version."""

    def render(self, request, masks):
        return super().render(request, masks) + 1


def test_a_changed_engine_is_found_out(built: Run) -> None:
    toys = toy_models()
    careless = Models(toys.masks, Careless(), toys.assess, toys.gate)
    found = reproduce(built.dataset.root, built.dataset.accepted()[0].case_id, lambda: careless)
    assert not found.identical
    assert found.layers["anatomy"] == "same"
    assert found.layers["ct"] != "same"


class Newer(ToyMasks):
    identity = {"name": "toy", "version": "2"}  # noqa: RUF012


def test_another_version_is_refused(built: Run) -> None:
    toys = toy_models()
    newer = Models(Newer(), toys.images, toys.assess, toys.gate)
    with pytest.raises(SpecMismatchError, match="mask_model"):
        reproduce(built.dataset.root, built.dataset.accepted()[0].case_id, lambda: newer)


@pytest.mark.parametrize("case_id", ["../../etc/passwd", "a/b"])
def test_a_path_is_no_case_id(built: Run, case_id: str) -> None:
    with pytest.raises(InvalidValueError, match="case id"):
        reproduce(built.dataset.root, case_id, toy_models)


def test_only_delivered_cases_can_be_made_again(built: Run) -> None:
    refused = next(one for one in built.dataset.records() if one.status == "rejected")
    with pytest.raises(InvalidValueError, match="rejected"):
        reproduce(built.dataset.root, refused.case_id, toy_models)
    with pytest.raises(UnknownNameError):
        reproduce(built.dataset.root, "c0", partial(toy_models))
