"""What a sharper drawing keeps: volumes of classes, parts of lesions."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from factory.engines.guidegen.keeping import in_parts, kept_voxels, near_parts, not_none, of_volume

CORNERS = np.ones((3, 3, 3))


def softness(seed: int) -> torch.Tensor:
    """Smooth logits of four classes, the last of which is likeliest nowhere."""
    noise = np.random.default_rng(seed).normal(size=(4, 12, 12, 12))
    smooth = np.stack([ndimage.gaussian_filter(one, 1.5) for one in noise]) * 8
    smooth[3] = smooth[:3].max(0) - 0.3 - np.abs(smooth[3])
    return torch.from_numpy(smooth[None]).float()


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_classes_keep_their_volumes(seed: int) -> None:
    logits = softness(seed)
    voxels = logits.softmax(1).sum((2, 3, 4))
    sharp = of_volume(logits / 0.5, voxels, likeliest=False)[0]
    torch.testing.assert_close(sharp.softmax(1).sum((2, 3, 4)), voxels, rtol=0.05, atol=1.0)
    assert sharp.softmax(1).max(1).values.mean() > logits.softmax(1).max(1).values.mean()
    taken = torch.bincount(of_volume(logits / 0.5, voxels, likeliest=True)[0].argmax(1).flatten(), minlength=4)
    assert not (logits.argmax(1) == 3).any()
    torch.testing.assert_close(taken.float(), voxels[0], rtol=0.1, atol=3.0)


def lesions(*places: tuple[int, int, int]) -> torch.Tensor:
    mask = torch.zeros(1, 6, 6, 6, dtype=torch.long)
    for place in places:
        mask[(0, *place)] = 1
    return mask


def test_a_further_part_begins_only_where_one_is_missing() -> None:
    logits, shown = torch.zeros(1, 2, 6, 6, 6), lesions((1, 1, 1))
    free, full = near_parts(logits, shown, 2), near_parts(logits, shown, 1)
    assert torch.equal(free, logits)
    chance = (full[:, 1] - full[:, 0]).sigmoid()[0]
    assert (chance[:3, :3, :3] == 0.5).all()
    assert chance.sum() == 27 * 0.5


def test_of_parts_that_begin_at_once_the_likeliest_stay_and_what_showed_stays_anyway() -> None:
    drawn = lesions((1, 1, 1), (4, 4, 4), (1, 4, 1))
    chance = torch.full((1, 6, 6, 6), 0.1)
    chance[0, 4, 4, 4] = 0.6
    assert torch.equal(in_parts(drawn, lesions(), chance, 1), lesions((4, 4, 4)))
    assert torch.equal(in_parts(drawn, lesions((1, 4, 1)), chance, 1), lesions((1, 4, 1)))
    assert torch.equal(in_parts(drawn, lesions((1, 4, 1)), chance, 2), lesions((1, 4, 1), (4, 4, 4)))
    assert torch.equal(in_parts(drawn, lesions(), chance, 3), drawn)


def test_a_lesion_that_has_not_come_begins_where_it_is_likely_and_one_that_has_stays() -> None:
    chance = torch.full((1, 6, 6, 6), 1e-9)
    chance[0, 4, 4, 4], chance[0, 1, 1, 1] = 0.02, 0.01
    places = [
        tuple(not_none(lesions(), chance, [torch.Generator().manual_seed(seed)]).nonzero()[:, 1:].flatten().tolist())
        for seed in range(300)
    ]
    assert set(places) == {(4, 4, 4), (1, 1, 1)}
    assert 160 < places.count((4, 4, 4)) < 240
    one, state = lesions((2, 2, 2)), torch.Generator().manual_seed(0)
    assert torch.equal(not_none(one, chance, [state]), one)
    assert torch.equal(state.get_state(), torch.Generator().manual_seed(0).get_state())  # nothing was drawn


def test_an_organ_that_is_surely_there_does_not_fade() -> None:
    usual = torch.tensor([float("inf"), 20.0, 20.0, 20.0])
    first = torch.tensor([[100.0, 15.0, 15.0, 5.0]])  # of the last a quarter is expected: most have none
    now = torch.tensor([[10.0, 2.0, 30.0, 0.0]])
    enlarged = torch.zeros(1, 4, dtype=torch.bool)
    assert torch.equal(kept_voxels(now, first, usual, enlarged), torch.tensor([[10.0, 15.0 / 1.3, 30.0, 0.0]]))


def test_an_enlarged_organ_is_larger_than_usual_but_not_where_the_grid_holds_little_of_it() -> None:
    usual = torch.tensor([float("inf"), 20.0, 20.0, 100.0, 20.0])
    first = torch.tensor([[100.0, 15.0, 10.0, 10.0, 15.0]])
    kept = kept_voxels(first, first, usual, torch.tensor([[True, True, True, True, False]]))
    assert torch.equal(kept, torch.tensor([[100.0, 30.0, 30.0, 10.0, 15.0]]))


def test_an_organ_that_is_not_enlarged_stays_within_twice_its_usual_volume() -> None:
    usual = torch.tensor([float("inf"), 5.0, 5.0])
    first = torch.tensor([[100.0, 30.0, 30.0]])
    kept = kept_voxels(first, first, usual, torch.tensor([[False, False, True]]))
    assert torch.equal(kept, torch.tensor([[100.0, 10.0, 30.0]]))


def test_an_organ_that_has_faded_far_is_lifted_all_the_way() -> None:
    logits = torch.zeros(1, 2, 20, 20, 20)
    logits[:, 1] = -12.0 - torch.arange(20.0) / 4
    lifted = of_volume(logits, torch.tensor([[7980.0, 20.0]]), likeliest=False)[0].softmax(1).sum((2, 3, 4))
    assert abs(float(lifted[0, 1]) / 20 - 1) < 0.15
