"""Train a small segmenter of a dataset's organs in minutes on a CPU, in the form of `builtin:FOLDER`.

    python benchmarks/tiny_segmenter.py DATASET --out FOLDER [--steps 300] [--spacing 6] [--threads 1] [--seed 0]

For the table of planted faults (`factory bench faults`), not for patients: it learns to find nine organs in images like those it
was trained on. A fifth of the cases is held out; their DSC goes into the configuration as the segmenter's ceiling.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from downstream.image_mask import compare_case, summarise_masks
from downstream.resampling import resampled
from downstream.segmenter_builtin import BuiltinConfig, BuiltinSegmenter, builtin_network, write_builtin
from manifests.dataset import Dataset
from manifests.schemes import paint, scheme

LABELS = ("spleen", "kidneys", "liver", "stomach", "lungs", "urinary_bladder", "heart", "vertebrae", "aorta")
PATCH, BATCH = (64, 48, 48), 1
CARD = "# Tiny segmenter\n\nMade by benchmarks/tiny_segmenter.py from synthetic cases, to check measures with. Not for patients.\n"


def volumes(dataset: Dataset, config: BuiltinConfig, ids: list[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Normalised CT and labels at the network's spacing."""
    painted = scheme("guidegen20")
    table = np.zeros(256, np.int64)
    for value, name in enumerate(config.labels, start=1):
        table[painted.labels[name]] = value
    found = []
    for case_id in ids:
        arrays, record = dataset.read(case_id), dataset.record(case_id)
        values, grid = resampled(arrays.ct, arrays.grid, config.spacing_mm)
        places = [
            ((np.arange(n) + 0.5) * config.spacing_mm / s).astype(int).clip(0, m - 1)
            for n, s, m in zip(grid.shape_zyx, arrays.grid.spacing_mm_zyx, arrays.grid.shape_zyx, strict=True)
        ]
        labels = table[paint(arrays.anatomy, arrays.lesions, record.lesions, painted)][np.ix_(*places)]
        normalised = (values.clip(*config.clip_hu) - config.mean_hu) / config.sd_hu
        fill = [(0, max(edge - n, 0)) for n, edge in zip(labels.shape, PATCH, strict=True)]
        found.append((np.pad(normalised.astype(np.float32), fill), np.pad(labels, fill)))
    return found


def train(cases: list[tuple[np.ndarray, np.ndarray]], config: BuiltinConfig, steps: int, seed: int) -> nn.Module:
    """Cross-entropy plus soft Dice on random patches."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = builtin_network(config).train()
    optimiser = torch.optim.AdamW(network.parameters(), 4e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps, pct_start=0.1)
    started = time.monotonic()
    for step in range(steps):
        batch = [patch(*cases[rng.integers(len(cases))], rng) for _ in range(BATCH)]
        images, labels = (torch.from_numpy(np.stack(part)) for part in zip(*batch, strict=True))
        scores = network(images[:, None])
        shares = scores.softmax(1)
        onehot = nn.functional.one_hot(labels, 1 + len(config.labels)).movedim(-1, 1)
        overlap = (shares * onehot).sum((0, 2, 3, 4))[1:]
        total = (shares + onehot).sum((0, 2, 3, 4))[1:]
        loss = nn.functional.cross_entropy(scores, labels) + 1 - ((2 * overlap + 1) / (total + 1)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 25 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.3f}, {time.monotonic() - started:.0f} s", flush=True)
    return network.eval()


def patch(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random place; brightness and contrast varied as between scanners."""
    starts = [int(rng.integers(n - edge + 1)) for n, edge in zip(image.shape, PATCH, strict=True)]
    place = tuple(slice(start, start + edge) for start, edge in zip(starts, PATCH, strict=True))
    varied = image[place] * np.float32(1 + 0.05 * rng.standard_normal()) + np.float32(0.05 * rng.standard_normal())
    return varied, labels[place]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--spacing", type=float, default=6.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    config = BuiltinConfig(
        name="tiny",
        labels=LABELS,
        spacing_mm=asked.spacing,
        patch_zyx=PATCH,
        clip_hu=(-1000, 600),
        mean_hu=-100,
        sd_hu=300,
        features=(8, 16, 32, 48),
        convolutions=(1, 1, 2, 2),
    )
    dataset = Dataset.open(asked.dataset)
    ids = [record.case_id for record in dataset.accepted()]
    held_out = ids[::5]
    network = train(volumes(dataset, config, [i for i in ids if i not in held_out]), config, asked.steps, asked.seed)
    write_builtin(asked.out, network, config, CARD)
    segmenter = BuiltinSegmenter(asked.out)
    cases = [compare_case(dataset, dataset.record(case), segmenter, scheme("guidegen20")) for case in held_out]
    summary = summarise_masks(cases, segmenter, seed=0)
    reached = {row.label: round(row.dice.mean, 4) for row in summary.labels}
    on = f"{len(held_out)} held-out cases of {asked.dataset.name}"
    write_builtin(asked.out, network, config.model_copy(update={"held_out_dice": reached, "held_out_on": on}), CARD)
    print(reached)


if __name__ == "__main__":
    main()
