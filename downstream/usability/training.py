"""One training of a usability study: train, predict the test scans, score them; each step is kept while its inputs are the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from downstream.metrics import LabelledPair, score_labels, tidy
from downstream.nnunet_plan import CONFIGURATION
from downstream.nnunet_process import tell
from downstream.predictor import predictor_of
from downstream.results import Result, Results
from downstream.steps import Steps
from downstream.surfaces import paper_scores
from downstream.usability.work import Job, pool_folder, training_folder
from manifests.case import Arrays
from manifests.dataset import Dataset
from manifests.nifti import read_labels, write_nifti
from manifests.schemes import paint, scheme

__all__ = ["train_predict_score"]

_STEPS = {"train": ("results", "predictions", "scores"), "predict": ("predictions", "scores"), "score": ("scores",)}


def train_predict_score(job: Job, name: str) -> None:
    """Do what is left to do of a training."""
    training, folder = job.data["trainings"][name], training_folder(job.out, name)
    steps = Steps(folder, _STEPS)
    keys, dials = job.keys(name), job.dials(name)
    trained = steps.done("train", keys["train"])  # before the trainer makes its folder: it may remove one
    trainer = _trainer(job, training["fold"], job.plan(training["fold"]) | {"factory_training": dials})
    if not trained:
        tell("train", 0, dials["iterations"])
        trainer.run_training()
        steps.finish("train", keys["train"])
    if not steps.done("predict", keys["predict"]):
        _predict(job, training, folder, trainer)
        steps.finish("predict", keys["predict"])
    if not steps.done("score", keys["score"]):
        _score(job, training, folder)
        steps.finish("score", keys["score"])


def _trainer(job: Job, fold: int, plan: dict[str, Any]) -> Any:
    import torch

    from downstream.trainers.nnUNetTrainerArm import nnUNetTrainerArm

    description = json.loads((pool_folder(job.out, fold) / "dataset.json").read_text(encoding="utf-8"))
    plan["continue_training"] = False  # the trainer pops it
    return nnUNetTrainerArm(plan, CONFIGURATION, 0, description, torch.device(job.options["device"]))


def _predict(job: Job, training: dict[str, Any], folder: Path, trainer: Any) -> None:
    """Segment the test cases as nnU-Net does: its preprocessing, sliding window and way back to the scan's grid."""
    from downstream.trainers.autocast import autocast_cpu

    predictor, real = predictor_of(trainer), Dataset.open(job.data["real"])
    for done, case in enumerate(training["test"]):
        tell("predict", done, len(training["test"]))
        path = folder / "predictions" / f"{case}.nii.gz"
        if path.is_file():
            continue
        arrays = real.read(case)
        image = arrays.ct[None].astype(np.float32)
        with autocast_cpu(trainer.device):
            found = predictor.predict_single_npy_array(image, {"spacing": list(arrays.grid.spacing_mm_zyx)})
        partial = path.with_name(f".{path.name}")
        write_nifti(partial, np.asarray(found, np.uint8), arrays.grid)
        partial.replace(path)
    tell("predict", len(training["test"]), len(training["test"]))


def _score(job: Job, training: dict[str, Any], folder: Path) -> None:
    """Score every label of the scheme in every test case, present or not."""
    real, labels = Dataset.open(job.data["real"]), scheme(job.options["scheme"])
    for done, case in enumerate(training["test"]):
        tell("score", done, len(training["test"]))
        path = folder / "scores" / f"{case}.csv"
        if not path.is_file():
            arrays, record = real.read(case), real.record(case)
            predicted, _ = read_labels(folder / "predictions" / f"{case}.nii.gz")
            reference = paint(arrays.anatomy, arrays.lesions, record.lesions, labels)
            Results(_rows(job, training, case, (arrays, predicted.astype(np.uint8), reference))).write(path)
    tell("score", len(training["test"]), len(training["test"]))


def _rows(
    job: Job,
    training: dict[str, Any],
    case: str,
    maps: tuple[Arrays, UInt8[np.ndarray, "z y x"], UInt8[np.ndarray, "z y x"]],
) -> list[Result]:
    """Rows of one case: our metrics, then those of the published code's conventions."""
    arrays, predicted, reference = maps
    labels = scheme(job.options["scheme"]).labels
    pair = LabelledPair(case, predicted, reference, arrays.grid.spacing_mm_zyx)
    scores = score_labels(pair, labels, tolerance_mm=job.options["tolerance_mm"])
    arm, seed = training["arm"], training["seed"]
    rows = tidy(case, scores, arm=arm, seed=seed)
    for name, value in labels.items():
        if value:
            dice, hd95 = paper_scores(predicted == value, reference == value)
            rows += [Result(case, name, "paper_dice", dice, arm, seed)]
            rows += [Result(case, name, "paper_hd95_voxels", hd95, arm, seed)]
    return rows
