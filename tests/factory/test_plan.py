"""Plans: identity of jobs, repetition of prompts, and the agenda's account of slots."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.config import PRESETS
from factory.executor import Outcome
from factory.plan import Agenda, Job, Plan, Prompts
from factory.testing import TOY_PRESET, toy_prompts
from manifests.case import CaseRecord
from manifests.errors import InvalidValueError
from prompts.sampling import default_distribution
from prompts.schema import Prompt, Study
from prompts.table import PromptRow, write_prompts

PROMPTS = Prompts.from_rows(toy_prompts([50, 51, 52]))
PLAN = Plan(PROMPTS, TOY_PRESET, {"model": "toy"})


def record(job: Job, status: str) -> CaseRecord:
    return CaseRecord(
        case_id=job.case_id,
        status=status,
        index=job.index,
        candidate=job.candidate,
        factory_version="0",
        anatomy_table="0",
    )


def test_slots_take_the_prompts_in_turn() -> None:
    ages = [PLAN.job(index).row.prompt.patient.age_years for index in range(7)]
    assert ages == [50, 51, 52, 50, 51, 52, 50]


def test_a_kept_report_text_does_not_enter_the_dataset(tmp_path: Path) -> None:
    rows = [PromptRow(Prompt(), "A person.", report_hash="ab", report_text="Mr. Smith, 63")]
    write_prompts(tmp_path / "prompts.parquet", rows)
    (row,) = Prompts.from_manifest(tmp_path / "prompts.parquet").table(1)
    assert (row.report_hash, row.report_text) == ("ab", None)


def test_every_job_has_its_own_identity() -> None:
    ids = {PLAN.job(index, candidate).case_id for index in range(50) for candidate in range(4)}
    assert len(ids) == 200


@pytest.mark.parametrize("other", [{"model": "toy2"}, {"model": "toy", "run_seed": 1}])
def test_another_making_is_another_case(other: dict) -> None:
    assert Plan(PROMPTS, TOY_PRESET, other).job(0).case_id != PLAN.job(0).case_id


def test_unstated_fields_are_drawn_from_the_case_alone() -> None:
    job = PLAN.job(1)
    subject = job.request().subject
    assert subject == PLAN.job(1).request().subject
    assert subject.patient.age_years == 51
    assert subject.patient.sex is not None
    assert subject.patient.height_cm != PLAN.job(4).request().subject.patient.height_cm


def test_the_region_decides_the_grid() -> None:
    rows = tuple(PromptRow(prompt=Prompt(study=Study(region=region)), text="") for region in ("chest", None))
    plan = Plan(Prompts.from_rows(rows), PRESETS["tiny"], {})
    assert plan.job(0).grid == PRESETS["tiny"].grid("chest")
    assert plan.job(1).grid == PRESETS["tiny"].grid("torso")


def test_draws_of_a_distribution_do_not_depend_on_their_number() -> None:
    one, other = (Prompts.from_distribution(default_distribution(), seed=4) for _ in range(2))
    assert [row.prompt for row in one.table(6)][:3] == [row.prompt for row in other.table(3)]
    assert one.table(3)[0].text
    assert one.row(0).prompt != Prompts.from_distribution(default_distribution(), seed=5).row(0).prompt


def test_no_prompts_is_an_error() -> None:
    with pytest.raises(InvalidValueError, match="no prompts"):
        Prompts.from_rows(())


def test_a_missing_table_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no such file"):
        Prompts.from_manifest(tmp_path / "none.parquet")


statuses = st.lists(st.sampled_from(["accepted", "rejected", "failed"]), min_size=200, max_size=200)


@given(n=st.integers(1, 12), candidates=st.integers(1, 4), fates=statuses, seed=st.integers(0, 99))
def test_every_slot_ends_filled_or_unfilled_in_any_order_and_over_any_interruption(
    n: int, candidates: int, fates: list[str], seed: int
) -> None:
    fate = {}
    for index in range(n):
        for candidate in range(candidates):
            fate[PLAN.job(index, candidate).case_id] = fates[index * candidates + candidate]
    shuffle = random.Random(seed)
    records: list[CaseRecord] = []
    for _ in range(3):  # three runs; the first two are killed after a while
        agenda = Agenda(PLAN, n, candidates, records)
        last = _ == 2
        _work(agenda, records, fate, shuffle, steps=None if last else shuffle.randint(0, n))
    ids = [one.case_id for one in records]
    assert len(ids) == len(set(ids)), "a case was made twice"
    accepted = [one.index for one in records if one.status == "accepted"]
    assert sorted([*accepted, *agenda.unfilled]) == list(range(n))
    assert agenda.filled == len(accepted)
    for one in records:  # candidates in order, none after an accepted one
        tries = sorted(other.candidate for other in records if other.index == one.index)
        assert tries == list(range(len(tries)))
        assert one.status != "accepted" or one.candidate == tries[-1]


def _work(agenda: Agenda, records: list[CaseRecord], fate: dict, shuffle: random.Random, steps: int | None) -> None:
    """Hold up to three jobs at once and finish them in random order."""
    held: list[Job] = []
    while steps is None or steps > 0:
        while len(held) < 3 and (job := agenda.take()):
            held.append(job)
        if not held:
            return
        job = held.pop(shuffle.randrange(len(held)))
        outcome = Outcome(record(job, fate[job.case_id]))
        records.append(outcome.record)
        agenda.settle(outcome.record)
        steps = None if steps is None else steps - 1


def test_a_longer_agenda_only_adds_slots() -> None:
    done = [record(PLAN.job(index), "accepted") for index in range(4)]
    agenda = Agenda(PLAN, 6, 5, done)
    assert [job.index for job in iter(agenda.take, None)] == [4, 5]


def test_a_smaller_budget_does_not_disown_an_accepted_case() -> None:
    history = [record(PLAN.job(0, 0), "rejected"), record(PLAN.job(0, 1), "accepted")]
    agenda = Agenda(PLAN, 1, 1, history)
    assert agenda.take() is None
    assert (agenda.filled, agenda.unfilled) == (1, [])
