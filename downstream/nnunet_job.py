"""The process behind `downstream.nnunet`: `python -m downstream.nnunet_job OUT` runs `OUT/job.json`.

It is a program of its own because nnU-Net's worker processes import the main module again,
and because its folders are environment variables. Progress lines start with `@progress`.
"""

import json
import math
import os
import sys
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from downstream.metrics import score_case
from downstream.nnunet_process import end_with_parent, tell
from downstream.predictor import predictor_of
from manifests.identity import content_hash

__all__ = ["main", "shrink_plan"]

_CONFIGURATION = "3d_fullres"
_PLANS_NAME = "factoryPlans"


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

    @property
    def number(self) -> int:
        return int(self.folder.name[7:10])

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


def shrink_plan(plan: dict[str, Any], changes: dict[str, Any], dials: dict[str, Any]) -> dict[str, Any]:
    """Rewrite nnU-Net's plan: a small plain U-Net, its patch and batch, and the trainer's dials.

    Dice is taken over the batch: in small patches most labels are absent from most samples, and
    Dice over single samples then teaches to predict nothing. Every stage after the first halves the resolution, so the patch must be divisible by
    2^(stages - 1). Spacing, normalisation and resampling stay as nnU-Net planned them.
    """
    configuration = dict(plan["configurations"][_CONFIGURATION])
    features = changes["features_per_stage"]
    stages = len(features)
    old = configuration["architecture"]
    kwargs = dict(old["arch_kwargs"]) | {
        "n_stages": stages,
        "features_per_stage": features,
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
        "n_conv_per_stage": [2] * stages,
        "n_conv_per_stage_decoder": [2] * (stages - 1),
    }
    configuration |= {
        "patch_size": changes["patch_size"],
        "batch_size": changes["batch_size"],
        "batch_dice": changes["batch_dice"],
        "architecture": old | {"arch_kwargs": kwargs},
    }
    return plan | {
        "plans_name": _PLANS_NAME,
        "configurations": {_CONFIGURATION: configuration},
        "factory_training": dials,
    }


def _plan(job: _Job) -> None:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments

    os.environ.update(nnUNet_n_proc_DA="1")  # the planner takes it for a number of threads and fails on 0
    tell("prepare", 0, 3)
    extract_fingerprints([job.number], num_processes=job.options["workers"], check_dataset_integrity=False)
    tell("prepare", 1, 3)
    name = plan_experiments([job.number], experiment_planner_class_name=job.plan["planner"])
    tell("prepare", 2, 3)
    plan = json.loads((job.preprocessed / f"{name}.json").read_text(encoding="utf-8"))
    dials = {key: job.options[key] for key in ("epochs", "iterations", "seed")}
    dials |= {"val_iterations": 5, "learning_rate": job.plan["learning_rate"]}
    text = json.dumps(shrink_plan(plan, job.plan, dials), indent=2)
    (job.preprocessed / f"{_PLANS_NAME}.json").write_text(text, encoding="utf-8")


def _preprocess(job: _Job) -> None:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess

    workers = [job.options["workers"]]
    preprocess([job.number], _PLANS_NAME, configurations=[_CONFIGURATION], num_processes=workers)
    tell("prepare", 3, 3)


def _train(job: _Job) -> None:
    """Train with our class itself: nnU-Net's search by name imports all its trainers, and with them torchvision."""
    trainer = _trainer(job)
    tell("train", 0, job.options["epochs"])
    trainer.run_training()


def _trainer(job: _Job) -> Any:
    import torch

    from downstream.trainers.nnUNetTrainerFactory import nnUNetTrainerFactory

    os.environ.update(nnUNet_n_proc_DA=str(job.options["augmenters"]))
    plan = json.loads((job.preprocessed / f"{_PLANS_NAME}.json").read_text(encoding="utf-8"))
    dataset_json = json.loads((job.preprocessed / "dataset.json").read_text(encoding="utf-8"))
    device = torch.device(job.options["device"])
    plan["continue_training"] = False  # the trainer pops it
    return nnUNetTrainerFactory(plan, _CONFIGURATION, job.options["fold"], dataset_json, device)


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
    plan = json.loads((job.preprocessed / f"{_PLANS_NAME}.json").read_text(encoding="utf-8"))
    source = json.loads((job.folder / "dataset.json").read_text(encoding="utf-8"))
    return job.split() | {
        "nnunetv2": version("nnunetv2"),
        "torch": version("torch"),
        "plan_hash": content_hash(plan),
        "content_hash": source.get("content_hash"),
        "spacing_mm_zyx": plan["configurations"][_CONFIGURATION]["spacing"],
    }


if __name__ == "__main__":
    end_with_parent()
    main(Path(sys.argv[1]))
