"""Tiles of a volume: they cover it, their weights add up, and a network of local layers cannot tell them from the whole."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.models import tiling
from factory.models.autoencoder import Autoencoder, AutoencoderSize
from factory.models.tiling import Tiling, decode, encode, reconstruct


@st.composite
def tilings(draw) -> Tiling:
    margin = draw(st.integers(0, 4))
    overlap = draw(st.integers(2 * margin, 2 * margin + 5))
    return Tiling(draw(st.integers(max(1, 2 * overlap), 2 * overlap + 9)), overlap, margin)


@settings(max_examples=25)
@given(tilings(), st.integers(1, 90), st.sampled_from([1, 2, 4]))
def test_weights_add_up_to_one_and_outer_margins_count_nothing(how: Tiling, count: int, scale: int) -> None:
    spans, weights = how.spans(count), how.weights(count, scale)
    total = torch.zeros(count * scale)
    for number, ((start, stop), weight) in enumerate(zip(spans, weights, strict=True)):
        assert 0 <= start < stop <= count
        assert stop - start <= how.tile
        total[start * scale : stop * scale] += weight
        edge = how.margin * scale
        if edge and number:
            assert not weight[:edge].any()
        if edge and number < len(spans) - 1:
            assert not weight[-edge:].any()
    torch.testing.assert_close(total, torch.ones_like(total))


def network() -> Autoencoder:
    """Random weights, none of them silent."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Autoencoder(AutoencoderSize(4, (1, 2), 1, 2, "kl", 8, 2), 3).eval()
        for parameter in net.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return net


def volumes() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    one = torch.Generator().manual_seed(1)
    shape = (1, 60, 8, 44)
    ct = torch.randn(1, *shape, generator=one)
    return ct, torch.randint(3, shape, generator=one), torch.randint(2, shape, generator=one)


HOW = Tiling(tile=28, overlap=14, margin=7)
"""Margins of seven latents: further than a value reaches through a level of each resolution."""


@torch.inference_mode()
def test_tiles_equal_the_whole() -> None:
    net, (ct, anatomy, lesions) = network(), volumes()
    latents = net.encode(ct, anatomy, lesions)[2]
    assert len(HOW.spans(latents.shape[2])) > 1
    torch.testing.assert_close(encode(net, ct, anatomy, lesions, HOW), latents, atol=1e-4, rtol=1e-4)
    whole = net.decode(latents, anatomy, lesions)
    torch.testing.assert_close(decode(net, latents, anatomy, lesions, HOW), whole, atol=1e-4, rtol=1e-4)
    cut = Tiling(tile=28, overlap=0, margin=0)
    assert (decode(net, latents, anatomy, lesions, cut) - whole).abs().max() > 1e-2


@torch.inference_mode()
@pytest.mark.parametrize("most", [0, 2**30])
def test_large_volumes_are_tiled_unasked(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    net, (ct, anatomy, lesions) = network(), volumes()
    monkeypatch.setattr(tiling, "WHOLE_BYTES", most)
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(Tiling, "spans", lambda self, count: asked.append((count, 0)) or [(0, count)])
    torch.testing.assert_close(reconstruct(net, ct, anatomy, lesions), net(ct, anatomy, lesions)[0])
    assert bool(asked) == (most == 0)
