"""A work folder of a usability study: what `job.json` asks for, and where things lie.

- `job.json`: everything that the processes need to know
- `raw/Dataset901_Real`, `raw/Dataset902_Synthetic`: exports; `raw/Dataset910_Fold0` names the files that fold 0 is planned on
- `preprocessed/Dataset910_Fold0`: the plan of fold 0 and its cases, shared by all arms
- `trainings/fold0-real-seed0`: results (checkpoints), predictions, scores, log.txt
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from downstream.nnunet_plan import PLANS_NAME
from downstream.transfer_plans import DIALS
from manifests.identity import content_hash

__all__ = ["Job", "pool_folder", "pool_name", "training_folder"]


def pool_name(fold: int) -> str:
    """nnU-Net's name of the dataset that holds the cases of all arms of a fold."""
    return f"Dataset{910 + fold}_Fold{fold}"


def pool_folder(out: Path, fold: int) -> Path:
    """Where the plan of a fold and its preprocessed cases lie."""
    return out / "preprocessed" / pool_name(fold)


def training_folder(out: Path, name: str) -> Path:
    """Folder of one training."""
    return out / "trainings" / name


@dataclass(frozen=True)
class Job:
    """What `downstream.usability.study` wrote into `job.json`."""

    out: Path
    data: dict[str, Any]

    @classmethod
    def read(cls, out: Path) -> "Job":
        """The job of a work folder."""
        return cls(out, json.loads((out / "job.json").read_text(encoding="utf-8")))

    @property
    def options(self) -> dict[str, Any]:
        """Options as plain data."""
        options: dict[str, Any] = self.data["options"]
        return options

    def plan(self, fold: int) -> dict[str, Any]:
        """The plan that all arms of a fold share."""
        plan: dict[str, Any] = json.loads((pool_folder(self.out, fold) / f"{PLANS_NAME}.json").read_text("utf-8"))
        return plan

    def dials(self, name: str) -> dict[str, Any]:
        """What the trainer is told of a training, beside the shared plan."""
        size, training = self.data["plan"]["size"], self.data["trainings"][name]
        chosen = {key: size[key] for key in DIALS}
        return chosen | {"seed": training["seed"], "cases": list(training["train"])}

    def keys(self, name: str) -> dict[str, str]:
        """Hash of all that each step of a training depends on; "" where its plan is not made yet."""
        training, sources = self.data["trainings"][name], self.data["sources"]
        if not (pool_folder(self.out, training["fold"]) / f"{PLANS_NAME}.json").is_file():
            return dict.fromkeys(("train", "predict", "score"), "")
        known = {side: {case: sources[case] for case in training[side]} for side in ("train", "test")}
        plan, labels = self.plan(training["fold"]), self.options["scheme"]
        train = content_hash([plan, labels, self.dials(name), known["train"]])
        predict = content_hash([train, known["test"]])
        score = content_hash([predict, self.options["tolerance_mm"]])
        return {"train": train, "predict": predict, "score": score}

    def finished(self) -> list[str]:
        """Trainings that have been scored from what the job asks for now, in order."""
        done = []
        for name in self.data["trainings"]:
            mark = training_folder(self.out, name) / "steps" / "score.done"
            if mark.is_file() and mark.read_text(encoding="utf-8") == self.keys(name)["score"]:
                done.append(name)
        return done

    def files(self, case: str) -> tuple[Path, Path]:
        """Image and label of a training case, as exported."""
        folder = Path(self.data["exports"][case])
        return folder / "imagesTr" / f"{case}_0000.nii.gz", folder / "labelsTr" / f"{case}.nii.gz"
