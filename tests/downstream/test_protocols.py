"""Benchmark splits: the lists follow their rule, a subset keeps its sides, nothing leaks, what is wrong is said."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from downstream.cli import bench_app
from downstream.leakage import find_leaks, require_no_leaks
from downstream.protocols import HOLDOUT, OFFICIAL, Split, benchmark_split, by_hash, protocol, protocol_names
from manifests.case import CaseRecord, Lesion
from manifests.dataset import Dataset, DatasetSpec
from manifests.errors import InvalidValueError, UnknownNameError
from manifests.schemes import scheme

LISTS = [name for name in protocol_names() if name not in (OFFICIAL, HOLDOUT)]
SIZES = {
    "btcv": (24, 0, 6),
    "amos": (240, 0, 60),
    "msd-lung": (50, 0, 13),
    "msd-colon": (100, 0, 26),
    "kits": (313, 78, 98),
}
"""Training cases of GuideGen's table 5.3; 80 of a hundred, for KiTS twice; the rest of the release is held out."""


def sides(split):
    return split.train, split.val, split.test


class Records(Dataset):
    """A dataset that is its records alone."""

    def __init__(self, records, origin="", kind="real"):
        super().__init__(Path("real"), DatasetSpec(kind=kind, prompts={"origin": origin}))
        self.listed = list(records)

    def accepted(self):
        return self.listed


def record(case, index=0, **fields):
    return CaseRecord(case_id=case, status="accepted", index=index, factory_version="0", anatomy_table="t", **fields)


def release(cases, layout, **fields):
    return Records([record(case, n, patient_id=case, **fields) for n, case in enumerate(cases)], f"ingest {layout}")


@pytest.mark.parametrize("name", LISTS)
def test_the_lists_are_the_rule_and_have_the_sizes_of_the_paper(name):
    split = protocol(name).split
    cases = sorted(case for side in sides(split) for case in side)
    assert tuple(map(len, sides(split))) == SIZES[name]
    assert len(set(cases)) == sum(SIZES[name])
    assert by_hash(name, cases, len(split.train), len(split.val)) == split
    assert scheme(protocol(name).scheme).labels


def test_the_lists_hold_whole_releases():
    def numbers(name):
        return {int(re.findall(r"\d+", case)[-1]) for side in sides(protocol(name).split) for case in side}

    assert numbers("btcv") == {*range(1, 11), *range(21, 41)}
    assert numbers("kits") == {*range(300), *range(400, 589)}
    assert max(numbers("amos")) < 500  # MRI from there on


@settings(max_examples=20)
@given(st.sampled_from(LISTS), st.randoms(use_true_random=False))
def test_a_part_of_a_release_keeps_its_sides(name, random):
    whole = protocol(name).split
    some = (
        random.sample(whole.train, 3) + random.sample(whole.test, 2) + random.sample(whole.val, min(2, len(whole.val)))
    )
    random.shuffle(some)
    found = benchmark_split(release(some, protocol(name).layout))
    assert found.protocol == name
    for part, all_of_it in zip(sides(found), sides(whole), strict=True):
        assert set(part) == set(all_of_it) & set(some)
        assert list(part) == sorted(part)
    require_no_leaks(found, release(some, protocol(name).layout))


def test_cases_of_another_release_are_named():
    foreign = release([*protocol("kits").split.train[:3], "case_00301", "liver_1"], "kits")
    with pytest.raises(UnknownNameError, match=r"2 cases that are not of the release: case_00301, liver_1"):
        benchmark_split(foreign, "kits")
    with pytest.raises(UnknownNameError, match="one of btcv, amos"):
        benchmark_split(foreign, "lits")


@pytest.mark.parametrize("side", ["train", "test"])
def test_a_side_without_cases_is_refused(side):
    some = getattr(protocol("kits").split, side)[:3]
    other = {"train": "test", "test": "train"}[side]
    with pytest.raises(InvalidValueError, match=f"no {other} case among 3"):
        benchmark_split(release(some, "kits"))


def test_official_sides_are_kept_and_validation_stands_in_for_a_test_that_is_not_public():
    def parts(*names):
        return Records([record(f"s{n}", n, split=name) for n, name in enumerate(names)], "ingest totalsegmentator")

    full = benchmark_split(parts("train", "test", "train", "val"))
    assert sides(full) == (("s0", "s2"), ("s3",), ("s1",))
    assert full.protocol == OFFICIAL
    assert sides(benchmark_split(parts("train", "val", "train"))) == (("s0", "s2"), (), ("s1",))
    with pytest.raises(InvalidValueError, match="1 cases without a side: s1"):
        benchmark_split(parts("train", None), OFFICIAL)


def lesion(organ):
    return Lesion(id=1, organ=organ, site=organ, size_mm=9, volume_ml=1, center_mm_xyz=(0, 0, 0))


@settings(max_examples=8)
@given(st.integers(20, 40), st.integers(2, 5), st.integers(0, 99))  # with fewer ill patients than parts one has none
def test_the_holdout_keeps_patients_together_and_both_sides_ill(cases, folds, seed):
    pairs = [
        record(f"c{seed}-{n}", n, patient_id=f"{seed} {n // 2}", lesions=(lesion("liver"),) if n % 4 < 2 else ())
        for n in range(2 * cases)
    ]
    dataset = Records(pairs)
    split = benchmark_split(dataset, folds=folds)
    assert split.protocol == HOLDOUT
    assert sorted(split.train + split.test) == sorted(one.case_id for one in pairs)
    assert not find_leaks(split, dataset)
    ill = {one.case_id for one in pairs if one.lesions}
    assert ill & set(split.test)
    assert ill & set(split.train)


@pytest.mark.parametrize("folds", [2, 5])
def test_the_holdout_is_one_part_in_folds_of_many_cases(folds):
    many = Records([record(f"c{n}", n) for n in range(400)])
    assert len(benchmark_split(many, folds=folds).test) / 400 == pytest.approx(1 / folds, abs=0.05)


SPLIT = Split("x", ("a", "b"), ("v",), ("t",))
REAL = Records([record(case, n, patient_id=f"p-{case}", ct_blake3=f"h{case}") for n, case in enumerate("abvt")])


@pytest.mark.parametrize(
    ("fields", "held_out", "shared"),
    [
        ({"patient_id": "p-t"}, "t", "patient p-t"),  # masks of a bank keep their patient
        ({"notes": {"source_case": "v"}}, "v", "patient v"),
        ({"source": "kits.json#t"}, "t", "patient t"),  # a prompt from the row of that patient
        ({"ct_blake3": "hv"}, "v", "scan hv"),
    ],
)
def test_a_synthetic_case_that_shows_a_held_out_one_is_found(fields, held_out, shared):
    made = Records([record("good", source="kits.json#a"), record("bad", 1, **fields)], kind="synthetic")
    (leak,) = find_leaks(SPLIT, REAL, [made])
    assert (leak.case_id, leak.held_out, leak.shared) == ("bad", held_out, shared)
    with pytest.raises(InvalidValueError, match=f"1 training cases .*bad has {shared} of {held_out}"):
        require_no_leaks(SPLIT, REAL, [made])


def test_prompts_and_sources_are_links_but_mere_row_numbers_are_not():
    real = Records([record("1", prompt_id="q"), record("2", 1, prompt_id="r", source="reports.csv#2")])
    split = Split("x", ("1",), (), ("2",))
    assert not find_leaks(split, real, [Records([record("c", source="default, seed 0#2")])])
    shared = [record("c", prompt_id="r"), record("d", 1, source="reports.csv#2")]
    assert [leak.shared for leak in find_leaks(split, real, [Records(shared)])] == ["prompt r", "source reports.csv#2"]


def test_two_scans_of_one_patient_may_not_be_parted():
    twice = Records([record("a", patient_id="p"), record("b", 1, patient_id="p")])
    with pytest.raises(InvalidValueError, match="a has patient p of b"):
        require_no_leaks(Split("x", ("a",), (), ("b",)), twice)


def test_synthetic_cases_are_never_held_out():
    with pytest.raises(InvalidValueError, match="1 cases that are not in that dataset: made"):
        find_leaks(Split("x", ("a",), (), ("t", "made")), REAL, [Records([record("made")])])


def test_the_command_prints_the_sides_and_says_what_leaks(box_dataset):
    real = box_dataset(6)
    run = CliRunner().invoke(bench_app, ["splits", str(real.root), "--folds", "3", "--json"])
    facts = json.loads(run.stdout)
    assert run.exit_code == 0
    assert (facts["protocol"], facts["leaks"]) == (HOLDOUT, [])
    assert len(facts["train"]) + len(facts["test"]) == 6
    run = CliRunner().invoke(bench_app, ["splits", str(real.root), "--folds", "3", "--synthetic", str(real.root)])
    assert run.exit_code == 1
    assert run.stdout.count("leak: ") == 3 * len(facts["test"])  # each held-out case itself, its prompt and its scan
