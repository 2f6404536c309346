"""What a transfer will cost on this machine: a few training steps are measured, the rest follows from the counts."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from downstream.step_cost import measured_step_s
from downstream.transfer import TransferOptions, check_target
from manifests.dataset import Dataset

__all__ = ["Costs", "transfer_costs"]

_BUILD_S, _EXPORT_S, _PREPARE_S = 4.0, 0.5, 3.0  # of one core for a case at 3 mm; rough
_PATCH_SHARE = 0.35  # of a step, that predicting one patch takes
_SCAN_MM = (400.0, 350.0, 420.0)  # extent of a chest and abdomen, for the number of windows
_SCORE_S = 20.0  # for a scan


@dataclass(frozen=True, slots=True)
class Costs:
    """Estimates by step, in seconds; `step_s` is measured.

    Attributes:
        cases: synthetic cases, `scans` real ones.
        step_s: one training step; 0 for a plan with nnU-Net's own network, which is known only once it has planned.
        seconds: by stage, those of finished work included.
        note: what the figures leave out.
    """

    cases: int
    scans: int
    step_s: float
    seconds: dict[str, float]
    note: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self) | {"total_s": sum(self.seconds.values())}

    def __str__(self) -> str:
        """Lines for people."""
        lines = [
            f"{self.cases} synthetic cases, {self.scans} real scans; {self.step_s:.2f} s a training step, measured"
        ]
        lines += [f"  {stage:8} {seconds / 60:6.1f} min" for stage, seconds in self.seconds.items()]
        return "\n".join([*lines, f"  {'in all':8} {sum(self.seconds.values()) / 60:6.1f} min; {self.note}"])


def transfer_costs(options: TransferOptions, real: Path, source: Path | int) -> Costs:
    """Estimate the cost of a transfer; nothing is written.

    Args:
        options: how to train.
        real: dataset to predict.
        source: dataset to train on, or number of cases to build.

    Raises:
        InputError: as `check_target`.
    """
    _, cases, wanted = check_target(real, options)
    count = source if isinstance(source, int) else len(Dataset.open(source).accepted())
    size = options.size()
    step_s = measured_step_s(size, len(wanted.labels), options.device) if size["features"] else 0.0
    scans = len(cases) + min(8, count)
    windows = _windows(size) if size["features"] else 0.0
    seconds = {
        "build": count * _BUILD_S / options.workers if isinstance(source, int) else 0.0,
        "export": count * _EXPORT_S,
        "prepare": count * _PREPARE_S / options.workers,
        "train": size["members"] * size["iterations"] * step_s,
        "predict": scans
        * len(size["scales"])
        * (size["members"] * windows * _PATCH_SHARE * step_s / max(size["batch"], 1) + 10),
        "score": scans * _SCORE_S,
    }
    known = "rough but for the training; building depends on preset and dial"
    note = known if size["features"] else "training and prediction of this plan are not estimated"
    return Costs(count, len(cases), step_s, seconds, note)


def _windows(size: dict[str, Any]) -> float:
    """Patches of a scan that overlap by half."""
    product = 1.0
    for extent, patch in zip(_SCAN_MM, size["patch_zyx"], strict=True):
        product *= max(1.0, -(-(extent / size["spacing_mm"] - patch) // (patch / 2)) + 1)
    return product
