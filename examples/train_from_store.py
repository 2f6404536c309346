"""Train a small network on random patches straight from a dataset, without an export.

python examples/train_from_store.py DATASET [EPOCHS]
"""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from downstream.patches import PatchDataset, PatchOptions
from downstream.splits import k_folds
from manifests.dataset import Dataset


def main(root: Path, epochs: int) -> None:
    dataset = Dataset.open(root)
    fold = k_folds(dataset.accepted(), {}, 2)[0]
    options = PatchOptions((32, 32, 32), "guidegen20-tumour", samples=8, seed=0, foreground=0.5, wanted=("tumour",))
    training = PatchDataset(dataset, options, fold.train)
    network = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv3d(8, 21, 1))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for epoch in range(epochs):
        for batch in DataLoader(training.epoch(epoch), batch_size=4):
            image = batch["image"].float().clamp(-1000, 1000) / 1000
            loss = nn.functional.cross_entropy(network(image), batch["label"][:, 0].long())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        print(f"epoch {epoch}: loss {loss.item():.3f}")
    held_out = PatchDataset(dataset, options, fold.val)
    with torch.no_grad():
        correct = [
            (network(item["image"][None].float().clamp(-1000, 1000) / 1000).argmax(1) == item["label"]).float().mean()
            for item in held_out
        ]
    print(f"held-out voxels right: {100 * torch.stack(correct).mean().item():.0f} %")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5)
