"""The process behind `downstream.nnunet`: `python -m downstream.nnunet_job OUT` runs `OUT/job.json`.

It is a program of its own because nnU-Net's worker processes import the main module again,
and because its folders are environment variables. Progress lines start with `@progress`.
"""

import json
import math
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from downstream.metrics import score_case
from downstream.nnunet_plan import CONFIGURATION, PLANS_NAME, Planning, make_plan
from downstream.nnunet_process import end_with_parent, tell
from downstream.predictor import predictor_of
from downstream.transfer_plans import DIALS
from manifests.identity import content_hash

__all__ = ["main"]


@dataclass(frozen=True, slots=True)
class _Job:
    """What `downstream.nnunet` wrote into `job.json`, and where things lie."""

    out: Path
    folder: Path
    plan: dict[str, Any]
    options: dict[str, Any]

    @property
    def preprocessed(self) -> Path:
        return self.out / "preprocessed" / self.folder.name

    def split(self) -> dict[str, list[str]]:
        text = (self.folder / "splits_final.json").read_text(encoding="utf-8")
        split: dict[str, list[str]] = json.loads(text)[self.options["fold"]]
        return split


def main(out: Path) -> None:
    """Run the job of a folder: plan, preprocess, train, predict, score."""
    data = json.loads((out / "job.json").read_text(encoding="utf-8"))
    job = _Job(out, Path(data["folder"]), data["plan"], data["options"])
    seconds = {}
    for stage, step in (("plan", _plan), ("preprocess", _preprocess), ("train", _train), ("predict", _predict)):
        started = time.monotonic()
        step(job)
        seconds[stage] = round(time.monotonic() - started, 1)
    result = {"scores": _scores(job), "facts": _facts(job) | {"seconds": seconds}}
    (out / "predictions" / "scores.json").write_text(json.dumps(result), encoding="utf-8")


def _plan(job: _Job) -> None:
    dials = {key: job.plan[key] for key in DIALS} | {"seed": job.options["seed"]}
    plan = make_plan(Planning(job.preprocessed, job.plan, job.options["workers"]), dials)
    (job.preprocessed / f"{PLANS_NAME}.json").write_text(json.dumps(plan, indent=2), encoding="utf-8")


def _preprocess(job: _Job) -> None:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess

    workers = [job.options["workers"]]
    tell("prepare", 0, 1)
    preprocess([int(job.folder.name[7:10])], PLANS_NAME, configurations=[CONFIGURATION], num_processes=workers)
    tell("prepare", 1, 1)


def _train(job: _Job) -> None:
    """Train with our class itself: nnU-Net's search by name imports all its trainers, and with them torchvision."""
    trainer = _trainer(job)
    tell("train", 0, trainer.num_epochs)
    trainer.run_training()


def _trainer(job: _Job) -> Any:
    import torch

    from downstream.trainers.nnUNetTrainerTransfer import nnUNetTrainerTransfer

    plan = json.loads((job.preprocessed / f"{PLANS_NAME}.json").read_text(encoding="utf-8"))
    dataset_json = json.loads((job.preprocessed / "dataset.json").read_text(encoding="utf-8"))
    device = torch.device(job.options["device"])
    plan["continue_training"] = False  # the trainer pops it
    return nnUNetTrainerTransfer(plan, CONFIGURATION, job.options["fold"], dataset_json, device)


def _predict(job: _Job) -> None:
    """Segment the held-out cases one after the other, from their image files as a user would."""
    predictor = predictor_of(_trainer(job))
    cases = job.split()["val"]
    for number, case in enumerate(cases):
        tell("predict", number, len(cases))
        image, target = job.folder / "imagesTr" / f"{case}_0000.nii.gz", job.out / "predictions" / case
        predictor.predict_from_files_sequential([[str(image)]], [str(target)])
    tell("predict", len(cases), len(cases))


def _scores(job: _Job) -> list[dict[str, Any]]:
    import SimpleITK

    labels = json.loads((job.folder / "dataset.json").read_text(encoding="utf-8"))["labels"]
    rows = []
    for case in job.split()["val"]:
        files = (job.out / "predictions" / f"{case}.nii.gz", job.folder / "labelsTr" / f"{case}.nii.gz")
        predicted, reference = (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))) for file in files)
        rows += score_case(case, predicted, reference, labels)
    return [asdict(row) | {"dice": None if math.isnan(row.dice) else row.dice} for row in rows]


def _facts(job: _Job) -> dict[str, Any]:
    plan = json.loads((job.preprocessed / f"{PLANS_NAME}.json").read_text(encoding="utf-8"))
    source = json.loads((job.folder / "dataset.json").read_text(encoding="utf-8"))
    return job.split() | {
        "nnunetv2": version("nnunetv2"),
        "torch": version("torch"),
        "plan_hash": content_hash(plan),
        "content_hash": source.get("content_hash"),
        "spacing_mm_zyx": plan["configurations"][CONFIGURATION]["spacing"],
    }


if __name__ == "__main__":
    end_with_parent()
    main(Path(sys.argv[1]))
