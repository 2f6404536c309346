"""Stage I: train the semantic synthesizer on the masks and prompts of datasets.

Loss of a case, in nats a voxel: T times the KL divergence of one step t of 1..T (in expectation the
variational bound; small t are drawn more often and count less), plus the cross-entropy of the predicted x_0; both for the anatomy, and with a
weight for the lesions. It is taken at every voxel near a lesion and at a random share of the others, which count for the rest.
What reads the text is taught before, by texts alone (`facts.py`), and then fixed, as a pretrained encoder would be.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from scipy import ndimage
from torch import Tensor

from factory.diffusion.schedule import training_chances
from factory.engines.guidegen.config import MasksConfig
from factory.engines.guidegen.networks import Told, synthesizer
from factory.engines.guidegen.sampling import Drawing, draw_masks, processes, view_of
from factory.models.condition import Condition
from factory.training.data import Cases, Example
from factory.training.facts import TextStage
from factory.training.loop import item_seed
from factory.training.pictures import draw_rows
from factory.training.texts import UNTOLD, prompt_of, text_for
from manifests.geometry import Grid
from prompts.render import render

__all__ = ["MasksStage", "judged"]

LESION_WEIGHT = 500.0
"""Lesions are less than a thousandth of a body: the weight is on their whole term, so their frequency stays as it is."""
CROSS_ENTROPY = 1.0
JUDGED, _NEAR = 1 / 8, 2
"""Share of voxels at which the loss is taken, and how near to a lesion, in voxels, all are."""
_PICTURED, _SCORED = 3, 6
_PICTURE_STEPS = 16


@dataclass(frozen=True, slots=True)
class _Case:
    anatomy: Int64[Tensor, "z y x"]
    lesions: Int64[Tensor, "z y x"]
    at: Int64[Tensor, "n 3"]
    weight: Float[Tensor, " n"]
    grid: Grid
    text: str
    told: bool
    seed: int


@dataclass(frozen=True, slots=True)
class _Batch:
    anatomy: Int64[Tensor, "b z y x"]
    lesions: Int64[Tensor, "b z y x"]
    at: Int64[Tensor, "b n"]
    weight: Float[Tensor, "b n"]
    condition: Condition
    seeds: list[int]


class MasksStage(TextStage[MasksConfig]):
    """The synthesizer with its cases and its loss."""

    def __init__(self, config: MasksConfig, cases: Cases, device: torch.device) -> None:
        super().__init__()
        self.config, self._cases, self._device = config, cases, device
        self.network, self.told = _placed(config, device)
        self.count = len(cases.training)
        self._processes = processes(config)
        self._chances = training_chances(config.steps)
        self._classes = config.class_of_id()

    def fetch(self, case: int, seed: int) -> _Case:
        """Read a case and draw its text."""
        return self._case(self._cases.load(self._cases.training[case]), seed)

    def _case(self, example: Example, seed: int) -> _Case:
        random = np.random.default_rng(seed)
        text = text_for(prompt_of(example.record), random)
        anatomy = torch.from_numpy(self._classes[example.anatomy]).long()
        lesions = torch.from_numpy(example.lesions).long()
        at, weight = judged(example.lesions, random)
        return _Case(anatomy, lesions, at, weight, example.grid, text, bool(random.random() >= UNTOLD), seed)

    def collate(self, examples: Sequence[_Case]) -> _Batch:
        """Join cases, smaller ones padded; what is padded has no part in the loss."""
        shape = np.max([case.grid.shape_zyx for case in examples], axis=0)

        def joined(volumes: Sequence[Tensor]) -> Tensor:
            batch = torch.zeros(len(volumes), *shape, dtype=volumes[0].dtype)
            for place, volume in zip(batch, volumes, strict=True):
                nz, ny, nx = volume.shape
                place[:nz, :ny, :nx] = volume
            return batch.to(self._device)

        view = view_of([case.grid for case in examples])
        view = replace(view, spacing_mm=view.spacing_mm.to(self._device), extent_mm=view.extent_mm.to(self._device))
        ids = self.told([case.text for case in examples]).to(self._device)
        keep = torch.tensor([case.told for case in examples], device=self._device)
        stride = torch.tensor([shape[1] * shape[2], shape[2], 1])
        padded = torch.nn.utils.rnn.pad_sequence
        return _Batch(
            joined([case.anatomy for case in examples]),
            joined([case.lesions for case in examples]),
            padded([case.at @ stride for case in examples], batch_first=True).to(self._device),
            padded([case.weight for case in examples], batch_first=True).to(self._device),
            Condition(ids, keep, view),
            [case.seed for case in examples],
        )

    def forward(self, batch: _Batch) -> dict[str, Tensor]:
        """Loss of a batch, by variable and kind."""
        generators = [torch.Generator().manual_seed(seed) for seed in batch.seeds]
        t = 1 + torch.cat([torch.multinomial(self._chances, 1, generator=one) for one in generators])
        counts = (1 / (self.config.steps * self._chances[t - 1])).float().to(self._device)
        t = t.to(self._device)
        clean = batch.anatomy, batch.lesions
        noisy = [process.noised(x, t, generators) for process, x in zip(self._processes, clean, strict=True)]
        logits = self.network(noisy[0], noisy[1], t, batch.condition, batch.at)
        chosen = [[x.flatten(1).gather(1, batch.at) for x in pair] for pair in (clean, noisy)]
        found: dict[str, Tensor] = {}
        total = torch.zeros((), device=self._device)
        parts = zip(("anatomy", "lesions"), (1.0, LESION_WEIGHT), self._processes, *chosen, logits, strict=True)
        for name, weight, process, x0, x_t, scores in parts:
            scores = process.informed(scores.float(), x_t, t)
            kl = self.config.steps * _mean(process.divergence(x0, x_t, scores, t), batch.weight, counts)
            ce = _mean(torch.nn.functional.cross_entropy(scores, x0, reduction="none"), batch.weight, counts)
            total = total + weight * (kl + CROSS_ENTROPY * ce)
            found |= {f"{name}_kl": kl, f"{name}_ce": ce}
        return {"loss": total, **found}

    def validate(self, folder: Path, step: int) -> dict[str, float]:
        """Losses of held-out cases at fixed noise, and samples of a few beside the cases."""
        examples = [self._cases.load(pair) for pair in self._cases.held_out[:_SCORED]]
        scores: dict[str, float] = {}
        with torch.inference_mode():
            for number, example in enumerate(examples):
                case = replace(self._case(example, item_seed(1, number)), told=True)
                for name, loss in self.forward(self.collate([case])).items():
                    scores[name] = scores.get(name, 0.0) + float(loss) / len(examples)
        rows = []
        for number, example in enumerate(examples[:_PICTURED]):
            text = render(prompt_of(example.record))
            generators = [torch.Generator().manual_seed(number)]
            drawing = Drawing(
                text, example.grid, generators, min(_PICTURE_STEPS, self.config.steps), self.config.guidance
            )
            anatomy, lesions, _ = draw_masks(self.network, self.told, self.config, drawing)
            rows.append((text, (example.anatomy, example.lesions), (self.config.id_of_class()[anatomy], lesions)))
        draw_rows(folder / f"masks-{step:08d}.png", rows)
        return scores


def _placed(config: MasksConfig, device: torch.device) -> tuple[torch.nn.Module, Told]:
    net, told = synthesizer(config)
    return net.to(device), told


def judged(lesions: UInt8[np.ndarray, "z y x"], random: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Voxels to take the loss at, and how many voxels each stands for, so that means over all are estimated without bias."""
    near = np.zeros(lesions.shape, bool)
    if lesions.any():
        ndimage.binary_dilation(lesions, iterations=_NEAR, output=near)
    every, others = np.flatnonzero(near), np.flatnonzero(~near)
    some = random.choice(others, max(1, round(JUDGED * len(others))), replace=False) if len(others) else others
    weight = np.concatenate([np.ones(len(every)), np.full(len(some), len(others) / max(1, len(some)))])
    places = np.unravel_index(np.concatenate([every, some]), lesions.shape)
    return torch.from_numpy(np.stack(places, 1)), torch.from_numpy(weight.astype(np.float32))


def _mean(values: Float[Tensor, "b n"], weight: Float[Tensor, "b n"], counts: Float[Tensor, " b"]) -> Float[Tensor, ""]:
    """Weighted mean over the voxels of each case, then over cases, each counted that often."""
    return ((values * weight).sum(1) / weight.sum(1) * counts).mean()
