"""A usability study: export both datasets, plan and preprocess once, train every arm, gather the scores.

Trainings are processes of their own, each in its own folder and kept once finished; the same call goes on after any interruption, and
another arm, size or seed adds to what is there.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from downstream.export_nnunet import ExportOptions, export
from downstream.ledger import writing
from downstream.nnunet_plan import CONFIGURATION, PLANS_NAME
from downstream.nnunet_process import Progress, environment
from downstream.results import Result, Results
from downstream.steps import Steps, alone
from downstream.tasks import Executor, Task, in_turn
from downstream.usability.arms import REAL
from downstream.usability.inputs import Inputs, check_inputs
from downstream.usability.options import UsabilityOptions
from downstream.usability.plans import usability_plan
from downstream.usability.pool import is_prepared
from downstream.usability.work import Job, pool_folder, training_folder
from manifests.dataset import Dataset
from manifests.durable import replace
from manifests.errors import LocationError, WorkerError
from manifests.identity import content_hash

__all__ = ["Study", "check_work_folder", "study"]

_MODULE = "downstream.usability.job"
_EXPORTS = {REAL: ("901", "Real"), "synthetic": ("902", "Synthetic")}


@dataclass(frozen=True, slots=True)
class Study:
    """What came out.

    Attributes:
        out: work folder.
        scores: every value by case, structure, metric, arm and seed; an arm's cases are the test cases of all folds.
        facts: of what it was made; plain data.
        failed: trainings that failed, with their last line.
    """

    out: Path
    scores: Results
    facts: dict[str, Any]
    failed: dict[str, str]


def check_work_folder(out: Path) -> None:
    """Make sure that a work folder is new, or from an earlier call.

    Raises:
        LocationError: if it holds something else.
    """
    ours = {"job.json", "raw", "steps", ".lock"}
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not any((out / name).exists() for name in ours))):
        raise LocationError(str(out), got="something else", need="a new folder", do="Choose another --out.")


def study(
    places: tuple[Path, Path | None, Path],
    options: UsabilityOptions,
    execute: Executor = in_turn,
    on_progress: Progress = lambda *_: None,
) -> Study:
    """Train all arms and test them on the same real cases.

    Args:
        places: real dataset, synthetic dataset (None where no arm needs one), work folder.
        options: how.
        execute: who runs the trainings.
        on_progress: called with a stage, what is done of it, and the total.

    Raises:
        InputError: as `check_inputs` and `check_work_folder`; nothing is written then.
        WorkerError: if planning or preprocessing fails.
        BusyError: if another call works in the same folder.
    """
    real, synthetic, out = places
    inputs = check_inputs(real, synthetic, options)
    check_work_folder(out)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with alone(out, "a study"):
        exports = _export(inputs, out, on_progress)
        job = _write_job(out, inputs, options, exports)
        _run(_preparations(job, options), in_turn, on_progress, must=True)
        failed = _run(_trainings(job, options), execute, on_progress)
        if not job.finished():
            name, error = next(iter(failed.items()))
            raise WorkerError(
                f"training {name}", got=error, need="at least one that ends", do=f"Read the logs in {out}."
            )
        return Study(out, Results(_scores(job)), _facts(job, inputs), failed)


def _export(inputs: Inputs, out: Path, on_progress: Progress) -> dict[str, str]:
    """Write both datasets as nnU-Net's raw data; the folder of each case."""
    folders: dict[str, str] = {}
    datasets = [(REAL, inputs.real), ("synthetic", inputs.synthetic)]
    for source, dataset in datasets:
        if dataset is not None:
            folder = _export_one(source, dataset, inputs, (out, on_progress))
            folders |= {record.case_id: str(folder.resolve()) for record in dataset.accepted()}
    return folders


def _export_one(source: str, dataset: Dataset, inputs: Inputs, how: tuple[Path, Progress]) -> Path:
    out, on_progress = how
    number, name = _EXPORTS[source]
    options = ExportOptions(id=number, name=name, scheme=inputs.wanted.name, folds=0, verify=False)
    header = [dataset.spec.spec_id, inputs.wanted.name, dict(inputs.wanted.labels)]
    place = out / "raw" / options.folder_name
    Steps(out, {}).claim(f"export-{source}", content_hash(header), (place,))
    total, done = len(dataset.accepted()), 0

    def advance(_: object) -> None:
        nonlocal done
        on_progress(f"export {source}", done := done + 1, total)

    return export(dataset, out / "raw", options, advance).folder


def _write_job(out: Path, inputs: Inputs, options: UsabilityOptions, exports: dict[str, str]) -> Job:
    planned = usability_plan(options.plan)
    needed = {case for training in inputs.trainings(options) for case in training.train}
    folds = [
        {
            "protocol": split.protocol,
            "plan_cases": list(split.train if options.plan_on == REAL else sorted(inputs.ranked)),
            "cases": sorted(needed & {*split.train, *inputs.ranked}),
        }
        for split in inputs.splits
    ]
    data = {
        "real": str(inputs.real.root.resolve()),
        "options": asdict(options),
        "plan": {"planner": planned.planner, "size": options.size()},
        "folds": folds,
        "trainings": {training.name: training.to_json() for training in inputs.trainings(options)},
        "exports": exports,
        "sources": inputs.sources,
    }
    text = json.dumps(data, indent=1)
    with writing(out):
        replace(out / "job.json", text.encode())
    return Job(out, json.loads(text))


def _preparations(job: Job, options: UsabilityOptions) -> list[Task]:
    variables = environment(job.out / "raw", job.out, options.workers)
    return [
        Task(
            f"fold {fold}",
            _MODULE,
            (str(job.out.resolve()), "prepare", str(fold)),
            (*variables.items(),),
            job.out / "log.txt",
        )
        for fold in range(len(job.data["folds"]))
        if not is_prepared(job, fold)
    ]


def _trainings(job: Job, options: UsabilityOptions) -> list[Task]:
    """What is still to be trained."""
    tasks, done = [], set(job.finished())
    for name in (name for name in job.data["trainings"] if name not in done):
        folder = training_folder(job.out, name)
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        shared = {"nnUNet_preprocessed": str((job.out / "preprocessed").resolve())}
        variables = environment(job.out / "raw", folder, options.workers) | shared
        threads = {name: int(value) for name, value in variables.items() if name.endswith("_NUM_THREADS")}
        variables |= {name: str(max(1, value // options.parallel)) for name, value in threads.items()}
        arguments = (str(job.out.resolve()), "train", name)
        tasks.append(Task(name, _MODULE, arguments, (*variables.items(),), folder / "log.txt"))
    return tasks


def _run(tasks: list[Task], execute: Executor, on_progress: Progress, *, must: bool = False) -> dict[str, str]:
    """Run tasks; the errors of those that failed."""
    failed: dict[str, str] = {}
    ended = 0

    def tell(stage: str, done: int, total: int) -> None:
        on_progress(f"{ended + 1}/{len(tasks)} {stage}", done, total)

    for one in execute(tasks, tell):
        ended += 1
        if one.error:
            failed[one.task.name] = one.error
            if must:
                raise WorkerError(f"nnU-Net, {one.task.name}", got=one.error, need="exit 0", do=f"Read {one.task.log}.")
    return failed


def _scores(job: Job) -> Iterator[Result]:
    """Rows of all finished trainings, in order."""
    for name in job.finished():
        for case in job.data["trainings"][name]["test"]:
            yield from Results.read(training_folder(job.out, name) / "scores" / f"{case}.csv")


def _facts(job: Job, inputs: Inputs) -> dict[str, Any]:
    """What would be needed to repeat the study, and to read its tables."""
    datasets = {"real": inputs.real} | ({"synthetic": inputs.synthetic} if inputs.synthetic else {})
    first = [training for training in job.data["trainings"].values() if (training["fold"], training["seed"]) == (0, 0)]
    return {
        "options": job.data["options"],
        "iterations": job.data["plan"]["size"]["iterations"],
        "planner": job.data["plan"]["planner"],
        "planned_on": job.options["plan_on"],
        "plan_hashes": [content_hash(job.plan(fold)) for fold in range(len(job.data["folds"]))],
        "plans": [str(pool_folder(job.out, fold) / f"{PLANS_NAME}.json") for fold in range(len(job.data["folds"]))],
        "spacing_mm_zyx": [
            job.plan(fold)["configurations"][CONFIGURATION]["spacing"] for fold in range(len(job.data["folds"]))
        ],
        "protocols": [fold["protocol"] for fold in job.data["folds"]],
        "split_ids": [content_hash([split.train, split.test]) for split in inputs.splits],
        "datasets": {
            name: {
                "root": str(dataset.root),
                "kind": dataset.spec.kind,
                "spec_id": dataset.spec.spec_id,
                "origin": dataset.spec.prompts.get("origin", ""),
            }
            for name, dataset in datasets.items()
        },
        "content_hash": content_hash(inputs.sources),
        "arms": {one["arm"]: {"train": len(one["train"]), "test": len(one["test"])} for one in first},
        **{name: version(name) for name in ("nnunetv2", "torch")},
    }
