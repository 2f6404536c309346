"""Rows of scores that are worked on a few at a time give what all at once give."""

import pytest
import torch

from factory.diffusion import rows as module
from factory.diffusion.categorical import Categorical
from factory.diffusion.rows import few, rows
from factory.diffusion.schedule import cosine
from factory.engines.guidegen.keeping import expected_voxels, of_volume

CLASSES, SIDES = 5, (3, 4, 6)


@pytest.fixture
def scores() -> torch.Tensor:
    """Of two cases, in the order in which networks give them."""
    drawn = torch.randn(2, *SIDES, CLASSES, generator=torch.Generator().manual_seed(3))
    return drawn.movedim(-1, 1)


def test_rows_are_a_view_with_the_classes_of_a_voxel_side_by_side(scores: torch.Tensor) -> None:
    found = rows(scores)
    assert found.shape == (2 * 3 * 4 * 6, CLASSES)
    assert found.data_ptr() == scores.data_ptr()
    assert found[3 * 4 * 6 + 1].equal(scores[1, :, 0, 0, 1])


def test_few_are_all_in_their_order(monkeypatch: pytest.MonkeyPatch, scores: torch.Tensor) -> None:
    monkeypatch.setattr(module, "_FEW", 7)
    parts = few(rows(scores))
    assert [len(part) for part in parts] == [7] * 20 + [4]
    assert torch.cat(parts).equal(rows(scores))
    assert [part.shape for part in few(torch.zeros(2, 10, 3), 1)] == [(2, 7, 3), (2, 3, 3)]


def test_drawings_do_not_depend_on_how_many_are_worked_on_at_once(
    monkeypatch: pytest.MonkeyPatch, scores: torch.Tensor
) -> None:
    process = Categorical(CLASSES, cosine(20))
    labels = scores.argmax(1)

    def all_of() -> tuple[torch.Tensor, ...]:
        generators = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
        drawn = process.draw(labels, scores, (12, 5), generators)
        weighed, added = of_volume(scores[:1], torch.full((1, CLASSES), 72 / CLASSES), likeliest=False)
        return drawn, expected_voxels(scores[:1]), weighed, added

    whole = all_of()
    monkeypatch.setattr(module, "_FEW", 7)
    parts = all_of()
    assert parts[0].equal(whole[0])
    for part, one in zip(parts[1:], whole[1:], strict=True):
        torch.testing.assert_close(part, one)
    assert expected_voxels(whole[2]).allclose(torch.tensor(72 / CLASSES), rtol=0.06)
