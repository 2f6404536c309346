"""Training patches: the same number gives the same patch, labels follow their image, and left stays left."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from downstream.trainers.batches import Batches, Case, _slab, recolour, warp_grid  # noqa: E402


def halves(shape=(40, 48, 56)):
    """Label 1 on the low-x half with value +1, label 2 on the other with value -1, air around."""
    labels = torch.zeros((1, *shape), dtype=torch.uint8)
    labels[:, 6:-6, 6:-6, 6:28] = 1
    labels[:, 6:-6, 6:-6, 28:-6] = 2
    image = torch.zeros((1, *shape))
    image[labels == 1], image[labels == 2] = 1.0, -1.0
    places = tuple(torch.argwhere(labels[0] == value) for value in (1, 2))
    return Case((image - 3 * (labels == 0)).half(), labels, places)


def batches(seed=7, patch=(24, 24, 32), batch=2):
    return Batches([halves(), halves((30, 40, 50))], patch, batch, seed, torch.device("cpu"))


def test_a_step_is_the_same_whatever_came_before():
    one, other = batches(), batches()
    _ = [other[step] for step in range(3)]
    for a, b in zip(one[5], other[5], strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one[5][0], one[6][0])
    assert not torch.equal(one[5][0], batches(seed=8)[5][0])


def test_labels_follow_their_image_and_left_stays_left():
    made, agree = batches(), []
    for step in range(12):
        for image, labels in zip(*made[step], strict=True):
            first, second = (labels == 1), (labels == 2)
            if min(first.sum(), second.sum()) < 200:
                continue
            x = torch.arange(labels.shape[-1]).float()
            assert (first.float().sum((0, 1, 2)) @ x) / first.sum() < (second.float().sum((0, 1, 2)) @ x) / second.sum()
            middle = (image[first].median() + image[second].median()) / 2
            agree += [(image[first] > middle).float().mean(), (image[second] < middle).float().mean()]
    assert len(agree) > 10
    assert min(agree) > 0.8
    assert np.mean(agree) > 0.97


def test_a_patch_larger_than_its_case_is_filled_with_air():
    images, labels = batches(patch=(64, 64, 64), batch=1)[0]
    assert images.shape == labels.shape == (1, 1, 64, 64, 64)
    outside = labels == 0
    assert float(images[outside].mean()) < float(images[~outside].mean())
    assert outside.float().mean() > 0.5


def test_warps_are_rigid_up_to_the_stated_ranges():
    draw = torch.Generator().manual_seed(3)
    for _ in range(20):
        grid = warp_grid((9, 9, 9), torch.tensor([20.0, 30.0, 40.0]), draw)
        assert torch.allclose(grid[4, 4, 4], torch.tensor([20.0, 30.0, 40.0]), atol=10)
        steps = (grid[-1, 4, 4] - grid[0, 4, 4], grid[4, -1, 4] - grid[4, 0, 4], grid[4, 4, -1] - grid[4, 4, 0])
        for axis, step in enumerate(steps):
            assert step.argmax() == axis  # never turned over or mirrored


def test_recolouring_keeps_order_within_a_noiseless_patch_on_average():
    image = torch.linspace(-2, 2, 8000).reshape(1, 1, 20, 20, 20)
    for seed in range(10):
        changed = recolour(image, torch.Generator().manual_seed(seed)).flatten()
        assert torch.corrcoef(torch.stack([image.flatten(), changed]))[0, 1] > 0.9


def test_some_patches_are_slabs_that_their_ends_continue():
    draw = torch.Generator().manual_seed(0)
    drawn = [_slab(32, draw) for _ in range(400)]
    thick = [len(slices.unique()) for slices in drawn]
    assert 0.09 < sum(n < 32 for n in thick) / 400 < 0.21
    assert min(thick) >= 8
    assert all((slices.diff() >= 0).all() and slices.diff().max() == 1 for slices in drawn)
    assert torch.equal(_slab(12, draw), torch.arange(12)), "a patch this thin is a slab already"
