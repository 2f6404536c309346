# ruff: noqa: N999  nnU-Net names modules like classes
"""The trainer behind `downstream.usability`: that of `downstream.transfer`, on the cases that the plan names.

All arms share one folder of preprocessed cases and one plan; `plans["factory_training"]["cases"]` says which of them an arm
trains on, so that a checkpoint does, too.
"""

from downstream.trainers.nnUNetTrainerTransfer import nnUNetTrainerTransfer

__all__ = ["nnUNetTrainerArm"]


class nnUNetTrainerArm(nnUNetTrainerTransfer):  # noqa: N801  nnU-Net's naming
    """Seeded, resumable, without mirroring; epochs and iterations come with the plan."""

    def do_split(self) -> tuple[list[str], list[str]]:
        """Train on the named cases; nothing is held out to choose a checkpoint by."""
        return list(self.dials["cases"]), []
