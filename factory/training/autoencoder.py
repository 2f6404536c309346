"""Stage II: train the anatomy-aware autoencoder on crops of CTs with their masks.

Loss: the mean absolute difference seen through one random CT window a case (HDR), the same without
a window, as a mean over voxels and as a mean over the structures there are, lesions apart from their organs, and the
bottleneck's own. Every range of HU thus has its turn, none is ever without a gradient, and a rib counts like a liver. What a
window shows is counted in HU like all else: in shares of its width, narrow windows would outweigh all others.
Discriminators and the perceptual term, where asked for, see through the same windows at full contrast.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from factory.engines.guidegen.config import AutoencoderConfig
from factory.engines.guidegen.networks import autoencoder
from factory.engines.guidegen.sampling import padded
from factory.models.autoencoder import HU_UNIT
from factory.models.critics import Critics
from factory.models.perceptual import Perceptual
from factory.models.tiling import reconstruct
from factory.models.window import draw_window
from factory.training.data import Cases, Example
from factory.training.loop import Stage
from factory.training.pictures import draw_grey
from manifests.errors import MissingDependencyError

__all__ = ["AIR", "AutoencoderStage", "by_structure", "volumes"]

BOTTLENECK_WEIGHT = {"kl": 1e-4, "vq": 1.0}
PERCEPTUAL_WEIGHT = 0.1
ADVERSARIAL_WEIGHT, ADVERSARIAL_FROM = 0.05, 1000
"""Weight of the discriminators' judgement, and the step from which it counts."""
AIR = -1.0
WINDOWS_HU = {"lung": (-1000.0, -500.0), "soft": (-160.0, 240.0), "bone": (240.0, 1500.0)}
"""Ranges of HU in which the validation counts errors, by the value of the original voxel."""
_SCORED, _PICTURED = 4, 3

Volume = Float[Tensor, "b one z y x"]
Labels = Int64[Tensor, "b z y x"]


@dataclass(frozen=True, slots=True)
class _Batch:
    ct: Volume
    anatomy: Labels
    lesions: Labels
    seeds: list[int]


class AutoencoderStage(Stage):
    """The autoencoder with its cases and its loss.

    Args:
        config: of the network.
        cases: with CT.
        crop: voxels along z, y, x of a training crop; multiples of the network's factor.
        device: where it computes.
        perceptual: frozen network of the perceptual term, or None.
    """

    def __init__(
        self,
        config: AutoencoderConfig,
        cases: Cases,
        crop: tuple[int, int, int],
        device: torch.device,
        perceptual: Perceptual | None = None,
    ) -> None:
        super().__init__()
        self.config, self._cases, self._crop, self._device = config, cases, crop, device
        self.network = autoencoder(config).to(device)
        if config.adversarial:
            self.helpers = _critics().to(device)
        self._perceptual = [] if perceptual is None else [perceptual.to(device)]  # in a list: not trained, not saved
        self.count = len(cases.training)
        self._classes = config.class_of_id()

    def fetch(self, case: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """Read a case and cut a crop out of it; where the case is smaller, air is put behind it."""
        example = self._cases.load(self._cases.training[case])
        random = np.random.default_rng(seed)
        assert example.ct is not None
        box = []
        for count, wide in zip(example.ct.shape, self._crop, strict=True):
            start = int(random.integers(max(1, count - wide + 1)))
            box.append(slice(start, start + wide))
        missing = [(0, max(0, wide - count)) for count, wide in zip(example.ct.shape, self._crop, strict=True)]
        ct = np.pad(example.ct[tuple(box)], missing, constant_values=AIR)
        anatomy, lesions = (np.pad(labels[tuple(box)], missing) for labels in (example.anatomy, example.lesions))
        return ct, self._classes[anatomy], lesions, seed

    def collate(self, examples: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray, int]]) -> _Batch:
        """Join crops."""
        ct, anatomy, lesions = (np.stack([one[part] for one in examples]) for part in range(3))
        return _Batch(
            torch.from_numpy(ct)[:, None].to(self._device),
            torch.from_numpy(anatomy).long().to(self._device),
            torch.from_numpy(lesions).long().to(self._device),
            [one[3] for one in examples],
        )

    def forward(self, batch: _Batch) -> dict[str, Tensor]:
        """Loss of a batch, by part; every window is the same for all that is compared."""
        generators = [torch.Generator().manual_seed(seed) for seed in batch.seeds]
        made, bottleneck = self.network(batch.ct, batch.anatomy, batch.lesions, generators)
        made = made.float()
        off = (made - batch.ct).abs()
        parts = {"plain": off.mean(), "structures": self._by_structure(off, batch), "bottleneck": bottleneck}
        loss = parts["plain"] + parts["structures"] + BOTTLENECK_WEIGHT[self.config.size.bottleneck] * bottleneck
        real = batch.ct
        if self.config.hdr:
            windows = [draw_window(ct.cpu(), one) for ct, one in zip(batch.ct, generators, strict=True)]
            real, made = (
                torch.stack([window(ct) for window, ct in zip(windows, volumes, strict=True)])
                for volumes in (real, made)
            )
            half = torch.tensor([window.width / 2 for window in windows], device=made.device)
            parts["windowed"] = ((made - real).abs().flatten(1).mean(1) * half).mean()
            loss = loss + parts["windowed"]
        if self._perceptual or self.helpers is not None:
            axis = int(torch.randint(3, (1,), generator=generators[0]))
        for network in self._perceptual:
            parts["perceptual"] = network(real, made, axis)
            loss = loss + PERCEPTUAL_WEIGHT * parts["perceptual"]
        if self.helpers is not None:
            parts["deceived"], parts["critics"] = self.helpers.judge(real, made, axis)
            # the critics learn from the start, the autoencoder from them once it has found its feet
            weight = ADVERSARIAL_WEIGHT * (self.step >= ADVERSARIAL_FROM)
            loss = loss + weight * parts["deceived"] + parts["critics"]
        return {"loss": loss, **parts}

    def _by_structure(self, off: Volume, batch: _Batch) -> Float[Tensor, ""]:
        return by_structure(off, batch.anatomy + self.config.classes * batch.lesions)

    def validate(self, folder: Path, step: int) -> dict[str, float]:
        """Mean absolute errors in HU over whole held-out cases, and pictures of a few."""
        errors: dict[str, list[float]] = {}
        rows = []
        for pair in self._cases.held_out[:_SCORED]:
            example = self._cases.load(pair)
            ct, anatomy, lesions = volumes(example, self._classes, self.config.size.factor, self._device)
            with torch.inference_mode():
                made = reconstruct(self.network, ct, anatomy, lesions).float()
            off = (made - ct).abs() * HU_UNIT
            errors.setdefault("error_hu", []).append(float(off.mean()))
            for name, (low, high) in WINDOWS_HU.items():
                inside = (ct >= low / HU_UNIT) & (ct < high / HU_UNIT)
                if inside.any():
                    errors.setdefault(f"error_{name}_hu", []).append(float(off[inside].mean()))
            rows.append((example.record.case_id, [one[0, 0].cpu().numpy() for one in (ct, made)]))
        draw_grey(folder / f"autoencoder-{step:08d}.png", rows[:_PICTURED])
        return {name: float(np.mean(values)) for name, values in errors.items()}


def by_structure(off: Float[Tensor, "*any z y x"], anatomy: Int64[Tensor, "*some z y x"]) -> Float[Tensor, ""]:
    """Mean over the classes that are there of the mean over their voxels."""
    _, index, counts = anatomy.unique(return_inverse=True, return_counts=True)
    sums = off.new_zeros(len(counts)).index_add(0, index.flatten(), off.flatten())
    return (sums / counts).mean()


def _critics() -> Critics:
    try:
        return Critics()
    except ImportError as error:
        raise MissingDependencyError(
            "--adversarial", got=str(error), need="the package monai", do="pip install 'ct-factory[train]'."
        ) from error


def volumes(example: Example, classes: np.ndarray, factor: int, device: torch.device) -> tuple[Volume, Labels, Labels]:
    """A whole case as the autoencoder takes it: CT with air behind its ends, classes, and lesions."""
    assert example.ct is not None
    ct = padded(torch.from_numpy(example.ct) - AIR, factor) + AIR
    anatomy, lesions = (
        padded(torch.from_numpy(labels).long(), factor) for labels in (classes[example.anatomy], example.lesions)
    )
    return ct[None, None].to(device), anatomy[None].to(device), lesions[None].to(device)
