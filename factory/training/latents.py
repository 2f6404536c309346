"""Stage III: train the feature generator on the latents of CTs, which are computed once and kept on disk.

Latents are shifted to zero mean a channel and scaled, all alike, to unit variance. The loss is the mean squared
error of the prediction (noise, velocity or flow), as a mean over voxels and as a mean over the structures there are, lesions apart
from their organs: half of a volume is air, whose noise says nothing, and an aorta is a few voxels of latents. Beside it the features of
masks and text alone learn to guess the latents, without noise in their way: what phase does to an aorta is learnt there. Half of the steps are drawn evenly from 1..T, half from its last third:
there noise leaves only masks and text to go by, and it is there that a drawing gets its enhancement.
"""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from factory.diffusion.gaussian import Gaussian
from factory.diffusion.schedule import cosine
from factory.engines.guidegen.config import AutoencoderConfig, LatentsConfig
from factory.engines.guidegen.networks import autoencoder, generator
from factory.engines.guidegen.noise import NoiseKeys, latent_noise
from factory.engines.guidegen.sampling import Drawing, draw_ct, padded, view_of
from factory.models.autoencoder import HU_UNIT, Autoencoder
from factory.models.condition import Condition
from factory.models.tiling import encode
from factory.training.autoencoder import by_structure, volumes
from factory.training.checkpoint import write_bytes
from factory.training.data import Cases
from factory.training.facts import TextStage
from factory.training.loop import item_seed
from factory.training.pictures import draw_grey
from factory.training.runs import Trained
from factory.training.texts import UNTOLD, prompt_of, whole_text_for
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.geometry import Grid
from prompts.render import render

__all__ = ["Latents", "LatentsStage"]

_SCORED, _PICTURED, _PICTURE_STEPS = 8, 3, 16

Latents5d = Float[Tensor, "b c zl yl xl"]


class Latents:
    """Latents of cases under one autoencoder, each computed once and kept in a folder.

    Args:
        cases: with CT, at the autoencoder's spacing.
        coder: its trained weights.
        folder: where they are kept; a subfolder is named after the weights.
    """

    def __init__(self, cases: Cases, coder: Trained, folder: Path, device: torch.device) -> None:
        assert isinstance(coder.config, AutoencoderConfig)
        self.cases, self.config, self.sha256, self._device = cases, coder.config, coder.sha256, device
        self._folder = folder / coder.sha256[:16]
        self.network: Autoencoder = autoencoder(coder.config).to(device).eval()
        self.network.load_state_dict(safetensors.torch.load(coder.data))
        self._classes = coder.config.class_of_id()

    def prepare(self, advance: Callable[[], None] = lambda: None) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Compute what is missing; mean of each channel, and standard deviation of all, once for each, over the training cases.

        A scale for each channel would make those that hardly carry anything as loud as the one that carries the HU.
        """
        count, total, squares = 0, np.zeros(1), np.zeros(1)
        for number, pair in enumerate((*self.cases.training, *self.cases.held_out)):
            latents = self.load(pair)
            if number < len(self.cases.training):
                flat = latents.reshape(len(latents), -1).astype(np.float64)
                count, total, squares = count + flat.shape[1], total + flat.sum(1), squares + (flat**2).sum(1)
            advance()
        mean = total / count
        sd = np.sqrt(np.maximum((squares / count - mean**2).mean(), 1e-12))
        return tuple(mean.tolist()), (float(sd),) * len(mean)

    def load(self, pair: tuple[Dataset, CaseRecord]) -> Float32[np.ndarray, "c z y x"]:
        """The latents of a case, from the folder or computed; a damaged file is computed again."""
        record = pair[1]
        path = self._folder / f"{record.case_id}-{_content(record)}.npy"
        try:
            return np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            pass
        ct, anatomy, lesions = volumes(self.cases.load(pair), self._classes, self.config.size.factor, self._device)
        with torch.inference_mode():
            latents = encode(self.network, ct, anatomy, lesions)[0].float().cpu().numpy()
        buffer = io.BytesIO()
        np.save(buffer, latents, allow_pickle=False)
        write_bytes(path, buffer.getvalue())
        return latents


@dataclass(frozen=True, slots=True)
class _Case:
    latents: Tensor
    anatomy: Int64[Tensor, "z y x"]
    lesions: Int64[Tensor, "z y x"]
    grid: Grid
    text: str
    told: bool
    seed: int


class LatentsStage(TextStage[LatentsConfig]):
    """The feature generator with its cases and its loss; a batch holds one shape, so it is made of parts of one."""

    def __init__(self, config: LatentsConfig, latents: Latents, device: torch.device) -> None:
        super().__init__()
        self.config, self._latents, self._device = config, latents, device
        net, self.told = generator(config)
        self.network = net.to(device)
        self.count = len(latents.cases.training)
        self._process = Gaussian(config.prediction, cosine(config.steps))
        self._classes, self._keys = config.class_of_id(), NoiseKeys(config)
        self._factor = 2**config.halvings
        mean, sd = (torch.tensor(values).view(-1, 1, 1, 1) for values in (config.latent_mean, config.latent_sd))
        self._mean, self._sd = mean, sd

    def fetch(self, case: int, seed: int) -> _Case:
        """Read the latents and masks of a case and draw its text."""
        return self._case(self._latents.cases.training[case], seed)

    def _case(self, pair: tuple[Dataset, CaseRecord], seed: int) -> _Case:
        example = self._latents.cases.load(pair)
        latents = (torch.from_numpy(self._latents.load(pair)) - self._mean) / self._sd
        random = np.random.default_rng(seed)
        text = whole_text_for(prompt_of(example.record), random)
        anatomy, lesions = (
            padded(torch.from_numpy(labels).long(), self._factor)
            for labels in (self._classes[example.anatomy], example.lesions)
        )
        told = self.config.reads_text and bool(random.random() >= UNTOLD)
        return _Case(latents, anatomy, lesions, example.grid, text, told, seed)

    def collate(self, examples: Sequence[_Case]) -> list[_Case]:
        """Cases of different shapes stay apart."""
        return list(examples)

    def forward(self, batch: list[_Case]) -> dict[str, Tensor]:
        """Mean squared error over the cases of a batch."""
        alike: dict[torch.Size, list[_Case]] = {}
        for case in batch:
            alike.setdefault(case.latents.shape, []).append(case)
        return {"loss": torch.cat([self._errors(cases) for cases in alike.values()]).mean()}

    def _errors(self, cases: Sequence[_Case]) -> Float[Tensor, " b"]:
        """Mean squared error of each of some cases of one shape, over voxels and over structures."""
        generators = [torch.Generator().manual_seed(case.seed) for case in cases]
        t = torch.tensor([_step(self.config.steps, one) for one in generators], device=self._device)
        x0 = torch.stack([case.latents for case in cases]).to(self._device)
        view = view_of([case.grid for case in cases], self._factor)
        view = replace(view, spacing_mm=view.spacing_mm.to(self._device), extent_mm=view.extent_mm.to(self._device))
        keep = torch.tensor([case.told for case in cases], device=self._device)
        condition = Condition(self.told([case.text for case in cases]).to(self._device), keep, view)
        anatomy, lesions = (
            torch.stack(labels).to(self._device)
            for labels in ([case.anatomy for case in cases], [case.lesions for case in cases])
        )
        labels = anatomy + self.config.classes * lesions
        e = latent_noise(self._keys, generators, x0, labels)
        features = self.network.encode_masks(anatomy, lesions, condition)
        predicted = self.network(self._process.noised(x0, e, t), t, features, condition)
        errors = self._squared(predicted, self._process.target(x0, e, t), labels)
        return (
            errors if self.network.guess is None else errors + self._squared(self.network.guess(features), x0, labels)
        )

    def _squared(self, made: Latents5d, wanted: Latents5d, labels: Int64[Tensor, "b z y x"]) -> Float[Tensor, " b"]:
        """Mean squared error of each case over latents, and over structures, each counting the same."""
        off = ((made.float() - wanted) ** 2).mean(1, keepdim=True)
        wide = nn.functional.interpolate(off, scale_factor=float(self._factor), mode="nearest")
        structures = [by_structure(*case) for case in zip(wide, labels, strict=True)]
        return off.flatten(1).mean(1) + torch.stack(structures)

    def validate(self, folder: Path, step: int) -> dict[str, float]:
        """Loss of held-out cases at fixed noise, and CTs drawn for the masks of a few beside the originals."""
        pairs = self._latents.cases.held_out[:_SCORED]
        with torch.inference_mode():
            told = self.config.reads_text
            cases = [replace(self._case(pair, item_seed(1, number)), told=told) for number, pair in enumerate(pairs)]
            loss = float(np.mean([float(self._errors([case])) for case in cases]))
        rows = []
        for number, pair in enumerate(pairs[:_PICTURED]):
            example = self._latents.cases.load(pair)
            text = render(prompt_of(example.record))
            generators = [torch.Generator().manual_seed(number)]
            steps = min(_PICTURE_STEPS, self.config.steps)
            drawing = Drawing(text, example.grid, generators, steps, self.config.guidance)
            nets = self._latents.network, self.network
            masks = self._classes[example.anatomy], example.lesions
            ct = draw_ct(nets, self.told, self.config, drawing, masks) / HU_UNIT
            assert example.ct is not None
            rows.append((text, [example.ct, ct]))
        draw_grey(folder / f"latents-{step:08d}.png", rows)
        return {"loss": loss}


def _step(steps: int, generator: torch.Generator) -> int:
    """A step to train at: see above."""
    late, place = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
    first = 1 + (2 * steps // 3 if late < 0.5 else 0)
    return first + int(place * (steps + 1 - first))


def _content(record: CaseRecord) -> str:
    """Eight characters that change with the voxels of a case."""
    hashes = f"{record.ct_blake3}{record.anatomy_blake3}{record.lesions_blake3}"
    return hashlib.blake2b(hashes.encode(), digest_size=4).hexdigest()
