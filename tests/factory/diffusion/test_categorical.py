"""The categorical process against Bayes' rule by brute force, and its draws against its distributions."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.diffusion.categorical import Categorical
from factory.diffusion.schedule import cosine, visits

STEPS = 50


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def kernel(kept: torch.Tensor, classes: int, rest: tuple[float, ...] | None = None) -> torch.Tensor:
    """Transition matrices [..., from, to] of noise that keeps a class with probability `kept`, even or tending to `rest`."""
    tends = torch.tensor(rest or (1 / classes,) * classes, dtype=torch.float64)
    return kept[..., None, None] * torch.eye(classes, dtype=torch.float64) + (1 - kept[..., None, None]) * tends


NOISE = st.integers(2, 5).flatmap(
    lambda classes: st.tuples(
        st.just(classes), st.none() | st.lists(st.floats(1e-3, 1), min_size=classes, max_size=classes)
    )
)
"""Numbers of classes, and for each a weight or even noise."""


def process_of(noise: tuple[int, list[float] | None]) -> Categorical:
    classes, parts = noise
    return Categorical(classes, cosine(STEPS), tuple(part / sum(parts) for part in parts) if parts else None)


def product(matrices: torch.Tensor) -> torch.Tensor:
    """Product of a stack of matrices, neighbours first; the identity for none."""
    while len(matrices) > 1:
        tail = matrices[len(matrices) // 2 * 2 :]
        matrices = torch.cat([matrices[: len(matrices) // 2 * 2 : 2] @ matrices[1::2], tail])
    return matrices[0] if len(matrices) else torch.eye(matrices.shape[-1], dtype=torch.float64)


def brute_force(process: Categorical, p: torch.Tensor, j: int, t: int, s: int) -> torch.Tensor:
    """Sum over x_0 of p(x_0) q(x_s | x_t = j, x_0), from products of single-step matrices alone."""
    single = kernel(process.alpha_bar[1:] / process.alpha_bar[:-1], process.classes, process.rest)
    joint = product(single[:s]) * product(single[s:t])[:, j]  # [x_0, x_s], up to p(x_t | x_0)
    return p @ (joint / joint.sum(1, keepdim=True))


@settings(max_examples=25)
@given(NOISE, st.data())
def test_posterior_equals_brute_force_bayes(noise: tuple, data: st.DataObject) -> None:
    process = process_of(noise)
    t = data.draw(st.integers(1, STEPS))
    s = data.draw(st.integers(0, t - 1))
    j = data.draw(st.integers(0, process.classes - 1))
    seed = data.draw(st.integers(0, 1000))
    p = torch.rand(process.classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(0)
    found = process.posterior(torch.tensor([[j]]), p[None, :, None], torch.tensor([t]), torch.tensor([s]))
    torch.testing.assert_close(found[0, :, 0], brute_force(process, p, j, t, s), rtol=0, atol=1e-9)


@settings(max_examples=25)
@given(NOISE, st.integers(1, STEPS), st.integers(0, 1000))
def test_informed_logits_are_those_of_bayes(noise: tuple, t: int, seed: int) -> None:
    process = process_of(noise)
    prior = torch.randn(1, process.classes, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    x_t = torch.arange(4)[None] % process.classes
    seen = kernel(process.alpha_bar[t], process.classes, process.rest)[:, x_t[0]]  # [x_0, voxel]
    wanted = prior[0].softmax(0) * seen
    found = process.informed(prior, x_t, torch.tensor([t])).softmax(1)[0]
    torch.testing.assert_close(found, wanted / wanted.sum(0), rtol=0, atol=1e-9)


def test_single_precision_stays_within_1e_6_of_bayes() -> None:
    process = Categorical(20, cosine(1000))
    p = torch.randn(20, generator=torch.Generator().manual_seed(0), dtype=torch.float64).mul(3).softmax(0)
    for t, s in [(1, 0), (2, 1), (500, 499), (1000, 968), (1000, 0), (32, 1)]:
        found = process.posterior(torch.tensor([[7]]), p[None, :, None].float(), torch.tensor([t]), torch.tensor([s]))
        torch.testing.assert_close(found[0, :, 0].double(), brute_force(process, p, 7, t, s), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rest", [None, (0.1, 0.6, 0.25, 0.05)], ids=("even", "uneven"))
@pytest.mark.parametrize(("t", "s"), [(1, 0), (2, 1), (10, 4), (STEPS, STEPS - 1), (STEPS, 0)])
def test_draws_follow_the_posterior(t: int, s: int, rest: tuple[float, ...] | None) -> None:
    """200,000 draws: each frequency within five standard deviations."""
    classes, n = 4, 200_000
    process = Categorical(classes, cosine(STEPS), rest)
    logits = torch.tensor([1.5, -0.5, 0.0, 0.7])
    x_t = torch.full((1, n), 2)
    drawn = process.draw(x_t, logits.view(1, -1, 1).expand(1, classes, n), (t, s), generators(3))
    p = logits.double().softmax(0)
    wanted = brute_force(process, p, 2, t, s)
    found = torch.bincount(drawn[0], minlength=classes) / n
    assert ((found - wanted).abs() <= 5 * (wanted * (1 - wanted) / n).sqrt() + 1e-9).all()


@pytest.mark.parametrize("rest", [None, (0.1, 0.5, 0.2, 0.15, 0.05)], ids=("even", "uneven"))
@pytest.mark.parametrize("t", [1, 20, STEPS])
def test_forward_noise_follows_the_kernel(t: int, rest: tuple[float, ...] | None) -> None:
    classes, n = 5, 200_000
    process = Categorical(classes, cosine(STEPS), rest)
    drawn = process.noised(torch.full((1, n), 3), torch.tensor([t]), generators(1))
    wanted = kernel(process.alpha_bar[t], classes, rest)[3]
    found = torch.bincount(drawn[0], minlength=classes) / n
    assert ((found - wanted).abs() <= 5 * (wanted * (1 - wanted) / n).sqrt() + 1e-9).all()


@settings(max_examples=12)
@given(NOISE, st.integers(1, STEPS), st.integers(0, 1000))
def test_divergence_equals_the_definition(noise: tuple, t: int, seed: int) -> None:
    """Against KL of two brute-force posteriors, in double precision, for all pairs of classes."""
    process = process_of(noise)
    classes = process.classes
    logits = torch.randn(classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    pairs = torch.cartesian_prod(torch.arange(classes), torch.arange(classes))
    x0, x_t = pairs[:, 0], pairs[:, 1]
    found = process.divergence(x0[None], x_t[None], logits.view(1, -1, 1).expand(1, -1, len(pairs)), torch.tensor([t]))
    for value, d, j in zip(found[0], x0.tolist(), x_t.tolist(), strict=True):
        q = brute_force(process, torch.eye(classes, dtype=torch.float64)[d], j, t, t - 1)
        p = brute_force(process, logits.softmax(0), j, t, t - 1)
        wanted = torch.special.xlogy(q, q / p).sum()
        torch.testing.assert_close(value, wanted, rtol=1e-6, atol=1e-9)


def test_divergence_has_finite_gradients_at_extreme_logits() -> None:
    process = Categorical(3, cosine(1000))
    logits = torch.tensor([60.0, -60.0, 0.0]).view(1, 3, 1).repeat(4, 1, 1).requires_grad_()
    x = torch.tensor([[1]] * 4)
    process.divergence(x, x, logits, torch.tensor([1, 2, 500, 1000])).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_a_perfect_network_samples_its_data() -> None:
    """With a network that knows x_0, every chain of visits ends in x_0."""
    process = Categorical(6, cosine(STEPS))
    x0 = torch.randint(0, 6, (1, 4, 5), generator=torch.Generator().manual_seed(0))
    logits = 1000.0 * torch.nn.functional.one_hot(x0, 6).movedim(-1, 1).float()
    one = generators(5)
    x = process.pure_noise(x0, one)
    for jump in visits(STEPS, 7):
        x = process.draw(x, logits, jump, one)
    assert torch.equal(x, x0)


def test_a_case_draws_the_same_in_any_batch() -> None:
    process = Categorical(4, cosine(STEPS))
    logits = torch.zeros(2, 4, 30)
    x = torch.zeros(2, 30, dtype=torch.long)
    both = process.draw(x, logits, (20, 10), generators(1, 2))
    alone = process.draw(x[1:], logits[1:], (20, 10), generators(2))
    assert torch.equal(both[1:], alone)
