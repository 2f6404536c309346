"""A real nnU-Net on an exported dataset: plan, train one fold, segment its validation cases, score.

The work runs in a process of its own (`python -m downstream.nnunet_job`), because nnU-Net
starts worker processes, reads its folders from the environment and prints. Fingerprint, planner, preprocessing and sliding
window are nnU-Net's; network, patches and steps are those of `bench transfer`, so that a CPU does it in an hour.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from downstream.ledger import writing
from downstream.metrics import CaseScore, LabelSummary, mean_dice, summarise
from downstream.nnunet_layout import require_nnunet
from downstream.nnunet_process import environment, run_module
from downstream.plain_json import plain
from downstream.transfer_plans import transfer_plan
from manifests.errors import (
    FileFormatError,
    InvalidValueError,
    LocationError,
    UnknownNameError,
)

__all__ = ["PLANS", "NnunetOptions", "NnunetResult", "run_nnunet"]

PLANS: dict[str, dict[str, Any]] = {
    name: transfer_plan(name).to_json() | {"spacing_mm": None, "members": 1} for name in ("tiny", "nano", "full")
}
"""Sizes of `bench transfer` by name, one network at the spacing that nnU-Net plans."""

_DEVICES = ("cpu", "cuda")
_JOB = "job.json"


@dataclass(frozen=True, slots=True)
class NnunetOptions:
    """How to train.

    Attributes:
        plan: a key of `PLANS`.
        fold: which split of `splits_final.json`.
        iterations: training steps; None for the plan's.
        seed: of weights, patches and augmentation.
        device: "cpu" or "cuda".
        workers: processes for preprocessing.
    """

    plan: str = "nano"
    fold: int = 0
    iterations: int | None = None
    seed: int = 0
    device: str = "cpu"
    workers: int = 2

    def size(self) -> dict[str, Any]:
        """The plan as plain data, with the iterations asked for."""
        return PLANS[self.plan] | ({"iterations": self.iterations} if self.iterations else {})


@dataclass(frozen=True, slots=True)
class NnunetResult:
    """What came out: scores of the held-out cases, and what would be needed to repeat it.

    `facts` holds versions, the plan's hash, the case ids of both sides and seconds per stage.
    """

    dataset: str
    options: NnunetOptions
    scores: tuple[CaseScore, ...]
    facts: dict[str, Any]

    def labels(self) -> list[LabelSummary]:
        """One row per foreground label."""
        return summarise(self.scores)

    def mean_dice(self) -> tuple[float, int]:
        """Mean of the label means, and over how many labels."""
        return mean_dice(self.labels())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON data; a DSC that is undefined (both masks empty) is null."""
        mean, count = self.mean_dice()
        data = {
            "dataset": self.dataset,
            "options": asdict(self.options),
            "mean_dice": mean,
            "mean_over_labels": count,
            "labels": [asdict(row) for row in self.labels()],
            "cases": [asdict(row) for row in self.scores],
            "facts": self.facts,
        }
        cleaned: dict[str, Any] = plain(data)
        return cleaned


def run_nnunet(
    folder: Path, out: Path, options: NnunetOptions, on_progress: Callable[[str, int, int], object] | None = None
) -> NnunetResult:
    """Train nnU-Net on one fold of an exported dataset and score its validation cases.

    Args:
        folder: `DatasetXXX_Name` as `factory export nnunet` makes it.
        out: folder for preprocessed data, checkpoints, predictions, `log.txt` and `results.json`;
            new, or from an earlier call, which is then replaced.
        options: how to train.
        on_progress: called with the stage ("plan", "prepare", "train", "predict"), what is done and the total.

    Raises:
        InputError: for a folder that is no such dataset, an unknown plan, fold or device, or an
            `out` that holds something else; nothing is written then.
        WorkerError: if nnU-Net fails; the message has its last lines.
    """
    _validate(folder, out, options)
    with writing(out):
        for name in ("preprocessed", "results", "predictions"):
            shutil.rmtree(out / name, ignore_errors=True)
            (out / name).mkdir(parents=True)
        job = {"folder": str(folder.resolve()), "plan": options.size(), "options": asdict(options)}
        (out / _JOB).write_text(json.dumps(job, indent=2) + "\n", encoding="utf-8")
    (out / "log.txt").unlink(missing_ok=True)
    variables = environment(folder.parent, out, options.workers)
    run_module(
        "downstream.nnunet_job", [str(out.resolve())], variables, out / "log.txt", on_progress or (lambda *_: None)
    )
    raw = json.loads((out / "predictions" / "scores.json").read_text(encoding="utf-8"))
    result = NnunetResult(folder.name, options, tuple(_score(row) for row in raw["scores"]), raw["facts"])
    with writing(out):
        (out / "results.json").write_text(json.dumps(result.to_json(), indent=2) + "\n", encoding="utf-8")
    return result


def _validate(folder: Path, out: Path, options: NnunetOptions) -> None:
    if options.plan not in PLANS:
        raise UnknownNameError("--plan", got=repr(options.plan), need=f"one of {', '.join(PLANS)}", do="Choose a plan.")
    if options.device not in _DEVICES:
        raise UnknownNameError(
            "--device", got=repr(options.device), need=f"one of {', '.join(_DEVICES)}", do="Choose a device."
        )
    for name, least in (("iterations", 1), ("workers", 1), ("seed", 0)):
        if (value := getattr(options, name)) is not None and value < least:
            raise InvalidValueError(f"--{name}", got=str(value), need=f"{least} or more", do="Correct it.")
    folds = _folds(folder)
    if not 0 <= options.fold < folds:
        raise InvalidValueError(
            "--fold", got=str(options.fold), need=f"0 to {folds - 1}", do=f"{folder.name} has {folds} folds."
        )
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not (out / _JOB).is_file())):
        raise LocationError(str(out), got="something else", need="a new folder", do="Choose another --out.")
    require_nnunet()


def _folds(folder: Path) -> int:
    """Number of splits of an nnU-Net raw dataset that is complete."""
    try:
        json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        return len(json.loads((folder / "splits_final.json").read_text(encoding="utf-8")))
    except OSError as error:
        raise LocationError(
            str(folder),
            got=f"no {Path(error.filename or folder).name}",
            need="a finished nnU-Net export with its splits",
            do="Make one: factory export nnunet.",
        ) from error
    except ValueError as error:
        raise FileFormatError(str(folder), got=str(error), need="valid JSON", do="Export it again.") from error


def _score(row: dict[str, Any]) -> CaseScore:
    return CaseScore(**(row | {"dice": float("nan") if row["dice"] is None else row["dice"]}))
