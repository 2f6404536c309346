"""Intervals, tests and effect sizes against SciPy, closed forms and worked examples."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from downstream.stats import Interval, bootstrap_mean, cliffs_delta, compare_paired, holm, sign_flip_p
from manifests.errors import InvalidValueError

few = st.lists(st.integers(0, 6).map(float), min_size=1, max_size=9)
finite = st.floats(-1e3, 1e3)


@pytest.mark.parametrize("draw", ["normal", "exponential", "beta"])
def test_interval_is_scipys_bca_up_to_the_draws(draw):
    rng = np.random.default_rng(1)
    values = {"normal": rng.normal(5, 2, 40), "exponential": rng.exponential(3, 25), "beta": rng.beta(8, 1, 60)}[draw]
    ours = bootstrap_mean(values, seed=0, resamples=20_000)
    theirs = scipy_stats.bootstrap((values,), np.mean, n_resamples=20_000, rng=2, batch=2000).confidence_interval
    noise = 0.05 * (theirs.high - theirs.low)
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=noise), pytest.approx(theirs.high, abs=noise))
    assert ours.mean == pytest.approx(values.mean())


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(3)
    hits = 0
    for seed in range(300):
        interval = bootstrap_mean(rng.beta(6, 2, 30), seed=seed, resamples=1000)
        hits += interval.low <= 0.75 <= interval.high
    assert 0.90 <= hits / 300 <= 0.98


def test_interval_of_few_or_equal_values():
    assert bootstrap_mean([0.5, 0.5, 0.5], seed=0) == Interval(0.5, 0.5, 0.5, 3)
    one = bootstrap_mean([math.nan, 0.25], seed=0)
    assert (one.mean, one.n, math.isnan(one.low), math.isnan(one.high)) == (0.25, 1, True, True)
    none = bootstrap_mean([math.nan], seed=0)
    assert (none.n, math.isnan(none.mean)) == (0, True)


@settings(deadline=None, max_examples=40)
@given(st.lists(finite, min_size=2, max_size=12), st.integers(0, 5))
@example([0.0, 2.8e-134], 0)
def test_interval_repeats_by_seed_holds_its_mean_and_ignores_nan(values, seed):
    first = bootstrap_mean(values, seed=seed, resamples=500)
    assert first == bootstrap_mean([*values, math.nan], seed=seed, resamples=500)
    assert min(values) - 1e-9 <= first.low <= first.high <= max(values) + 1e-9


def test_infinite_values_are_refused():
    with pytest.raises(InvalidValueError, match="1 infinite of 2"):
        bootstrap_mean([1.0, math.inf], seed=0)
    with pytest.raises(InvalidValueError, match="level"):
        bootstrap_mean([1.0, 2.0], seed=0, level=1.0)


@pytest.mark.parametrize("n", [3, 8, 12])
def test_exact_p_is_scipys_permutation_test(n):
    rng = np.random.default_rng(n)
    first, second = rng.normal(0.4, 1, n), rng.normal(0, 1, n)
    exact = scipy_stats.permutation_test(
        (first, second), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    ).pvalue
    assert sign_flip_p(first - second, seed=0) == pytest.approx(exact)


def test_random_p_is_close_to_the_exact_one_and_never_zero():
    differences = np.random.default_rng(4).normal(0.3, 1, 20)
    signs = 1 - 2 * ((np.arange(2**20)[:, None] >> np.arange(20)) & 1)
    exact = (abs(signs @ differences) >= abs(differences.sum()) * (1 - 1e-12)).mean()
    assert sign_flip_p(differences, seed=0) == pytest.approx(exact, abs=0.02)
    assert sign_flip_p(np.ones(40), seed=0, resamples=999) == 1 / 1000


def test_p_is_uniform_where_arms_do_not_differ():
    rng = np.random.default_rng(5)
    below = np.mean([sign_flip_p(rng.standard_normal(9), seed=0) <= 0.05 for _ in range(800)])
    assert below == pytest.approx(0.05, abs=0.025)


def test_comparison_pairs_cases_and_counts_them():
    result = compare_paired([0.9, 0.8, math.nan, 0.7], [0.7, 0.7, 0.5, math.nan], seed=0)
    assert (result.difference.n, result.wins, result.losses) == (2, 2, 0)
    assert result.difference.mean == pytest.approx(0.15)
    assert result.effect == pytest.approx(0.15 / np.std([0.2, 0.1], ddof=1))
    assert result.p == pytest.approx(0.5)  # two pairs: two of four sign patterns are as far out
    with pytest.raises(InvalidValueError, match="2 and 1 values"):
        compare_paired([1.0, 2.0], [1.0], seed=0)


def test_paired_interval_is_narrower_than_the_arms_when_cases_vary():
    rng = np.random.default_rng(6)
    hard = rng.uniform(0.2, 0.9, 30)
    first, second = hard + 0.05 + rng.normal(0, 0.01, 30), hard
    paired, alone = compare_paired(first, second, seed=0), bootstrap_mean(first, seed=0)
    assert paired.difference.low > 0.04
    assert paired.difference.high - paired.difference.low < 0.2 * (alone.high - alone.low)


def test_holm_on_a_worked_example():
    """p = .01, .04, .03, .005 of four tests: 4 x .005, 3 x .01, 2 x .03, and .04 is lifted to .06."""
    adjusted = holm({"a": 0.01, "b": 0.04, "none": math.nan, "c": 0.03, "d": 0.005})
    assert list(adjusted) == ["a", "b", "none", "c", "d"]
    assert math.isnan(adjusted.pop("none"))
    assert adjusted == {name: pytest.approx(p) for name, p in {"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02}.items()}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_lies_between_p_and_bonferroni_in_the_same_order(values):
    adjusted = list(holm({str(i): p for i, p in enumerate(values)}).values())
    for p, q in zip(values, adjusted, strict=True):
        assert p <= q <= min(1, p * len(values)) + 1e-12
    assert all(
        adjusted[i] <= adjusted[j] for i in range(len(values)) for j in range(len(values)) if values[i] < values[j]
    )


@settings(deadline=None, max_examples=50)
@given(few, few)
def test_cliffs_delta_counts_pairs(first, second):
    pairs = [np.sign(a - b) for a in first for b in second]
    assert cliffs_delta(first, second) == pytest.approx(np.mean(pairs))
    u = scipy_stats.mannwhitneyu(first, second, method="asymptotic").statistic if len({*first, *second}) > 1 else None
    if u is not None:
        assert cliffs_delta(first, second) == pytest.approx(2 * u / len(pairs) - 1)
