"""Drawing masks with a network whose answer is known."""

import torch

from factory.engines.guidegen.config import MasksConfig
from factory.engines.guidegen.masks import open_package
from factory.engines.guidegen.sampling import Drawing, draw_masks, processes
from factory.models.synthesizer import Synthesizer
from manifests.geometry import Grid

CONFIG = open_package("").config("masks", MasksConfig)
GRID = Grid((8, 10, 12), (12.0, 12.0, 12.0), (0.0, 0.0, 0.0))


class Undecided(Synthesizer):
    """Class 1 with chance 0.6, class 2 with 0.4, and no lesion, whatever it sees."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.scores = torch.nn.Parameter(torch.full((CONFIG.classes,), -30.0))
        self.scores.data[1], self.scores.data[2] = torch.tensor([0.6, 0.4]).log()

    def forward(self, anatomy, lesions, t, condition, at=None):
        even = torch.ones(1, 1, *anatomy.shape[1:])
        return self.scores.view(1, -1, 1, 1, 1) * even, torch.tensor([30.0, -30.0]).view(1, 2, 1, 1, 1) * even


def share_of_class_1(temperature: float) -> float:
    config = CONFIG.model_copy(update={"temperature": temperature})
    drawing = Drawing("a man", GRID, [torch.Generator().manual_seed(0)], 32, 1.0)
    anatomy, lesions = draw_masks(Undecided(), lambda texts: torch.zeros(1, 4, dtype=torch.long), config, drawing)
    assert set(anatomy.ravel().tolist()) <= {1, 2}
    assert not lesions.any()
    return float((anatomy == 1).mean())


def test_temperature_sharpens_what_is_drawn() -> None:
    assert abs(share_of_class_1(1.0) - 0.6) < 0.06  # three standard errors of 960 voxels, and the last step's choice
    sharp = 0.6 ** (1 / 0.5) / (0.6 ** (1 / 0.5) + 0.4 ** (1 / 0.5))
    assert abs(share_of_class_1(0.5) - sharp) < 0.06
    assert share_of_class_1(0.01) == 1.0


def test_no_lesion_shows_before_organs_have_taken_shape() -> None:
    anatomy, lesions = processes(CONFIG)
    half = CONFIG.steps // 2
    assert lesions.alpha_bar[half] < 1e-5 < 0.4 < anatomy.alpha_bar[half]
    assert lesions.alpha_bar[half // 2] < 0.1  # of a lesion of ten voxels not one yet, on average
    noise = torch.zeros(1, 100, 100, 10, dtype=torch.long)
    assert not lesions.pure_noise(noise, [torch.Generator().manual_seed(0)]).any()


class Wavering(Undecided):
    """Expects 8 voxels of lesion at first and `later` times their odds afterwards, four times likelier in the upper half."""

    def __init__(self, later: float) -> None:
        super().__init__()
        self.later = later

    def forward(self, anatomy, lesions, t, condition, at=None):
        odds = torch.full((1, *anatomy.shape[1:]), 8 / anatomy[0].numel() / 2.5)
        odds[:, 4:] *= 4
        odds = (odds if int(t) == CONFIG.steps else odds * self.later).log()
        return super().forward(anatomy, lesions, t, condition, at)[0], torch.stack([0 * odds, odds], 1)


def drawn_lesions(lesion_temperature: float, later: float) -> tuple[float, float]:
    """Voxels of a drawing, and the share of them in the upper half."""
    config = CONFIG.model_copy(update={"lesion_temperature": lesion_temperature})
    masks = [
        draw_masks(
            Wavering(later),
            lambda texts: torch.zeros(1, 4, dtype=torch.long),
            config,
            Drawing("a man", GRID, [torch.Generator().manual_seed(seed)], 32, 1.0),
        )[1]
        for seed in range(40)
    ]
    return sum(int(mask.sum()) for mask in masks) / 40, float(sum(mask[4:].sum() for mask in masks)) / sum(
        mask.sum() for mask in masks
    )


def test_as_much_lesion_is_drawn_as_was_expected_before_organs_took_shape() -> None:
    count, above = drawn_lesions(1.0, 0.01)
    assert abs(count - 8 / 1.5) < 1.1  # three standard errors
    assert abs(above - 0.8) < 0.1
    cool, surer = drawn_lesions(0.5, 0.01)
    assert abs(cool - 8 / 1.5) < 1.1
    assert abs(surer - 16 / 17) < 0.06
    many, _ = drawn_lesions(1.0, 100.0)
    assert abs(many - 8 * 1.5) < 1.7
