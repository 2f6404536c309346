"""Train the slice-by-slice generator: a random slice of a random case, under the true slices below it.

The slices below are made noisy at random, as the generator's own will be in the end, so that small
errors do not add up from slice to slice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from factory.diffusion.chance import normal
from factory.diffusion.gaussian import Gaussian
from factory.diffusion.schedule import cosine
from factory.engines.guidegen.config import SlicesConfig
from factory.engines.guidegen.networks import slices
from factory.engines.guidegen.sampling import Drawing, view_of
from factory.engines.guidegen.slices import draw_slices, neighbourhood
from factory.models.autoencoder import HU_UNIT
from factory.models.condition import Condition
from factory.training.data import Cases, Example
from factory.training.facts import TextStage
from factory.training.loop import item_seed
from factory.training.pictures import draw_grey
from factory.training.texts import UNTOLD, prompt_of, whole_text_for
from prompts.render import render

__all__ = ["SlicesStage"]

BLUR = 0.05
"""Largest standard deviation of the noise on the slices below, in units of 1000 HU."""
_SLICES = 8
"""Slices of a case in one step: reading a case costs more than computing a slice."""
_SCORED, _PICTURED, _PICTURE_STEPS = 8, 2, 8


@dataclass(frozen=True, slots=True)
class _Case:
    example: Example
    text: str
    told: bool
    seed: int


class SlicesStage(TextStage[SlicesConfig]):
    """The slice generator with its cases and its loss."""

    def __init__(self, config: SlicesConfig, cases: Cases, device: torch.device) -> None:
        super().__init__()
        self.config, self._cases, self._device = config, cases, device
        net, self.told = slices(config)
        self.network = net.to(device)
        self.count = len(cases.training)
        self._process = Gaussian(config.prediction, cosine(config.steps))
        self._classes = config.class_of_id()

    def fetch(self, case: int, seed: int) -> _Case:
        """Read a case and draw its text."""
        return self._case(self._cases.load(self._cases.training[case]), seed)

    def _case(self, example: Example, seed: int) -> _Case:
        random = np.random.default_rng(seed)
        text = whole_text_for(prompt_of(example.record), random)
        return _Case(example, text, bool(random.random() >= UNTOLD), seed)

    def collate(self, examples: Sequence[_Case]) -> list[_Case]:
        """Cases of different shapes stay apart."""
        return list(examples)

    def forward(self, batch: list[_Case]) -> dict[str, Tensor]:
        """Mean squared error over the slices of a batch."""
        return {"loss": torch.stack([self._loss(case) for case in batch]).mean()}

    def _loss(self, case: _Case) -> Tensor:
        example, device = case.example, self._device
        generator = torch.Generator().manual_seed(case.seed)
        assert example.ct is not None
        ct = torch.from_numpy(example.ct).to(device)
        anatomy = torch.from_numpy(self._classes[example.anatomy]).long().to(device)
        lesions = torch.from_numpy(example.lesions).long().to(device)
        view = view_of([example.grid])
        view = replace(view, spacing_mm=view.spacing_mm.to(device), extent_mm=view.extent_mm.to(device))
        places = view.coordinates(example.grid.shape_zyx)
        chosen = torch.randint(len(ct), (_SLICES,), generator=generator).tolist()
        around = [self._around(ct, (anatomy, lesions), z, generator) for z in chosen]
        spots = torch.cat([places[:, :, z : z + 1] for z in chosen])
        x0 = torch.stack([ct[z][None, None] for z in chosen])
        generators = [generator] * len(chosen)
        t = torch.randint(1, self.config.steps + 1, (len(chosen),), generator=generator).to(device)
        e = normal(generators, x0)
        ids = self.told([case.text]).to(device).expand(len(chosen), -1)
        keep = torch.full((len(chosen),), case.told, device=device)
        spread = replace(
            view, spacing_mm=view.spacing_mm.expand(len(chosen), -1), extent_mm=view.extent_mm.expand(len(chosen), -1)
        )
        predicted = self.network(
            self._process.noised(x0, e, t), t, (torch.cat(around), spots), Condition(ids, keep, spread)
        )
        return ((predicted.float() - self._process.target(x0, e, t)) ** 2).mean()

    def _around(self, ct: Tensor, masks: tuple[Tensor, Tensor], z: int, generator: torch.Generator) -> Tensor:
        """Surroundings of a slice, the slices below it made noisy."""
        count = self.config.size.before
        before = torch.zeros(1, count, *ct.shape[1:], device=ct.device)
        have = ct[max(0, z - count) : z]
        if len(have):
            sd = BLUR * float(torch.rand(1, generator=generator))
            before[0, count - len(have) :] = have + sd * torch.randn(have.shape, generator=generator).to(ct.device)
        near = tuple(neighbourhood(labels, z)[None] for labels in masks)
        return self.network.surroundings(near, before, z)

    def validate(self, folder: Path, step: int) -> dict[str, float]:
        """Loss of held-out cases at fixed noise, and CTs drawn for the masks of a few beside the originals."""
        examples = [self._cases.load(pair) for pair in self._cases.held_out[:_SCORED]]
        with torch.inference_mode():
            cases = [replace(self._case(one, item_seed(1, number)), told=True) for number, one in enumerate(examples)]
            loss = float(np.mean([float(self._loss(case)) for case in cases]))
        rows = []
        for number, example in enumerate(examples[:_PICTURED]):
            text = render(prompt_of(example.record))
            steps = min(_PICTURE_STEPS, self.config.steps)
            generators = [torch.Generator().manual_seed(number)]
            drawing = Drawing(text, example.grid, generators, steps, self.config.guidance)
            masks = self._classes[example.anatomy], example.lesions
            ct = draw_slices(self.network, self.told, self.config, drawing, masks) / HU_UNIT
            assert example.ct is not None
            rows.append((text, [example.ct, ct]))
        draw_grey(folder / f"slices-{step:08d}.png", rows)
        return {"loss": loss}
