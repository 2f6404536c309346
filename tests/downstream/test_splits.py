"""Folds: a partition without leakage, the same in any order, nearly the same after growth, every class in every fold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downstream.splits import Fold, check_leakage, groups, k_folds, possible_folds
from manifests.case import CaseRecord
from manifests.errors import DefectError, InvalidValueError


def record(number, prompt=None, patient=None, source=None):
    return CaseRecord(
        case_id=f"c{number:04d}",
        status="accepted",
        index=number,
        prompt_id=prompt,
        patient_id=patient,
        source=source,
        factory_version="0",
        anatomy_table="t",
    )


def val_fold(folds):
    return {case: number for number, fold in enumerate(folds) for case in fold.val}


optional = st.one_of(st.none(), st.integers(0, 12).map(str))
cohorts = st.lists(st.tuples(optional, optional), min_size=4, max_size=30).map(
    lambda links: [record(number, prompt, patient) for number, (prompt, patient) in enumerate(links)]
)


@settings(max_examples=30, deadline=None)
@given(cohorts, st.randoms())
def test_folds_partition_the_cases_without_leakage_in_any_order(records, random):
    count = possible_folds(records)
    if not count:
        return
    folds = k_folds(records, {}, count)
    cases = sorted(entry.case_id for entry in records)
    assert sorted(case for fold in folds for case in fold.val) == cases
    assert all(sorted(fold.train + fold.val) == cases for fold in folds)
    assert all(fold.val for fold in folds)
    check_leakage(folds, records)
    shuffled = records.copy()
    random.shuffle(shuffled)
    assert k_folds(shuffled, {}, count) == folds


@settings(max_examples=30, deadline=None)
@given(cohorts)
def test_groups_are_the_connected_components_of_shared_links(records):
    group_of = groups(records)
    for one in records:
        for other in records:
            linked = (one.prompt_id and one.prompt_id == other.prompt_id) or (
                one.patient_id and one.patient_id == other.patient_id
            )
            if linked:
                assert group_of[one.case_id] == group_of[other.case_id]
    lone = [entry for entry in records if not entry.prompt_id and not entry.patient_id]
    assert len({group_of[entry.case_id] for entry in lone}) == len(lone)


def test_a_chain_of_links_is_one_group():
    chain = [record(0, prompt="p"), record(1, prompt="p", patient="x"), record(2, patient="x"), record(3, prompt="q")]
    group_of = groups(chain)
    assert len({group_of[f"c000{number}"] for number in range(3)}) == 1
    assert group_of["c0003"] != group_of["c0000"]


@pytest.mark.parametrize(("before", "after", "moved"), [(40, 44, 6), (200, 220, 4), (1000, 1500, 0)])
def test_growth_moves_few_cases_and_none_of_a_large_dataset(before, after, moved):
    records = [record(number, prompt=f"p{number}") for number in range(after)]
    classes = {entry.case_id: frozenset({"organ"} | ({"tumour"} if entry.index % 3 else set())) for entry in records}
    small, large = (val_fold(k_folds(records[:size], classes, 5)) for size in (before, after))
    assert sum(large[case] != fold for case, fold in small.items()) <= moved


@settings(max_examples=25, deadline=None)
@given(st.integers(5, 60), st.integers(0, 1000))
def test_folds_of_single_cases_have_sizes_within_a_quarter(cases, seed):
    folds = k_folds([record(number, prompt=f"{seed} {number}") for number in range(cases)], {}, 5)
    sizes = [len(fold.val) for fold in folds]
    assert min(sizes) >= max(1, 3 * cases // 20)
    assert max(sizes) <= -(-5 * cases // 20)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(10, 40))
def test_every_class_with_enough_cases_is_in_every_validation_fold(seed, folds, cases):
    draw = np.random.default_rng(seed)
    records = [record(number, prompt=f"{seed} {number}") for number in range(cases)]
    names = ("common", "half", "rare")
    held = draw.random((cases, 3)) < (1.0, 0.5, 0.2)
    classes = {entry.case_id: frozenset(np.array(names)[held[entry.index]].tolist()) for entry in records}
    split = k_folds(records, classes, folds)
    for number, name in enumerate(names):
        if held[:, number].sum() >= folds:
            assert all(any(name in classes[case] for case in fold.val) for fold in split), name


def test_too_many_folds_are_refused_with_the_number_that_is_possible():
    records = [record(0, prompt="a"), record(1, prompt="a"), record(2, prompt="b"), record(3, prompt="c")]
    with pytest.raises(InvalidValueError, match="need 2 to 3"):
        k_folds(records, {}, 4)
    assert possible_folds(records) == 3
    assert possible_folds(records[:2]) == 0


def test_leakage_is_found():
    records = [record(0, prompt="a"), record(1, prompt="a"), record(2, prompt="b")]
    with pytest.raises(DefectError, match="prompt a on both sides"):
        check_leakage([Fold(train=("c0000", "c0002"), val=("c0001",))], records)
