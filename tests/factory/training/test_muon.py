"""Muon: near-orthogonal moves of kernels, and a descent that a single strong direction does not stop."""

import torch

from downstream.trainers.muon import Muon as Segmenters
from factory.training.muon import Muon, orthogonal


def test_singular_values_are_brought_near_one() -> None:
    matrix = torch.randn(6, 20, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.logspace(-1, 1, 20))
    for one in (matrix, matrix.T):
        values = torch.linalg.svdvals(orthogonal(one))
        assert 0.6 < values.min() < values.max() < 1.3
    assert not orthogonal(torch.zeros(3, 4)).any()


def test_an_ill_conditioned_kernel_is_learnt() -> None:
    """Inputs whose strongest channel is ten times the weakest: both channels' weights come out."""
    one = torch.Generator().manual_seed(0)
    scale = torch.tensor([3.0, 1.0, 0.3]).view(1, 3, 1, 1, 1)
    wanted = torch.randn(4, 3, 1, 1, 1, generator=one)
    layer = torch.nn.Conv3d(3, 4, 1)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimiser = Muon(layer.parameters(), 4e-3, 0.0)
    for step in range(300):
        optimiser.param_groups[0]["lr"] = 4e-3 * (1 - step / 300)
        x = torch.randn(8, 3, 2, 2, 2, generator=one) * scale
        optimiser.zero_grad()
        (layer(x) - torch.nn.functional.conv3d(x, wanted)).square().mean().backward()
        optimiser.step()
    torch.testing.assert_close(layer.weight, wanted, rtol=0, atol=0.2)


def test_kernels_move_as_the_trainer_of_segmenters_moves_them() -> None:
    one = torch.Generator().manual_seed(0)
    start = torch.randn(6, 4, 3, 3, 3, generator=one)
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    pair = Muon([ours], 4e-3, 0.01), Segmenters([("kernel", theirs)], 4e-3, 0.01)
    for _ in range(3):
        ours.grad = torch.randn(start.shape, generator=one)
        theirs.grad = ours.grad.clone()
        for optimiser in pair:
            optimiser.step()
    assert not torch.equal(ours, start)
    assert torch.equal(ours, theirs)
