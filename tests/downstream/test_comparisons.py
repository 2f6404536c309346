"""Comparisons of arms from the tidy table: seeds averaged, cases paired, families adjusted."""

from math import isnan, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downstream.comparisons import ALL, arm_means, case_means, contrasts, with_all
from downstream.results import Result, Results
from downstream.stats import compare_paired, holm


def rows(arm, values, structure="liver", seed=0, metric="dice"):
    return [Result(f"c{n}", structure, metric, value, arm, seed) for n, value in enumerate(values)]


def test_seeds_of_a_case_are_averaged_and_nan_left_out():
    scores = [*rows("a", [0.2, nan]), *rows("a", [0.4, nan], seed=1), *rows("a", [0.9], structure="spleen")]
    assert case_means(scores) == {
        ("a", "liver", "dice"): {"c0": pytest.approx(0.3)},
        ("a", "spleen", "dice"): {"c0": 0.9},
    }


def test_all_is_the_mean_over_the_structures_of_a_case():
    scores = Results([*rows("a", [0.2, 0.6]), *rows("a", [0.4, nan], structure="spleen")])
    whole = with_all(scores, ("dice",))
    assert case_means(whole)["a", ALL, "dice"] == {"c0": pytest.approx(0.3), "c1": 0.6}


def test_the_spread_of_seeds_is_that_of_their_means():
    scores = Results([*rows("a", [0.2, 0.4]), *rows("a", [0.4, 0.6], seed=1), *rows("b", [0.1, 0.1])])
    first, second = arm_means(scores, "liver", "dice", seed=0)
    assert (first.interval.mean, first.seeds) == (pytest.approx(0.4), 2)
    assert first.seed_sd == pytest.approx(0.2 / 2**0.5)
    assert second.seeds == 1
    assert isnan(second.seed_sd)


@settings(max_examples=15)
@given(st.lists(st.tuples(*[st.floats(0, 1)] * 4), min_size=3, max_size=8))
def test_contrasts_are_the_paired_tests_of_their_parts(values):
    scores = Results(
        [
            *rows("a", [one[0] for one in values]),
            *rows("b", [one[1] for one in values]),
            *rows("a", [one[2] for one in values], structure="spleen"),
            *rows("b", [one[3] for one in values], structure="spleen"),
        ]
    )
    found = contrasts(scores, [("a", "b")], ("dice",), seed=3, resamples=20)
    expected = {
        "liver": compare_paired([one[0] for one in values], [one[1] for one in values], seed=3, resamples=20),
        "spleen": compare_paired([one[2] for one in values], [one[3] for one in values], seed=3, resamples=20),
    }
    assert {one.structure: one.comparison.p for one in found} == {name: one.p for name, one in expected.items()}
    adjusted = holm({name: one.p for name, one in expected.items()})
    assert {one.structure: one.p_holm for one in found} == adjusted


def test_arms_are_paired_over_the_cases_that_both_have():
    scores = Results([*rows("a", [0.5, 0.6, 0.7]), *rows("b", [0.4, 0.5])])
    (one,) = contrasts(scores, [("a", "b")], ("dice",), seed=0, resamples=20)
    assert one.comparison.difference.n == 2
    assert one.comparison.difference.mean == pytest.approx(0.1)
    assert not contrasts(scores, [("a", "c")], ("dice",), seed=0, resamples=20)


def test_all_is_a_family_of_its_own():
    scores = with_all(
        Results([*rows("a", [0.5, 0.6, 0.7, 0.8]), *rows("b", [0.1, 0.2, 0.3, 0.4]), *rows("c", [0.1, 0.2, 0.3, 0.4])]),
        ("dice",),
    )
    found = contrasts(scores, [("a", "b"), ("a", "c")], ("dice",), seed=0, resamples=20)
    assert {one.structure: one.p_holm for one in found} == {ALL: 0.25, "liver": 0.25}  # two tests of p 1/8 each
