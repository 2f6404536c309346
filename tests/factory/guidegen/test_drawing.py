"""Drawing masks with a network whose answer is known."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from factory.engines.guidegen import masks, sampling
from factory.engines.guidegen.config import MasksConfig
from factory.engines.guidegen.masks import open_package
from factory.engines.guidegen.sampling import Drawing, DrawnMasks, draw_masks, processes
from factory.models.facts import FILLED, SCALES, Facts
from factory.models.synthesizer import Synthesizer
from manifests.anatomy import structure
from manifests.geometry import Grid

CONFIG = open_package("").config("masks", MasksConfig)
PROSTATE = int(CONFIG.class_of_id()[structure("prostate").id])
ONE, OTHER = (int(CONFIG.class_of_id()[structure(name).id]) for name in ("visceral_fat", "autochthon_left"))
"""Two classes of no published volume, which would bound them."""
GRID = Grid((8, 10, 12), (12.0, 12.0, 12.0), (0.0, 0.0, 0.0))


class Asking(torch.nn.Module):
    """Reads the same off any text: 8 voxels of lesion in so many tumours, or none."""

    def __init__(self, tumours: int) -> None:
        super().__init__()
        self.tumours = tumours

    def read(self, ids: torch.Tensor) -> Facts:
        none, numbers = torch.zeros(1, CONFIG.classes), torch.zeros(1, 5)
        if not self.tumours:
            return Facts(none, none - 30, none - 30, torch.zeros(1, 4), numbers)
        size_mm = (8 * GRID.voxel_volume_ml * 1000 / (FILLED * math.pi / 6 * self.tumours)) ** (1 / 3)
        numbers[0, :2] = torch.tensor([math.log2(self.tumours), (math.log(size_mm) - SCALES[1][0]) / SCALES[1][1]])
        return Facts(none, none, none - 30, torch.zeros(1, 4), numbers)


class Undecided(Synthesizer):
    """Class ONE with chance 0.7 in the upper half and 0.3 in the lower one, else OTHER, and no lesion, whatever it sees."""

    def __init__(self, tumours: int = 0) -> None:
        torch.nn.Module.__init__(self)
        self.here = torch.nn.Parameter(torch.zeros(()))
        self.conditioner = Asking(tumours)

    def forward(self, anatomy, lesions, t, condition, at=None):
        first = torch.full(anatomy.shape, 0.3)
        first[:, 4:] = 0.7
        scores = torch.full((1, CONFIG.classes, *anatomy.shape[1:]), -30.0)
        scores[:, ONE], scores[:, OTHER] = first.log(), (1 - first).log()
        return scores, torch.tensor([30.0, -30.0]).view(1, 2, 1, 1, 1).expand(1, 2, *anatomy.shape[1:])


def shares_of_class_1(temperature: float) -> tuple[float, float]:
    """In the lower and in the upper half."""
    config = CONFIG.model_copy(update={"temperature": temperature})
    drawing = Drawing("a man", GRID, [torch.Generator().manual_seed(0)], 32, 1.0)
    anatomy, lesions, _ = draw_masks(Undecided(), lambda texts: torch.zeros(1, 4, dtype=torch.long), config, drawing)
    assert set(anatomy.ravel().tolist()) <= {ONE, OTHER}
    assert not lesions.any()
    return float((anatomy[:4] == ONE).mean()), float((anatomy[4:] == ONE).mean())


def test_a_lower_temperature_sharpens_what_is_drawn_at_its_volume() -> None:
    lower, upper = shares_of_class_1(1.0)
    assert abs(lower - 0.3) < 0.08 > abs(upper - 0.7)  # three standard errors of 480 voxels, and the last step's choice
    lower, upper = shares_of_class_1(0.3)
    assert lower < 0.1 < 0.9 < upper
    assert abs(lower + upper - 1) < 0.05


def test_no_lesion_shows_before_organs_have_taken_shape() -> None:
    anatomy, lesions = processes(CONFIG)
    half = CONFIG.steps // 2
    assert lesions.alpha_bar[half] < 1e-5 < 0.4 < anatomy.alpha_bar[half]
    assert lesions.alpha_bar[half // 2] < 0.1  # of a lesion of ten voxels not one yet, on average
    noise = torch.zeros(1, 100, 100, 10, dtype=torch.long)
    assert not lesions.pure_noise(noise, [torch.Generator().manual_seed(0)]).any()


class Fading(Undecided):
    """Expects a prostate of about 50 voxels at first, then of about 10."""

    def forward(self, anatomy, lesions, t, condition, at=None):
        scores, none = super().forward(anatomy, lesions, t, condition, at)
        chance = 30 / anatomy[0].numel() if int(t) == CONFIG.steps else 6 / anatomy[0].numel()
        scores[:, PROSTATE] = math.log(chance)
        scores[:, PROSTATE, 0] += 2  # likelier in one place than in another
        return scores, none


@pytest.fixture
def asked(monkeypatch) -> list[float]:
    """Voxels of a prostate that were asked for, step by step."""
    found: list[float] = []
    weigh = sampling.of_volume

    def recording(logits, voxels, before, *, likeliest):
        found.append(float(voxels[0, PROSTATE]))
        return weigh(logits, voxels, before, likeliest=likeliest)

    monkeypatch.setattr(sampling, "of_volume", recording)
    return found


def test_an_organ_that_was_expected_is_drawn_at_no_less_than_a_share_of_it(asked) -> None:
    drawing = Drawing("a man", GRID, [torch.Generator().manual_seed(0)], 32, 1.0)
    draw_masks(Fading(), lambda texts: torch.zeros(1, 4, dtype=torch.long), CONFIG, drawing)
    assert 30 < asked[0] < 70
    assert min(asked) >= asked[0] / 1.31


class Usual(Undecided):
    """Expects the usual volume of a prostate, which the text says is enlarged with some chance."""

    def __init__(self, logit: float) -> None:
        super().__init__()
        self.answers, read = logit, self.conditioner.read
        self.conditioner.read = lambda ids: self.with_enlarged(read(ids))

    def with_enlarged(self, facts: Facts) -> Facts:
        facts.enlarged[0, PROSTATE] = self.answers
        return facts

    def forward(self, anatomy, lesions, t, condition, at=None):
        scores, none = super().forward(anatomy, lesions, t, condition, at)
        usual = float(sampling._usual_voxels(CONFIG, GRID)[PROSTATE])
        scores[:, PROSTATE] = math.log(usual / anatomy[0].numel())
        return scores, none


@pytest.mark.parametrize(("logit", "least", "most"), [(-0.2, 1.4, 2.0), (-3.0, 0.5, 1.2)])
def test_an_organ_that_may_be_enlarged_is_asked_for_larger_than_usual(asked, logit, least, most) -> None:
    drawing = Drawing("a man", GRID, [torch.Generator().manual_seed(0)], 8, 1.0)
    draw_masks(Usual(logit), lambda texts: torch.zeros(1, 4, dtype=torch.long), CONFIG, drawing)
    usual = float(sampling._usual_voxels(CONFIG, GRID)[PROSTATE])
    assert least < asked[0] / usual < most


def test_what_is_absent_is_not_drawn_however_likely_it_looks() -> None:
    def drawn(chance: float) -> float:
        net = Undecided()
        answers = net.conditioner.read(torch.zeros(1, 4))
        answers.present[0, ONE] = math.log(chance / (1 - chance))
        net.conditioner.read = lambda ids: answers
        drawing = Drawing("a man", GRID, [torch.Generator().manual_seed(0)], 32, 1.0)
        return float(
            (draw_masks(net, lambda texts: torch.zeros(1, 4, dtype=torch.long), CONFIG, drawing)[0] == ONE).mean()
        )

    assert drawn(0.25) == 0
    assert drawn(0.4) > 0.3


def test_segments_of_the_colon_are_joined_where_the_network_leaves_a_gap(monkeypatch) -> None:
    fine = Grid((16, 20, 24), (6.0, 6.0, 6.0), (0.0, 0.0, 0.0))
    ids = [structure(name).id for name in ("visceral_fat", "colon_ascending", "colon_transverse")]
    fat, ascending, transverse = (int(CONFIG.class_of_id()[id]) for id in ids)

    def drawn(net, told, config, drawing):
        classes = np.full(drawing.grid.shape_zyx, fat, np.uint8)
        classes[2:6, 3:7, 1:4], classes[2:6, 3:7, 9:12] = ascending, transverse
        return DrawnMasks(classes, np.zeros_like(classes), 30.0)

    monkeypatch.setattr(masks, "draw_masks", drawn)
    anatomy = masks.GuideGenMasks().draw_text("a man", fine, torch.Generator()).anatomy
    assert ndimage.label(np.isin(anatomy, ids[1:]), np.ones((3, 3, 3)))[1] == 1


class Wavering(Undecided):
    """Expects 8 voxels of lesion times `odds`, four times likelier in the upper half."""

    def __init__(self, odds: float, tumours: int = 8) -> None:
        super().__init__(tumours)
        self.odds = odds

    def forward(self, anatomy, lesions, t, condition, at=None):
        odds = torch.full((1, *anatomy.shape[1:]), 8 / anatomy[0].numel() / 2.5)
        odds[:, 4:] *= 4
        odds = (odds * self.odds).log()
        return super().forward(anatomy, lesions, t, condition, at)[0], torch.stack([0 * odds, odds], 1)


def drawn_lesions(lesion_temperature: float, odds: float, tumours: int = 8) -> tuple[float, float]:
    """Voxels of a drawing, and the share of them in the upper half."""
    config = CONFIG.model_copy(update={"lesion_temperature": lesion_temperature})
    masks = [
        draw_masks(
            Wavering(odds, tumours),
            lambda texts: torch.zeros(1, 4, dtype=torch.long),
            config,
            Drawing("a man", GRID, [torch.Generator().manual_seed(seed)], 32, 1.0),
        )[1]
        for seed in range(40)
    ]
    total = sum(int(mask.sum()) for mask in masks)
    return total / 40, float(sum(mask[4:].sum() for mask in masks)) / max(1, total)


def test_as_much_lesion_is_drawn_as_is_read_off_the_text() -> None:
    count, above = drawn_lesions(1.0, 0.01)
    assert abs(count - 8 / 1.25) < 1.3  # three standard errors
    assert abs(above - 0.8) < 0.1
    cool, surer = drawn_lesions(0.5, 0.01)
    assert abs(cool - 8 / 1.25) < 1.3
    assert abs(surer - 16 / 17) < 0.06
    many, _ = drawn_lesions(1.0, 100.0)
    assert abs(many - 8 * 1.25) < 1.7
    assert drawn_lesions(1.0, 1.0, tumours=0)[0] == 0


def test_a_tumour_that_is_asked_for_comes_however_small_it_is() -> None:
    net = Wavering(1e-6, 1)
    answers = net.conditioner.read(torch.zeros(1, 4))
    answers.numbers[0, 1] = -3.0  # millimetres, in a grid of 12
    net.conditioner.read = lambda ids: answers
    for seed in range(6):
        drawing = Drawing("a man", GRID, [torch.Generator().manual_seed(seed)], 8, 1.0)
        mask = draw_masks(net, lambda texts: torch.zeros(1, 4, dtype=torch.long), CONFIG, drawing)[1]
        assert 1 <= mask.sum() <= 4


def test_lesions_come_in_no_more_parts_than_tumours_were_read() -> None:
    found = {tumours: [] for tumours in (1, 2, 8)}
    for tumours, counts in found.items():
        for seed in range(8):
            drawing = Drawing("a man", GRID, [torch.Generator().manual_seed(seed)], 32, 1.0)
            net = Wavering(1.0, tumours)
            _, mask, _ = draw_masks(net, lambda texts: torch.zeros(1, 4, dtype=torch.long), CONFIG, drawing)
            counts.append((ndimage.label(mask, torch.ones(3, 3, 3))[1], int(mask.sum())))
    assert {count for count, _ in found[1]} == {1}
    assert {count for count, _ in found[2]} <= {1, 2}
    assert max(count for count, _ in found[8]) > 3
    voxels = {tumours: sum(size for _, size in counts) / 8 for tumours, counts in found.items()}
    assert abs(voxels[1] - voxels[8]) < 0.3 * voxels[8]  # what may not begin elsewhere grows on
