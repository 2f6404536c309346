"""The cases of a fold: nnU-Net plans once, on the cases that the protocol names, and every case is preprocessed once by that plan.

All arms share them: an arm is a list of names. A case is preprocessed under a hidden name, and a mark says from which arrays, so that a killed
process loses one case and a changed one is made anew.
"""

import json
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from downstream.nnunet_plan import CONFIGURATION, PLANS_NAME, Planning, make_plan
from downstream.nnunet_process import tell
from downstream.steps import Steps
from downstream.transfer_plans import DIALS
from downstream.usability.work import Job, pool_folder, pool_name
from manifests.durable import replace
from manifests.identity import content_hash
from manifests.schemes import scheme

__all__ = ["PRODUCTS", "is_prepared", "missing_cases", "plan_and_preprocess", "plan_key"]

PRODUCTS = {"plan": (f"{PLANS_NAME}_{CONFIGURATION}", "sources")}
"""What belongs to a plan and goes with it: preprocessed cases, and the marks of what they were made from."""

_ENDINGS = (".b2nd", "_seg.b2nd", ".pkl")  # of the files of a preprocessed case


def plan_and_preprocess(job: Job, fold: int) -> None:
    """Plan a fold, then preprocess what is not there yet."""
    _plan(job, fold)
    _preprocess(job, fold)


def is_prepared(job: Job, fold: int) -> bool:
    """Whether plan and cases of a fold are there, made from what the job asks for now."""
    mark = pool_folder(job.out, fold) / "steps" / "plan.done"
    planned = mark.is_file() and mark.read_text(encoding="utf-8") == plan_key(job, fold)
    return planned and not missing_cases(job, fold)


def plan_key(job: Job, fold: int) -> str:
    """Hash of all that a plan depends on: the cases to plan on, the size of the network, the labels."""
    size, planner = job.data["plan"]["size"], job.data["plan"]["planner"]
    sources = {case: job.data["sources"][case] for case in job.data["folds"][fold]["plan_cases"]}
    spatial = {key: value for key, value in size.items() if key not in (*DIALS, "purpose", "preset", "scales")}
    return content_hash([spatial, planner, sources, job.options["scheme"]])


def missing_cases(job: Job, fold: int) -> list[str]:
    """Cases of a fold that are not preprocessed yet, or from other arrays."""
    marks, sources = pool_folder(job.out, fold) / "sources", job.data["sources"]
    return [
        case
        for case in job.data["folds"][fold]["cases"]
        if not (marks / case).is_file() or (marks / case).read_text(encoding="utf-8") != sources[case]
    ]


def _plan(job: Job, fold: int) -> None:
    """Measure the cases that the protocol plans on, and plan; kept while these cases and the size are the same."""
    size, planner = job.data["plan"]["size"], job.data["plan"]["planner"]
    key, steps = plan_key(job, fold), Steps(pool_folder(job.out, fold), PRODUCTS)
    pool_folder(job.out, fold).mkdir(parents=True, exist_ok=True)
    if steps.done("plan", key):
        return
    raw = job.out / "raw" / pool_name(fold)
    raw.mkdir(parents=True, exist_ok=True)
    replace(raw / "dataset.json", json.dumps(_dataset_json(job, fold)).encode())
    plan = make_plan(Planning(pool_folder(job.out, fold), size, job.options["workers"], planner), {})
    plan.pop("factory_training")  # each training brings its own
    replace(pool_folder(job.out, fold) / f"{PLANS_NAME}.json", json.dumps(plan, indent=2).encode())
    steps.finish("plan", key)


def _dataset_json(job: Job, fold: int) -> dict[str, Any]:
    """nnU-Net's description of the cases to plan on: files of the exports, by path."""
    raw = job.out / "raw" / pool_name(fold)
    listed = {}
    for case in job.data["folds"][fold]["plan_cases"]:
        image, label = (os.path.relpath(path, raw) for path in job.files(case))
        listed[case] = {"images": [image], "label": label}
    return {
        "channel_names": {"0": "CT"},
        "labels": dict(scheme(job.options["scheme"]).labels),
        "numTraining": len(listed),
        "file_ending": ".nii.gz",
        "overwrite_image_reader_writer": "SimpleITKIO",
        "dataset": listed,
    }


def _preprocess(job: Job, fold: int) -> None:
    """Preprocess the training cases of a fold that are not there yet, `workers` at a time."""
    cases = missing_cases(job, fold)
    tell("prepare", 0, len(cases))
    if job.options["workers"] == 1 or len(cases) < 2 * job.options["workers"]:
        for done, case in enumerate(cases, start=1):
            _preprocess_case(job.out, fold, case)
            tell("prepare", done, len(cases))
        return
    with ProcessPoolExecutor(job.options["workers"], mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_preprocess_case, job.out, fold, case) for case in cases]
        for done, future in enumerate(futures, start=1):
            future.result()
            tell("prepare", done, len(cases))


def _preprocess_case(out: Path, fold: int, case: str) -> None:
    """Preprocess one case under hidden names, then give it its own and note what it was made from."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    job, folder = Job.read(out), pool_folder(out, fold)
    manager = PlansManager(str(folder / f"{PLANS_NAME}.json"))
    configuration = manager.get_configuration(CONFIGURATION)
    target = folder / configuration.data_identifier
    scratch = folder / "unfinished" / case
    scratch.parent.mkdir(exist_ok=True)
    target.mkdir(exist_ok=True)
    for ending in _ENDINGS:
        scratch.with_name(case + ending).unlink(missing_ok=True)
    image, label = job.files(case)
    preprocessor = configuration.preprocessor_class(verbose=False)
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    preprocessor.run_case_save(str(scratch), [str(image)], str(label), manager, configuration, description)
    for ending in _ENDINGS:
        scratch.with_name(case + ending).replace(target / (case + ending))
    (folder / "sources" / case).write_text(job.data["sources"][case], encoding="utf-8")
