# ruff: noqa: N999  nnU-Net names modules like classes
"""The trainer behind `downstream.transfer`: nnU-Net's network, loss and checkpoints, on a CPU as fast as it gets.

What differs from nnU-Net's: patches come from memory and by number (`batches.py`), so that an interrupted training goes on
exactly where it stood; steps are counted one by one; nothing is mirrored; small organs weigh more in the cross-entropy at first; the network may
be folded (`folded.py`), see soft tissue spread (`squeeze.py`) and learn by `muon.py`; on a CPU arrays are kept channels last, which is 2 to 4 times
faster there, and bfloat16 is used where the processor multiplies it (AMX or AVX512-BF16), which nnU-Net does on GPUs alone.
Dials come with the plan (`plans["factory_training"]`).
"""

import math
import sys
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from downstream.trainers.autocast import autocast_cpu
from downstream.trainers.batches import Batches, Case
from downstream.trainers.folded import FOLD, Folded
from downstream.trainers.muon import Muon
from downstream.trainers.squeeze import Squeeze, squeeze, unchanged

__all__ = ["nnUNetTrainerTransfer"]

_CHECKPOINT_STEPS = 25
_CLIP = 12.0  # norm of the gradient, as in nnU-Net
_POWER = 0.9  # of the fall of the learning rate, as in nnU-Net
_WARM_STEPS = 50  # in which the rate of Muon and Adam rises
_RARITY = 0.5  # power of a label's rarity that it weighs by at the first step; it falls to 0
_HEAVIEST = 30.0


class nnUNetTrainerTransfer(nnUNetTrainer):  # type: ignore[misc]  # noqa: N801  nnU-Net's naming
    """nnU-Net's trainer with its loop unrolled to single steps that can be resumed."""

    def __init__(
        self,
        plans: dict[str, Any],
        configuration: str,
        fold: int,
        dataset_json: dict[str, Any],
        device: torch.device = torch.device("cuda"),  # noqa: B008  nnU-Net's signature
    ) -> None:
        self.dials = plans["factory_training"]
        torch.manual_seed(self.dials["seed"])
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.initial_lr = self.dials["learning_rate"]
        self.num_epochs = self.dials["iterations"]  # an epoch is one step here
        self.inference_allowed_mirroring_axes = None
        measured = plans["foreground_intensity_properties_per_channel"]["0"]
        self.squeeze: Squeeze = squeeze(measured) if self.dials.get("squeezed") else unchanged

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> torch.nn.Module:
        """nnU-Net's network, folded where the plan's configuration says so."""
        folded = configuration_manager.configuration.get("folded", False)
        factor = FOLD if folded else 1
        network: torch.nn.Module = nnUNetTrainer.build_network_architecture(
            plans_manager,
            configuration_manager,
            factor * num_input_channels,
            factor * num_output_channels,
            enable_deep_supervision,
        )
        return Folded(network) if folded else network

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, None]:
        """Muon, or nnU-Net's SGD; the rate is set at each step."""
        if self.dials["optimiser"] == "sgd":
            return super().configure_optimizers()[0], None
        return Muon(self.network.named_parameters(), self.initial_lr, self.weight_decay), None

    def initialize(self) -> None:
        """Lay the network out for the device."""
        super().initialize()
        if self.device.type == "cpu":
            self.network.to(memory_format=torch.channels_last_3d)  # in place

    def run_training(self) -> None:
        """Train from the first step or from the last checkpoint; leaves `checkpoint_final.pth`."""
        self.initialize() if not self.was_initialized else None
        folder = Path(self.output_folder)
        latest = folder / "checkpoint_latest.pth"
        if latest.is_file():
            self.load_checkpoint(str(latest))
        batches = self._batches()
        frequencies = batches.frequencies(self.label_manager.num_segmentation_heads)
        self.network.train()
        losses: list[float] = []
        first: int = self.current_epoch  # type: ignore[has-type]
        for step in range(first, self.num_epochs):
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate(step)
            if self.dials["optimiser"] != "sgd":
                self.loss = self._weighted_loss(_weights(frequencies, 1 - step / self.num_epochs))
            losses.append(self._step(*batches[step]))
            self.current_epoch = step
            if (step + 1) % _CHECKPOINT_STEPS == 0 or step + 1 == self.num_epochs:
                self._keep(latest, losses)
                losses = []
        finished = folder / "checkpoint_final.partial"
        self.save_checkpoint(str(finished))
        finished.replace(folder / "checkpoint_final.pth")
        latest.unlink()

    def _rate(self, step: int) -> float:
        """The rate falls by nnU-Net's polynomial, or rises for a while and falls by a cosine."""
        share: float = step / self.num_epochs
        if self.dials["optimiser"] == "sgd":
            return float(self.initial_lr * (1 - share) ** _POWER)
        return float(self.initial_lr * min(1.0, (step + 1) / _WARM_STEPS) * (0.5 + 0.5 * math.cos(math.pi * share)))

    def _weighted_loss(self, weights: torch.Tensor) -> DeepSupervisionWrapper:
        """nnU-Net's loss, with labels weighed.

        Dice counts double, because nnU-Net averages it over all labels and half of them are missing in a patch.
        """
        dice = {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False}
        loss = DC_and_CE_loss(
            dice,
            {"weight": weights.to(self.device)},
            weight_ce=1,
            weight_dice=2,
            dice_class=MemoryEfficientSoftDiceLoss,
        )
        depths = [0.5**i for i in range(len(self._get_deep_supervision_scales()))]
        return DeepSupervisionWrapper(loss, [one / sum(depths) for one in depths])

    def _batches(self) -> Batches:
        names, _ = self.do_split()
        dataset, _ = self.get_tr_and_val_datasets()
        cases = (Case.load(dataset, name, self.squeeze) for name in sorted(names))
        size = self.configuration_manager.patch_size
        return Batches(cases, size, self.batch_size, self.dials["seed"], self.device)

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        if self.device.type != "cpu":
            step: dict[str, Any] = self.train_step({"data": images, "target": self._targets(labels)})
            return float(step["loss"])
        self.optimizer.zero_grad(set_to_none=True)
        with autocast_cpu(self.device):
            output = self.network(images.contiguous(memory_format=torch.channels_last_3d))
        loss = self.loss([one.float() for one in output], self._targets(labels))
        loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP))
        if not (
            math.isfinite(found := float(loss.detach())) and math.isfinite(norm)
        ):  # the last checkpoint is unharmed
            raise FloatingPointError(f"step {self.current_epoch + 1}: loss {found}, gradient {norm}")
        self.optimizer.step()
        return found

    def _targets(self, labels: torch.Tensor) -> list[torch.Tensor]:
        """Labels at each resolution of the deep supervision."""
        scales = self._get_deep_supervision_scales()
        sizes = [tuple(round(n * s) for n, s in zip(labels.shape[2:], scale, strict=True)) for scale in scales]
        return [torch.nn.functional.interpolate(labels, size=size, mode="nearest-exact") for size in sizes]

    def _keep(self, path: Path, losses: list[float]) -> None:
        """Write a checkpoint in one move, then tell the calling process."""
        partial = path.with_suffix(".partial")
        self.save_checkpoint(str(partial))
        partial.replace(path)
        done = self.current_epoch + 1
        with Path(self.output_folder, "loss.csv").open("a", encoding="utf-8") as file:
            file.write(f"{done},{sum(losses) / len(losses):.4f}\n")
        sys.stdout.write(f"@progress train {done} {self.num_epochs}\n")
        sys.stdout.flush()


def _weights(frequencies: torch.Tensor, left: float) -> torch.Tensor:
    """What each label weighs in the cross-entropy: the root of its rarity at first, so that small ones are learnt from the first step on, and 1 at last.

    Weights that stay draw rare labels too large: a voxel is called theirs where that is likely by one in ten. Dice keeps them from being forgotten.

    Args:
        frequencies: share of voxels that each label has.
        left: of the training, 1 to 0.
    """
    weights = frequencies.pow(-_RARITY * left)
    return (weights / (weights * frequencies).sum()).clamp(max=_HEAVIEST)
