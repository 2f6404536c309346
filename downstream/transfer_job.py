"""The process behind `downstream.transfer`: `python -m downstream.transfer_job OUT STEP` does one step of `OUT/job.json`.

Steps: `prepare` (nnU-Net's fingerprint, plan and preprocessing), `train`, `predict`. A second run of `train` goes
on from the checkpoint, of `predict` with the first case that has no file.
"""

import json
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from downstream.nnunet_process import end_with_parent, tell
from downstream.predictor import predictor_of
from downstream.whole_scan import ScanNetwork, segment_scan
from manifests.dataset import Dataset
from manifests.nifti import write_nifti

__all__ = ["main", "plan_for"]

_CONFIGURATION, _PLANS_NAME = "3d_fullres", "factoryPlans"


@dataclass(frozen=True)
class _Job:
    """What `downstream.transfer` wrote into `job.json`, and where things lie."""

    out: Path
    folder: Path
    plan: dict[str, Any]
    options: dict[str, Any]
    targets: dict[str, dict[str, Any]]

    @property
    def number(self) -> int:
        return int(self.folder.name[7:10])

    @property
    def preprocessed(self) -> Path:
        return self.out / "preprocessed" / self.folder.name

    @cached_property
    def labels(self) -> dict[str, int]:
        text = (self.folder / "dataset.json").read_text(encoding="utf-8")
        found: dict[str, int] = json.loads(text)["labels"]
        return found

    def trainer(self) -> Any:
        """nnU-Net's trainer for the finished plan."""
        import torch

        from downstream.trainers.nnUNetTrainerTransfer import nnUNetTrainerTransfer

        plan = json.loads((self.preprocessed / f"{_PLANS_NAME}.json").read_text(encoding="utf-8"))
        dataset_json = json.loads((self.preprocessed / "dataset.json").read_text(encoding="utf-8"))
        plan["continue_training"] = False  # the trainer pops it
        return nnUNetTrainerTransfer(plan, _CONFIGURATION, 0, dataset_json, torch.device(self.options["device"]))


def main(out: Path, step: str) -> None:
    """Do one step of the job of a folder."""
    data = json.loads((out / "job.json").read_text(encoding="utf-8"))
    job = _Job(out, Path(data["folder"]), data["plan"], data["options"], data["targets"])
    {"prepare": _prepare, "train": _train, "predict": _predict}[step](job)


def plan_for(plan: dict[str, Any], size: dict[str, Any], dials: dict[str, Any]) -> dict[str, Any]:
    """Fit nnU-Net's plan to one of `downstream.transfer_plans`.

    Resampling is nnU-Net's faster one (linear, in torch). Without `features` network, patch and batch stay nnU-Net's.

    Args:
        plan: as nnU-Net's planner wrote it.
        size: a `TransferPlan` as plain data.
        dials: of the trainer.
    """
    configuration = dict(plan["configurations"][_CONFIGURATION])
    options = {"force_separate_z": False, "memefficient_seg_resampling": False}
    configuration |= {
        "data_identifier": f"{_PLANS_NAME}_{_CONFIGURATION}",
        "resampling_fn_data": "resample_torch_fornnunet",
        "resampling_fn_data_kwargs": {"is_seg": False, **options},
        "resampling_fn_seg": "resample_torch_fornnunet",
        "resampling_fn_seg_kwargs": {"is_seg": True, **options},
        "batch_dice": True,
    }
    if size["features"]:
        configuration |= {
            "patch_size": list(size["patch_zyx"]),
            "batch_size": size["batch"],
            "folded": size["folded"],
            "architecture": _network(configuration["architecture"], size),
        }
    configurations = {_CONFIGURATION: configuration}
    return plan | {"plans_name": _PLANS_NAME, "configurations": configurations, "factory_training": dials}


def _network(planned: dict[str, Any], size: dict[str, Any]) -> dict[str, Any]:
    """nnU-Net's plain U-Net with channels and convolutions of our own; each resolution halves the one before."""
    stages = len(size["features"])
    changes = {
        "n_stages": stages,
        "features_per_stage": list(size["features"]),
        "kernel_sizes": [[3, 3, 3]] * stages,
        "strides": [[1, 1, 1]] + [[2, 2, 2]] * (stages - 1),
        "n_conv_per_stage": list(size["convolutions"]),
        "n_conv_per_stage_decoder": list(size["convolutions"])[-2::-1],
    }
    return planned | {"arch_kwargs": dict(planned["arch_kwargs"]) | changes}


def _prepare(job: _Job) -> None:
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments, preprocess

    os.environ.update(nnUNet_n_proc_DA="1")  # the planner takes it for a number of threads and fails on 0
    workers = job.options["workers"]
    tell("prepare", 0, 3)
    extract_fingerprints([job.number], num_processes=workers, check_dataset_integrity=False)
    tell("prepare", 1, 3)
    spacing = (job.plan["spacing_mm"],) * 3
    name = plan_experiments([job.number], overwrite_target_spacing=spacing, overwrite_plans_name="nnUNetPlans")
    plan = json.loads((job.preprocessed / f"{name}.json").read_text(encoding="utf-8"))
    dials = {key: job.plan[key] for key in ("iterations", "learning_rate", "optimiser")} | {"seed": job.options["seed"]}
    text = json.dumps(plan_for(plan, job.plan, dials), indent=2)
    (job.preprocessed / f"{_PLANS_NAME}.json").write_text(text, encoding="utf-8")
    tell("prepare", 2, 3)
    preprocess([job.number], _PLANS_NAME, configurations=[_CONFIGURATION], num_processes=[workers])
    tell("prepare", 3, 3)


def _train(job: _Job) -> None:
    trainer = job.trainer()
    tell("train", 0, trainer.num_epochs)
    trainer.run_training()


def _predict(job: _Job) -> None:
    """Segment every target case, from its CT as the dataset has it."""
    trainer = job.trainer()
    network = _scan_network(job, trainer, predictor_of(trainer))
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

    from downstream.trainers.nnUNetTrainerTransfer import autocast_cpu

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
    main(Path(sys.argv[1]), sys.argv[2])
