"""What a usability study will cost on this machine: a few training steps are measured, the rest follows from the counts."""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from downstream.step_cost import measured_step_s
from downstream.usability.inputs import Inputs
from downstream.usability.options import UsabilityOptions
from downstream.usability.work import Job

__all__ = ["StudyCosts", "study_costs"]

_EXPORT_S, _PLAN_S, _PREPARE_S = 0.5, 20.0, 2.0  # of one core, for a case, a fold, a case; rough
_PATCH_SHARE = 0.35  # of a training step, that predicting one patch takes
_CASE_S, _LABEL_S, _START_S = 3.0, 0.3, 15.0  # of a test case: way there and back; a label's score; a process
_BYTES = 3  # a voxel in memory: half precision and a label


@dataclass(frozen=True, slots=True)
class StudyCosts:
    """Estimates, in seconds; `step_s` is measured.

    Attributes:
        trainings: networks asked for, `finished` of them trained and scored already.
        arms: training and test cases by arm, of the first fold.
        step_s: one training step; 0 for a plan with nnU-Net's own network, which is known only once it has planned.
        seconds: by stage, for what is left to do.
        memory_gb: of the training cases of the largest arm, which are held in memory; 0 where the spacing is nnU-Net's choice.
        note: what the figures leave out.
    """

    trainings: int
    finished: int
    arms: dict[str, tuple[int, int]]
    step_s: float
    seconds: dict[str, float]
    memory_gb: float
    note: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"total_s": sum(self.seconds.values())}

    def __str__(self) -> str:
        """Lines for people."""
        lines = [f"{self.trainings} trainings, {self.finished} of them finished; {self.step_s:.2f} s a step, measured"]
        lines += [f"  {arm:22} {train:5} to train on, {test} to test" for arm, (train, test) in self.arms.items()]
        lines += [f"  {stage:8} {seconds / 60:7.1f} min" for stage, seconds in self.seconds.items()]
        lines.append(f"  {'in all':8} {sum(self.seconds.values()) / 60:7.1f} min; {self.note}")
        return "\n".join([*lines, f"  memory of the largest arm: {self.memory_gb:.1f} GB"])


def study_costs(inputs: Inputs, options: UsabilityOptions, out: Path) -> StudyCosts:
    """Estimate the cost of a study, or of what is left of one; nothing is written."""
    size = options.size()
    planned = inputs.trainings(options)
    done = _finished(out)
    todo = [training for training in planned if training.name not in done]
    step_s = measured_step_s(size, len(inputs.wanted.labels), options.device) if size["features"] else 0.0
    records = {record.case_id: record for data in (inputs.real, inputs.synthetic) if data for record in data.accepted()}
    needed = {(training.fold, case) for training in todo for case in training.train}
    tests = sum(len(training.test) for training in todo)
    windows = sum(_windows(size, records[case].grid()) for training in todo for case in training.test)
    seconds = {
        "export": len(records) * _EXPORT_S if todo else 0.0,
        "prepare": len({training.fold for training in todo}) * _PLAN_S + len(needed) * _PREPARE_S / options.workers,
        "train": sum(size["iterations"] * step_s + _START_S for _ in todo) / options.parallel,
        "predict": (windows * _PATCH_SHARE * step_s / max(size["batch"], 1) + tests * _CASE_S) / options.parallel,
        "score": tests * len(inputs.wanted.labels) * _LABEL_S / options.parallel,
    }
    memory = max((sum(_voxels(size, records[case].grid()) for case in one.train) for one in planned), default=0.0)
    return StudyCosts(
        trainings=len(planned),
        finished=len(planned) - len(todo),
        arms={one.arm: (len(one.train), len(one.test)) for one in planned if (one.fold, one.seed) == (0, 0)},
        step_s=step_s,
        seconds=seconds,
        memory_gb=memory * _BYTES / 1e9,
        note=f"rough but for the training; {os.cpu_count()} cores" if size["features"] else "training is not estimated",
    )


def _finished(out: Path) -> set[str]:
    try:
        return set(Job.read(out).finished())
    except (OSError, json.JSONDecodeError):
        return set()


def _voxels(size: dict[str, Any], grid: Any) -> float:
    """Voxels of a case at the network's spacing; 0 where that is not known."""
    product = 1.0 if size["spacing_mm"] else 0.0
    for count, spacing in zip(grid.shape_zyx, grid.spacing_mm_zyx, strict=True):
        product *= count * spacing / (size["spacing_mm"] or 1.0)
    return product


def _windows(size: dict[str, Any], grid: Any) -> float:
    """Patches of a scan that overlap by half; 0 where nnU-Net chooses their size."""
    product = 1.0 if size["features"] else 0.0
    for count, spacing, patch in zip(grid.shape_zyx, grid.spacing_mm_zyx, size["patch_zyx"] or (1, 1, 1), strict=True):
        extent = count * spacing / (size["spacing_mm"] or 1.0)
        product *= max(1.0, -(-(extent - patch) // (patch / 2)) + 1)
    return product
