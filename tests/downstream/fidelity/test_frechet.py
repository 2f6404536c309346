"""The Fréchet distance: closed forms, a trusted root, and the faults of published metric code that must not recur."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from downstream.fidelity.deep import _distance, _Sums
from downstream.fidelity.distances import frechet_of_features
from downstream.fidelity.frechet import Normal, fewest, frechet_distance, ledoit_wolf
from downstream.fidelity.samples import Draws
from manifests.errors import InvalidValueError


def vectors(n: int, d: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + seed


def test_distance_equals_the_formula_with_scipys_root() -> None:
    a, b = Normal.of(vectors(60, 7)), Normal.of(vectors(80, 7, seed=1))
    root = sqrtm(a.covariance @ b.covariance).real
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_diagonal_covariances_give_the_closed_form() -> None:
    first = Normal(np.zeros(3), np.diag([1.0, 4.0, 9.0]), 10)
    second = Normal(np.array([1.0, 0.0, 2.0]), np.diag([4.0, 4.0, 1.0]), 10)
    assert frechet_distance(first, second) == pytest.approx(1 + 4 + (1 - 2) ** 2 + 0 + (3 - 1) ** 2)


def test_too_few_vectors_are_refused_and_shrinkage_is_asked_for_by_name() -> None:
    few = vectors(fewest(7) - 1, 7)
    with pytest.raises(InvalidValueError, match="13 vectors of 7 features"):
        Normal.of(few)
    with pytest.raises(InvalidValueError, match="--shrink"):
        frechet_of_features(few, few)
    assert np.isfinite(frechet_of_features(few, vectors(13, 7, seed=2), shrink=True))


def test_shrinkage_is_ledoit_and_wolfs() -> None:
    covariance = pytest.importorskip("sklearn.covariance")
    for n in (4, 30):
        x = vectors(n, 10)
        np.testing.assert_allclose(ledoit_wolf(x), covariance.ledoit_wolf(x)[0], rtol=1e-12, atol=1e-12)


def test_the_distance_is_taken_once_over_all_vectors() -> None:
    """Not a mean of running distances: neither order nor grouping of the vectors matters, and one pair says nothing."""
    real, synthetic = vectors(64, 4), vectors(64, 4, seed=1)
    draws = Draws(resamples=2)
    whole = frechet_distance(Normal.of(real), Normal.of(synthetic))
    for parts in (8, 16):
        order = np.random.default_rng(3).permutation(64)
        grouped = [np.array_split(x[order].astype(np.float32), parts) for x in (real, synthetic)]
        assert _distance("fid", *grouped, draws).value == pytest.approx(whole, rel=1e-5)
    running = [frechet_distance(Normal.of(real[:n]), Normal.of(synthetic[:n])) for n in range(fewest(4), 65, 8)]
    assert abs(np.mean(running) - whole) > 0.01 * whole
    single = _distance("fvd", *([x[:1].astype(np.float32)] for x in (real, synthetic)), draws)
    assert np.isnan(single.value)
    assert "8 needed" in single.note


def test_sums_of_cases_give_the_covariance_of_all_their_vectors() -> None:
    x = vectors(50, 5).astype(np.float32)
    total = _Sums.total([_Sums.of(part) for part in np.array_split(x, 7)])
    np.testing.assert_allclose(total.covariance, np.cov(x.T.astype(float)), rtol=1e-9)
    np.testing.assert_allclose(total.mean, x.mean(0, dtype=float), rtol=1e-9)


def test_features_are_in_units_of_the_reference_and_constant_ones_are_left_out() -> None:
    x = vectors(40, 3)
    y = vectors(40, 3, seed=5)
    scaled = frechet_of_features(x * 1000, y * 1000)
    assert scaled == pytest.approx(frechet_of_features(x, y))
    padded = [np.concatenate([part, np.ones((40, 1))], 1) for part in (x, y)]
    assert frechet_of_features(*padded) == pytest.approx(scaled)
