"""The process behind `downstream.transfer`: `python -m downstream.transfer_job OUT STEP [MEMBER]` does one step of `OUT/job.json`.

Steps: `prepare` (nnU-Net's fingerprint, plan and preprocessing), `train` (one member), `predict`. A second run of `train` goes
on from the checkpoint, of `predict` with the first case that has no file.
"""

import json
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from downstream.nnunet_checkpoint import CHECKPOINT
from downstream.nnunet_plan import CONFIGURATION, PLANNED_NAME, PLANS_NAME, Planning, make_plan, plan_for, plans_name
from downstream.nnunet_process import end_with_parent, tell
from downstream.predictor import predictor_of
from downstream.transfer_plans import DIALS, member_seed
from downstream.whole_scan import ScanNetwork, segment_scan
from manifests.dataset import Dataset
from manifests.nifti import write_nifti

__all__ = ["main"]


@dataclass(frozen=True)
class _Job:
    """What `downstream.transfer` wrote into `job.json`, and where things lie."""

    out: Path
    folder: Path
    plan: dict[str, Any]
    options: dict[str, Any]
    targets: dict[str, dict[str, Any]]

    @property
    def preprocessed(self) -> Path:
        return self.out / "preprocessed" / self.folder.name

    @cached_property
    def labels(self) -> dict[str, int]:
        text = (self.folder / "dataset.json").read_text(encoding="utf-8")
        found: dict[str, int] = json.loads(text)["labels"]
        return found

    def trainer(self, member: int) -> Any:
        """nnU-Net's trainer for the finished plan of a network."""
        import torch

        from downstream.trainers.nnUNetTrainerTransfer import nnUNetTrainerTransfer

        plan = json.loads((self.preprocessed / f"{plans_name(member)}.json").read_text(encoding="utf-8"))
        dataset_json = json.loads((self.preprocessed / "dataset.json").read_text(encoding="utf-8"))
        plan["continue_training"] = False  # the trainer pops it
        return nnUNetTrainerTransfer(plan, CONFIGURATION, 0, dataset_json, torch.device(self.options["device"]))


def main(out: Path, step: str, member: int = 0) -> None:
    """Do one step of the job of a folder, the training of one of its networks."""
    data = json.loads((out / "job.json").read_text(encoding="utf-8"))
    job = _Job(out, Path(data["folder"]), data["plan"], data["options"], data["targets"])
    if step == "train":
        _train(job, member)
    else:
        {"prepare": _prepare, "predict": _predict}[step](job)


def _prepare(job: _Job) -> None:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import preprocess

    workers = job.options["workers"]
    plan = make_plan(Planning(job.preprocessed, job.plan, workers), {})
    (job.preprocessed / f"{PLANS_NAME}.json").write_text(json.dumps(plan, indent=2), encoding="utf-8")
    tell("prepare", 0, 1)
    preprocess([int(job.folder.name[7:10])], PLANS_NAME, configurations=[CONFIGURATION], num_processes=[workers])
    tell("prepare", 1, 1)


def _train(job: _Job, member: int) -> None:
    """Fit nnU-Net's plan to this network and training, which preprocessing does not depend on, and train."""
    dials = {key: job.plan[key] for key in DIALS}
    dials["seed"] = member_seed(job.options["seed"], job.plan["members"], member)
    planned = json.loads((job.preprocessed / f"{PLANNED_NAME}.json").read_text(encoding="utf-8"))
    plan = plan_for(planned, job.plan, dials) | {"plans_name": plans_name(member)}
    (job.preprocessed / f"{plans_name(member)}.json").write_text(json.dumps(plan, indent=2), encoding="utf-8")
    trainer = job.trainer(member)
    if (Path(trainer.output_folder) / CHECKPOINT).is_file():
        tell("train", trainer.num_epochs, trainer.num_epochs)
        return
    tell("train", 0, trainer.num_epochs)
    trainer.run_training()


def _predict(job: _Job) -> None:
    """Segment every target case, from its CT as the dataset has it."""
    trainers = [job.trainer(member) for member in range(job.plan["members"])]
    network = _scan_network(job, trainers[0], predictor_of(*trainers))
    todo = [(arm, target["dataset"], case) for arm, target in job.targets.items() for case in target["cases"]]
    for done, (arm, dataset, case) in enumerate(todo):
        tell("predict", done, len(todo))
        path = job.out / "predictions" / arm / f"{case}.nii.gz"
        if path.is_file():
            continue
        arrays = Dataset.open(dataset).read(case)
        segmented = segment_scan(arrays.ct, arrays.grid, network)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}")
        write_nifti(partial, segmented, arrays.grid)
        partial.replace(path)
    tell("predict", len(todo), len(todo))


def _scan_network(job: _Job, trainer: Any, predictor: Any) -> ScanNetwork:
    """The trained network with nnU-Net's CT normalisation, by what it measured in the training data."""
    import torch

    from downstream.trainers.autocast import autocast_cpu

    def scores(values: Float32[np.ndarray, "a b c"]) -> Float32[np.ndarray, "labels a b c"]:
        with autocast_cpu(trainer.device):
            found = predictor.predict_sliding_window_return_logits(torch.from_numpy(values[None]))
        return np.asarray(found.float().cpu().numpy())

    measured = trainer.plans_manager.foreground_intensity_properties_per_channel["0"]
    return ScanNetwork(
        scores,
        job.labels,
        job.plan["spacing_mm"],
        tuple(trainer.configuration_manager.patch_size),
        (measured["percentile_00_5"], measured["percentile_99_5"]),
        measured["mean"],
        measured["std"],
        job.options["largest"],
        tuple(job.plan["scales"]),
    )


if __name__ == "__main__":
    end_with_parent()
    main(Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))
