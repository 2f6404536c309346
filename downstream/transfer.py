"""Do synthetic data teach a network to segment real CT? Train nnU-Net on them alone, then predict and score real scans.

Steps are export, prepare, train, predict, score; each names what it was made from, so that the same call goes on where an
interrupted one stood, and another plan, seed or dataset repeats only what depends on it.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from downstream.export_nnunet import ExportOptions, export
from downstream.ledger import writing
from downstream.nnunet_layout import require_nnunet
from downstream.nnunet_process import Progress, environment, machine_variables, run_module, run_together
from downstream.splits import groups
from downstream.steps import Steps, alone
from downstream.transfer_plans import transfer_plan
from downstream.transfer_scores import REAL, SYNTHETIC, Exclusion, Scoring, score_arms
from downstream.transfer_tables import TransferResult, write_result
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.durable import replace
from manifests.errors import InvalidValueError, LocationError, UnknownNameError
from manifests.geometry import HU_MIN
from manifests.identity import content_hash
from manifests.schemes import Scheme, scheme

__all__ = ["TransferOptions", "check_target", "check_work_folder", "parse_exclusions", "transfer"]

DEVICES = ("cpu", "cuda")
LEAST_CASES = 4
_EXPORT = ExportOptions(id="900", name="Synthetic", scheme="torso25", verify=False)
_JOB = "job.json"
_HELD_OUT, _LEAST_FOLDS = 8, 5
_PRODUCTS = {
    "prepare": ("preprocessed", "results", "predictions", "scores"),
    "train": ("results", "predictions", "scores"),
    "predict": ("predictions", "scores"),
    "score": ("scores",),
}
"""Folders that each step and those after it make: what is removed when a step must be done anew."""


@dataclass(frozen=True, slots=True)
class TransferOptions:
    """How to train and score.

    Attributes:
        plan: a key of `transfer_plans.PLANS`.
        scheme: label scheme that is trained and scored.
        iterations: training steps of each network; None for the plan's.
        seed: of weights, patches and augmentation.
        device: "cpu" or "cuda".
        workers: processes for preprocessing.
        largest: keep only the largest piece of organs that are one piece.
        tolerance_mm: of the normalised surface distance.
        exclude: (case, label) pairs of the real dataset that are not scored, because the reference has only a part.
        members: networks whose scores are averaged; None for the plan's.
    """

    plan: str = "nano"
    scheme: str = "torso25"
    iterations: int | None = None
    seed: int = 0
    device: str = "cpu"
    workers: int = 2
    largest: bool = True
    tolerance_mm: float = 3.0
    exclude: tuple[Exclusion, ...] = ()
    members: int | None = None

    def size(self) -> dict[str, Any]:
        """The plan as plain data, with the iterations and networks asked for."""
        asked = {"iterations": self.iterations, "members": self.members}
        return transfer_plan(self.plan).to_json() | {name: value for name, value in asked.items() if value}


def parse_exclusions(texts: Sequence[str]) -> tuple[Exclusion, ...]:
    """Read `CASE:LABEL` texts.

    Raises:
        InvalidValueError: for a text without both.
    """
    pairs = [text.rpartition(":") for text in texts]
    for case, _, label in pairs:
        if not (case and label):
            raise InvalidValueError("--exclude", got=repr(label), need="CASE:LABEL", do='E.g. "s0011:vertebrae".')
    return tuple((case, label) for case, _, label in pairs)


def check_target(real: Path, options: TransferOptions) -> tuple[Dataset, list[CaseRecord], Scheme]:
    """Make sure that options and real dataset can be worked with, before hours are spent.

    Returns:
        The real dataset, the cases to be scored, and the scheme.

    Raises:
        InputError: unknown plan, device or scheme, numbers out of range, no dataset, no case with a CT and labels of the scheme,
            an exclusion that names nothing.
    """
    transfer_plan(options.plan)
    wanted = scheme(options.scheme)
    _check_numbers(options)
    dataset = Dataset.open(real)
    names = {source: label.name for label in wanted.definitions for source in label.sources}
    found = {
        record.case_id: {names[one.name] for one in record.structures if one.name in names}
        for record in dataset.accepted()
    }
    _check_exclusions(options.exclude, found)
    if not any(found.values()):
        raise InvalidValueError(
            str(real),
            got=f"no accepted case with a structure of scheme {wanted.name}",
            need="reference labels that the network learns, too",
            do="Choose another --scheme, or ingest the scans with their labels.",
        )
    cases = [record for record in dataset.accepted() if found[record.case_id]]
    empty = [record.case_id for record in cases if all(one.hu_mean == HU_MIN for one in record.structures)]
    if empty:
        raise InvalidValueError(
            f"{real}, case {empty[0]}", got="labels without an image", need="a CT", do='Ingest without --images "".'
        )
    return dataset, cases, wanted


def _check_numbers(options: TransferOptions) -> None:
    if options.device not in DEVICES:
        need = f"one of {', '.join(DEVICES)}"
        raise UnknownNameError("--device", got=repr(options.device), need=need, do="Choose a device.")
    if options.device == "cuda":
        _require_cuda()
    for name, value, least in (
        ("--iterations", options.iterations, 1),
        ("--members", options.members, 1),
        ("--training-seed", options.seed, 0),
        ("--workers", options.workers, 1),
    ):
        if value is not None and value < least:
            raise InvalidValueError(name, got=str(value), need=f"{least} or more", do="Correct it.")
    if not options.tolerance_mm > 0:
        raise InvalidValueError("--tolerance", got=str(options.tolerance_mm), need="mm above 0", do="3 is usual.")
    require_nnunet()


def _require_cuda() -> None:
    import torch  # a second to import

    if not torch.cuda.is_available():
        raise InvalidValueError("--device", got="cuda without a GPU that torch sees", need="a GPU", do="Use cpu.")


def _check_exclusions(exclude: Sequence[Exclusion], found: dict[str, set[str]]) -> None:
    for case, label in exclude:
        if label not in found.get(case, ()):
            raise UnknownNameError(
                "--exclude", got=f"{case}:{label}", need="a case and a label that it has", do="Check both names."
            )


def check_work_folder(out: Path) -> None:
    """Make sure that a work folder is new, or from an earlier call.

    Raises:
        LocationError: if it holds something else.
    """
    ours = {_JOB, "steps", "synthetic", "raw", ".lock"}
    if out.exists() and (not out.is_dir() or (any(out.iterdir()) and not any((out / name).exists() for name in ours))):
        raise LocationError(str(out), got="something else", need="a new folder", do="Choose another --out.")


def transfer(
    synthetic: Path, real: Path, out: Path, options: TransferOptions, on_progress: Progress | None = None
) -> TransferResult:
    """Train on a synthetic dataset alone, segment the cases of another one, and score them.

    Args:
        synthetic: dataset to train on; a few of its cases are held out and scored as well, to tell what was not learnt from
            what does not carry over.
        real: dataset to predict; a label is scored in a case only where its reference has it.
        out: work folder: `raw`, `preprocessed`, `results`, `predictions`, `scores`, `figures`, and the tables.
        options: how.
        on_progress: called with the step, what is done and the total.

    Raises:
        InputError: as `check_target` and `check_work_folder`, or for a dataset that cannot be trained on; nothing is written then.
        WorkerError: if nnU-Net fails; the message has its last line.
        BusyError: if another call works in the same folder.
    """
    target, cases, _ = check_target(real, options)
    check_work_folder(out)
    source = _trainable(synthetic, cases)
    tell = on_progress or (lambda *_: None)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with alone(out, "a transfer"):
        return _run(source, (target, [case.case_id for case in cases]), out, options, tell)


def _run(
    source: Dataset, target: tuple[Dataset, list[str]], out: Path, options: TransferOptions, tell: Progress
) -> TransferResult:
    wanted = scheme(options.scheme)
    folder, held_out = _export(source, out, wanted, tell)
    job = _write_job(out, folder, options, {REAL: target, SYNTHETIC: (source, held_out)})
    variables = environment(folder.parent, out, options.workers)
    steps = Steps(out, _PRODUCTS)
    for step in ("prepare", "train", "predict"):
        if not steps.done(step, _key(job, step)):
            _do(step, out, job, variables, tell)
            steps.finish(step, _key(job, step))
    steps.done("score", scoring := _key(job, "score") + content_hash([options.tolerance_mm]))
    scores = score_arms(out, job["targets"], Scoring(wanted, options.tolerance_mm, options.exclude), tell)
    steps.finish("score", scoring)
    return write_result(out, scores, job, list(wanted.labels))


def _do(step: str, out: Path, job: dict[str, Any], variables: dict[str, str], tell: Progress) -> None:
    """Do a step in other processes: members learn side by side where they share cores, one after the other on a GPU."""
    module, log, whole = "downstream.transfer_job", out / "log.txt", [str(out.resolve()), step]
    members = [[*whole, str(member)] for member in range(job["plan"]["members"])]
    if step != "train":
        run_module(module, whole, variables, log, tell)
    elif job["options"]["device"] == "cpu":
        run_together(module, members, variables | machine_variables(sharing=len(members)), log, tell)
    else:
        for member in members:
            run_module(module, member, variables, log, tell)


def _trainable(synthetic: Path, cases: Sequence[CaseRecord]) -> Dataset:
    """The training data, if they are synthetic, enough, and from none of the patients to be scored."""
    dataset = Dataset.open(synthetic)
    records = dataset.accepted()
    if dataset.spec.kind != "synthetic":
        raise InvalidValueError(str(synthetic), got="a dataset of real scans", need="a synthetic one", do="Swap them?")
    if len(set(groups(records).values())) < LEAST_CASES:
        got = f"{len(records)} cases of too few prompts"
        raise InvalidValueError(
            str(synthetic),
            got=got,
            need=f"{LEAST_CASES} or more that share no prompt or source",
            do="Build more cases.",
        )
    patients = {record.patient_id for record in records if record.patient_id}
    if shared := sorted(patients & {case.patient_id for case in cases if case.patient_id}):
        raise InvalidValueError(
            str(synthetic),
            got=f"cases drawn from {shared[0]}, which is to be scored",
            need="synthetic cases of other sources",
            do="Leave these sources out of the bank, or out of the real dataset.",
        )
    return dataset


def _export(source: Dataset, out: Path, wanted: Scheme, tell: Progress) -> tuple[Path, list[str]]:
    """Write nnU-Net's raw folder; its first fold holds a few cases out."""
    records = source.accepted()
    independent = len(set(groups(records).values()))
    folds = min(independent, max(_LEAST_FOLDS, round(len(records) / _HELD_OUT)))
    done = 0

    def advance(_: object) -> None:
        nonlocal done
        tell("export", done := done + 1, len(records))

    options = ExportOptions(id=_EXPORT.id, name=_EXPORT.name, scheme=wanted.name, folds=folds, verify=False)
    raw = out / "raw"
    header = [source.spec.spec_id, wanted.name, dict(wanted.labels)]
    Steps(out, _PRODUCTS).claim("export", content_hash(header), (raw,))
    summary = export(source, raw, options, advance)
    splits = json.loads((summary.folder / "splits_final.json").read_text(encoding="utf-8"))
    return summary.folder, sorted(splits[0]["val"])[:_HELD_OUT]


def _write_job(
    out: Path, folder: Path, options: TransferOptions, targets: dict[str, tuple[Dataset, list[str]]]
) -> dict[str, Any]:
    job = {
        "folder": str(folder.resolve()),
        "plan": options.size(),
        "options": asdict(options),
        "targets": {
            arm: {"dataset": str(dataset.root.resolve()), "spec_id": dataset.spec.spec_id, "cases": cases}
            for arm, (dataset, cases) in targets.items()
        },
        "content_hash": json.loads((folder / "dataset.json").read_text(encoding="utf-8"))["content_hash"],
    }
    with writing(out):
        replace(out / _JOB, (json.dumps(job, indent=2) + "\n").encode())
    return job


def _key(job: dict[str, Any], step: str) -> str:
    """Hash of all that a step and those before it depend on; preprocessing depends on no network and no number of steps."""
    plan, options = dict(job["plan"]), job["options"]
    if step == "prepare":
        return content_hash([job["content_hash"], plan["spacing_mm"], options["scheme"]])
    iterations, rate, kind, scales = (plan.pop(name) for name in ("iterations", "learning_rate", "optimiser", "scales"))
    parts = [job["content_hash"], plan, options["scheme"], iterations, rate, kind, options["seed"]]
    if step in ("predict", "score"):
        parts += [scales, options["largest"], {arm: target["spec_id"] for arm, target in job["targets"].items()}]
        parts += [{arm: target["cases"] for arm, target in job["targets"].items()}]
    return content_hash(parts)
