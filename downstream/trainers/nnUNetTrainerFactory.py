# ruff: noqa: N999  nnU-Net names modules like classes
"""A trainer for nnU-Net, found by it through `nnUNet_extTrainer`: short, seeded, without mirroring.

Its dials come with the plan (`plans["factory_training"]`: epochs, iterations, val_iterations,
learning_rate, seed), so that a checkpoint says how it was trained. It mirrors along no axis: a torso is
symmetric along none, and left/right labels would be taught wrong.
"""

import random
import sys
from typing import Any

import numpy as np
import torch
from nnunetv2.training.lr_scheduler.polylr import PolyLRScheduler
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

__all__ = ["nnUNetTrainerFactory"]


class nnUNetTrainerFactory(nnUNetTrainer):  # type: ignore[misc]  # noqa: N801  nnU-Net's naming
    """nnU-Net's trainer with epochs and iterations as parameters."""

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008  nnU-Net's signature
    ) -> None:
        dials = plans["factory_training"]
        random.seed(dials["seed"])
        np.random.seed(dials["seed"])  # noqa: NPY002  nnU-Net draws from the global generator
        torch.manual_seed(dials["seed"])
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.initial_lr = dials["learning_rate"]
        self.num_epochs = dials["epochs"]
        self.num_iterations_per_epoch = dials["iterations"]
        self.num_val_iterations_per_epoch = dials["val_iterations"]

    def configure_rotation_dummyDA_mirroring_and_inital_patch_size(self) -> tuple[Any, Any, Any, tuple[int, ...]]:  # noqa: N802
        """Augment as nnU-Net does, but never mirror, in training or prediction."""
        rotation, dummy_2d, initial_patch_size, _ = super().configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        self.inference_allowed_mirroring_axes = None
        return rotation, dummy_2d, initial_patch_size, ()

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, PolyLRScheduler]:
        """Adam, as in nnU-Net's own Adam trainers: its SGD with momentum 0.99 takes thousands of iterations to set off."""
        parameters = self.network.parameters()
        optimizer = torch.optim.AdamW(parameters, lr=self.initial_lr, weight_decay=self.weight_decay, amsgrad=True)
        return optimizer, PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)

    def initialize(self) -> None:
        """On a CPU, keep channels last in memory: a third less time for an iteration of a small U-Net."""
        super().initialize()
        if self.device.type == "cpu":
            self.network.to(memory_format=torch.channels_last_3d)  # in place

    def train_step(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Train on one batch, laid out like the network."""
        if self.device.type == "cpu":
            batch["data"] = batch["data"].to(memory_format=torch.channels_last_3d)
        step: dict[str, Any] = super().train_step(batch)
        return step

    def on_epoch_end(self) -> None:
        """Tell the calling process how far the training is."""
        super().on_epoch_end()
        sys.stdout.write(f"@progress train {self.current_epoch} {self.num_epochs}\n")
        sys.stdout.flush()
