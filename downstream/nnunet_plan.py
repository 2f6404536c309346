"""nnU-Net's plan, fitted to a size of ours: its fingerprint and its planner first, then spacing, network, patch and what the trainer is told."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from downstream.nnunet_process import tell

__all__ = ["CONFIGURATION", "PLANNED_NAME", "PLANS_NAME", "Planning", "make_plan", "plan_for", "plans_name"]

CONFIGURATION, PLANS_NAME = "3d_fullres", "factoryPlans"
PLANNED_NAME = "planned"  # as nnU-Net made it, before it was fitted


@dataclass(frozen=True, slots=True)
class Planning:
    """What is planned, and how.

    Attributes:
        folder: of the preprocessed dataset, `DatasetXXX_Name`.
        size: a `TransferPlan` as plain data; a `spacing_mm` of None leaves the spacing to nnU-Net.
        workers: processes for the fingerprint.
        planner: class of nnU-Net.
    """

    folder: Path
    size: dict[str, Any]
    workers: int
    planner: str = "ExperimentPlanner"


def make_plan(planning: Planning, dials: dict[str, Any]) -> dict[str, Any]:
    """Let nnU-Net measure and plan a raw dataset, and fit the plan to a size.

    Args:
        planning: what and how.
        dials: of the trainer, as in `plan_for`.
    """
    from nnunetv2.experiment_planning.plan_and_preprocess_api import extract_fingerprints, plan_experiments

    os.environ.update(nnUNet_n_proc_DA="1")  # the planner takes it for a number of threads and fails on 0
    number = int(planning.folder.name[7:10])
    tell("plan", 0, 2)
    extract_fingerprints([number], num_processes=planning.workers, check_dataset_integrity=False)
    tell("plan", 1, 2)
    spacing = (planning.size["spacing_mm"],) * 3 if planning.size["spacing_mm"] else None
    name = plan_experiments(
        [number], planning.planner, overwrite_target_spacing=spacing, overwrite_plans_name=PLANNED_NAME
    )
    planned = json.loads((planning.folder / f"{name}.json").read_text(encoding="utf-8"))
    tell("plan", 2, 2)
    return plan_for(planned, planning.size, dials)


def plan_for(plan: dict[str, Any], size: dict[str, Any], dials: dict[str, Any]) -> dict[str, Any]:
    """Fit nnU-Net's plan to one of `downstream.transfer_plans`.

    Resampling is nnU-Net's faster one (linear, in torch), also of the scores. Without `features` network, patch and batch stay nnU-Net's.

    Args:
        plan: as nnU-Net's planner wrote it.
        size: a `TransferPlan` as plain data.
        dials: of the trainer.
    """
    configuration = dict(plan["configurations"][CONFIGURATION])
    options = {"force_separate_z": False, "memefficient_seg_resampling": False}
    for kind in ("data", "seg", "probabilities"):
        configuration[f"resampling_fn_{kind}"] = "resample_torch_fornnunet"
        configuration[f"resampling_fn_{kind}_kwargs"] = {"is_seg": kind == "seg", **options}
    configuration |= {"data_identifier": f"{PLANS_NAME}_{CONFIGURATION}", "batch_dice": True}
    if size["features"]:
        configuration |= {
            "patch_size": list(size["patch_zyx"]),
            "batch_size": size["batch"],
            "folded": size["folded"],
            "architecture": _network(configuration["architecture"], size),
        }
    configurations = {CONFIGURATION: configuration}
    return plan | {"plans_name": PLANS_NAME, "configurations": configurations, "factory_training": dials}


def plans_name(member: int) -> str:
    """Name of the plan of one of several networks, from 0; nnU-Net keeps their results apart by it."""
    return f"{PLANS_NAME}{member + 1}" if member else PLANS_NAME


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
