"""A small 3-D convolutional network that reads several attributes off a CT, one answer for each.

Five stages of stride 2 and growing width are shared; the mean and the maximum over what is left go to one linear
layer per attribute: the mean tells what fills the body (sex, age, phase), the maximum what stands out
somewhere (a tumour). Single precision throughout: half precision is slower on CPUs without matrix units.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int16, Int64
from torch import nn

__all__ = ["UNKNOWN", "Training", "predict", "train"]

UNKNOWN = -1
"""Target of a case whose attribute is unknown: it is not trained on."""

WINDOWS_HU = ((-160.0, 240.0), (-1000.0, 200.0), (100.0, 1300.0))  # soft tissue, lung, bone
WIDTHS = (16, 24, 48, 96, 128)
BATCH = 8
SHIFT = 3  # voxels that a volume is moved by, at most
SCALE_HU, OFFSET_HU = 0.03, 10.0  # standard deviations: another scanner's calibration
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.02


@dataclass(frozen=True, slots=True)
class Training:
    """How long and from which seed a network is trained."""

    epochs: int = 20
    seed: int = 0


class _Reader(nn.Module):  # type: ignore[misc]
    """Windowed CT to class scores of each attribute."""

    def __init__(self, classes: Mapping[str, int]) -> None:
        super().__init__()
        stages, channels = [], len(WINDOWS_HU)
        for depth, width in enumerate(WIDTHS):
            # the first stage is the largest by far: it makes do with blocks of 2 x 2 x 2 and without a norm
            stages.append(nn.Conv3d(channels, width, 3 if depth else 2, stride=2, padding=1 if depth else 0))
            if depth:
                stages.append(nn.GroupNorm(8, width))
            stages.append(nn.ReLU(inplace=True))
            channels = width
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(0.2)
        self.heads = nn.ModuleDict({name: nn.Linear(2 * channels, count) for name, count in classes.items()})

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.stages(x.to(memory_format=torch.channels_last_3d)).flatten(2)
        pooled = self.dropout(torch.cat([features.mean(2), features.amax(2)], 1))
        return {name: head(pooled) for name, head in self.heads.items()}


def train(
    volumes: Sequence[Int16[np.ndarray, "z y x"]],
    targets: Mapping[str, Int64[np.ndarray, "n"]],
    classes: Mapping[str, int],
    training: Training,
    advance: Callable[[], None] = lambda: None,
) -> nn.Module:
    """Train a network on CTs of one shape; each class of an attribute weighs the same.

    Equal volumes, seed and number of threads give equal weights on one machine.

    Args:
        volumes: CTs in HU, of one shape.
        targets: by attribute, class of each CT from 0, or `UNKNOWN`; every class occurs.
        classes: by attribute, number of classes.
        training: epochs and seed.
        advance: called after each epoch.
    """
    rng = np.random.default_rng(training.seed)
    batches = -(-len(volumes) // BATCH)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(training.seed)
        network = _Reader(classes).to(memory_format=torch.channels_last_3d).train()
        optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, LEARNING_RATE, total_steps=training.epochs * batches, pct_start=0.2
        )
        loss_of = _loss(targets, classes)
        for _ in range(training.epochs):
            for batch in np.array_split(rng.permutation(len(volumes)), batches):
                loss = loss_of(network(_windowed(np.stack([_varied(volumes[i], rng) for i in batch]))), batch)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
            advance()
    return network.eval()


def predict(network: nn.Module, volumes: Sequence[Int16[np.ndarray, "z y x"]]) -> dict[str, Int64[np.ndarray, "n"]]:
    """Read the likeliest class of each attribute off each CT, averaged with the reading of its mirror image."""
    answers: dict[str, list[int]] = {name: [] for name in network.heads}
    with torch.inference_mode():
        for volume in volumes:
            scores = network(_windowed(np.stack([volume, volume[..., ::-1]]).astype(np.float32)))
            for name, score in scores.items():
                answers[name].append(int(score.softmax(1).mean(0).argmax()))
    return {name: np.array(chosen, np.int64) for name, chosen in answers.items()}


def _loss(
    targets: Mapping[str, Int64[np.ndarray, "n"]], classes: Mapping[str, int]
) -> Callable[[dict[str, torch.Tensor], np.ndarray], torch.Tensor]:
    """Sum over attributes of the cross-entropy of the cases whose class is known, classes balanced by weight."""
    weights = {}
    for name, ids in targets.items():
        known = ids[ids != UNKNOWN]
        counts = np.bincount(known, minlength=classes[name])
        weights[name] = torch.tensor(known.size / (classes[name] * counts), dtype=torch.float32)

    def loss(scores: dict[str, torch.Tensor], batch: np.ndarray) -> torch.Tensor:
        total = torch.zeros(())
        for name, weight in weights.items():
            wanted = torch.from_numpy(targets[name][batch])
            each = nn.functional.cross_entropy(
                scores[name], wanted, weight, ignore_index=UNKNOWN, reduction="none", label_smoothing=0.05
            )
            total = total + each.sum() / len(batch)
        return total

    return loss


def _varied(volume: Int16[np.ndarray, "z y x"], rng: np.random.Generator) -> Float32[np.ndarray, "z y x"]:
    """Mirror, move and recalibrate a volume at random; sides are not among what is read."""
    values = volume[..., :: int(rng.choice([-1, 1]))]
    for axis in range(3):
        places = np.arange(volume.shape[axis]) + int(rng.integers(-SHIFT, SHIFT + 1))
        values = values.take(places.clip(0, volume.shape[axis] - 1), axis)
    scale, offset = 1 + SCALE_HU * rng.standard_normal(), OFFSET_HU * rng.standard_normal()
    return (values * scale + offset).astype(np.float32)


def _windowed(ct_hu: Float32[np.ndarray, "n z y x"]) -> torch.Tensor:
    """Stack the windows as channels, each scaled to [-1, 1]."""
    x = torch.from_numpy(ct_hu)[:, None]
    windows = [(x - low).mul_(2 / (high - low)).sub_(1).clamp_(-1, 1) for low, high in WINDOWS_HU]
    return torch.cat(windows, 1)
