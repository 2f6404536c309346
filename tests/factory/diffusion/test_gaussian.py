"""Gaussian processes: conversions against each other, samplers against an exact denoiser."""

from itertools import pairwise

import pytest
import torch

from factory.diffusion.gaussian import Gaussian
from factory.diffusion.guidance import guided
from factory.diffusion.schedule import cosine, growing, training_chances, visits

KINDS = ("eps", "v", "flow")


@pytest.mark.parametrize("kind", KINDS)
def test_the_target_gives_back_data_and_noise(kind: str) -> None:
    process = Gaussian(kind, cosine(100))
    x0, e = torch.randn(2, 3, 1, 4, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t = torch.tensor([1, 50, 99])
    x_t = process.noised(x0, e, t)
    for found, wanted in zip(process.parts(x_t, process.target(x0, e, t), t), (x0, e), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["v", "flow"])
@pytest.mark.parametrize("count", [1, 5, 100])
def test_samplers_end_in_the_data_of_a_perfect_network(kind: str, count: int) -> None:
    process = Gaussian(kind, cosine(100))
    x0 = torch.linspace(-2, 2, 16, dtype=torch.float32).view(1, 1, 16)

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        scale, noise = process._levels(t, x)
        return process.target(x0, (x - scale * x0) / noise, t)

    drawn = process.sample(predict, torch.randn(x0.shape, generator=torch.Generator().manual_seed(1)), count)
    torch.testing.assert_close(drawn, x0, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_samplers_reproduce_a_gaussian(kind: str) -> None:
    """For data of mean 1 and deviation 0.5 the best denoiser is known; 20,000 samples must have both."""
    process = Gaussian(kind, cosine(200))
    mean, deviation = 1.0, 0.5

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        scale, noise = process._levels(t, x)
        gain = scale * deviation**2 / (scale**2 * deviation**2 + noise**2)
        x0 = mean + gain * (x - scale * mean)
        return process.target(x0, (x - scale * x0) / noise, t)

    drawn = process.sample(predict, torch.randn(1, 1, 20_000, generator=torch.Generator().manual_seed(2)), 100)
    assert abs(drawn.mean() - mean) < 0.02
    assert abs(drawn.std() - deviation) < 0.02


def test_the_cosine_schedule_falls_from_one_and_never_reaches_zero() -> None:
    kept = cosine(1000)
    assert kept[0] == 1
    assert (kept.diff() < 0).all()
    assert kept[-1] > 0
    published = {100: 0.97, 250: 0.85, 500: 0.49, 750: 0.14, 900: 0.02}
    for t, wanted in published.items():
        assert abs(kept[t] - wanted) < 0.01


@pytest.mark.parametrize(("steps", "count"), [(1000, 1000), (1000, 32), (7, 3), (1, 1)])
def test_visits_go_down_from_the_last_step_to_zero(steps: int, count: int) -> None:
    jumps = visits(steps, count)
    assert len(jumps) == count
    assert jumps[0][0] == steps
    assert jumps[-1][1] == 0
    assert all(t > s for t, s in jumps)
    assert all(before[1] == after[0] for before, after in pairwise(jumps))


def test_guidance_of_one_is_the_conditional_prediction() -> None:
    a, b = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 5.0]])
    assert torch.equal(guided(a, b, 1.0), a)
    assert torch.equal(guided(a, b, 0.0), b)
    assert torch.equal(guided(a, b, 2.0), torch.tensor([[-1.0, -1.0]]))


def test_under_the_growing_schedule_what_is_left_multiplies_by_even_factors() -> None:
    kept = growing(1000, 300.0)
    assert kept[0] == 1
    assert kept[-1] > 0
    assert (kept.diff() < 0).all()
    factors = kept[:-100:100] / kept[100::100]
    assert factors[0] == pytest.approx(300**0.1, rel=0.01)  # the few that are left last fall faster
    assert (factors[:6] < 2.1).all()


def test_training_chances_prefer_small_steps_and_are_undone_by_their_weight() -> None:
    chances = training_chances(1000)
    assert chances.sum() == pytest.approx(1)
    assert (chances.diff() < 0).all()
    assert chances[0] > 0.05
    weights = 1 / (1000 * chances)
    assert weights.max() < 2
    values = torch.linspace(0, 1, 1000, dtype=torch.float64) ** 3
    assert (chances * weights * values).sum() == pytest.approx(values.mean())
