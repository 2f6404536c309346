"""A dataset as nnU-Net v2 raw data: `DatasetXXX_Name/{imagesTr,labelsTr,dataset.json,splits_final.json}`.

Images are int16 HU, labels uint8, `.nii.gz`, checked one by one (`downstream.pairs`).
`export.jsonl` names the source in its first line and then each finished case with the hashes
of its files; a repeated call keeps what still matches and writes the rest. `dataset.json`
comes last, so nnU-Net never takes an unfinished export for a dataset. Its rules are those of
nnU-Net 2.8 (documentation/dataset_format.md and the source of its integrity check).
"""

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from downstream.ledger import LEDGER, ExportedCase, append, read_ledger, source_hash, write_ledger
from downstream.nnunet_layout import (
    ENDING,
    IMAGES,
    LABELS,
    case_paths,
    refuse_strangers,
    require_free_id,
    require_nnunet,
    verify_integrity,
)
from downstream.pairs import require_simpleitk, write_pair, writing
from downstream.splits import Fold, check_leakage, k_folds, possible_folds
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.durable import replace
from manifests.errors import InvalidValueError, LocationError
from manifests.identity import content_hash
from manifests.schemes import Scheme, scheme

__all__ = ["ExportOptions", "ExportSummary", "export"]

_SCRATCH = "unfinished"
_DESCRIPTION = {
    "synthetic": "SYNTHETIC computed tomography and masks: generated, no patient is shown. Not for diagnosis.",
    "real": "Computed tomography and masks, ingested from files.",
}


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export as what.

    Attributes:
        id: nnU-Net's dataset number as exactly three digits, "001" to "999".
        name: letters, digits and `_`; the folder is `Dataset<id>_<name>`.
        scheme: name of the label scheme to paint.
        folds: cross-validation folds, 0 for no split file; None for 5, or as many as there are
            independent prompts, patients or sources.
        workers: threads; None for one per core.
        verify: run nnU-Net's own integrity check at the end.
    """

    id: str
    name: str
    scheme: str
    folds: int | None = None
    workers: int | None = None
    verify: bool = True

    @property
    def folder_name(self) -> str:
        """Name of nnU-Net's dataset folder."""
        return f"Dataset{self.id}_{self.name}"


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export did.

    Attributes:
        folder: the nnU-Net dataset.
        cases: number of cases in it, `written` now and `kept` from an earlier call.
        cases_with: number of cases that hold each foreground label.
        val_sizes: cases in each validation fold; empty without a split file.
        warnings: what will hurt a training on it, one sentence each.
        verified: whether nnU-Net's own integrity check passed; False if it was not asked for.
        seconds: wall time.
    """

    folder: Path
    cases: int
    written: int
    kept: int
    cases_with: dict[str, int]
    val_sizes: tuple[int, ...]
    warnings: tuple[str, ...]
    verified: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class _Job:
    """An export that passed every check of its input."""

    dataset: Dataset
    options: ExportOptions
    folder: Path
    scheme: Scheme
    records: tuple[CaseRecord, ...]

    @property
    def header(self) -> dict[str, Any]:
        """What a folder must have been exported from to be continued."""
        return {
            "spec_id": self.dataset.spec.spec_id,
            "scheme": self.scheme.name,
            "labels": dict(self.scheme.labels),
        }


def export(
    dataset: Dataset, out: Path, options: ExportOptions, on_case: Callable[[ExportedCase], object] | None = None
) -> ExportSummary:
    """Export the accepted cases of a dataset; an interrupted export goes on where it stopped.

    Args:
        dataset: the dataset, synthetic or real.
        out: nnU-Net's raw folder (`$nnUNet_raw`); made if missing.
        options: what to export as what.
        on_case: called in this thread with each case as it is done, those kept first.

    Raises:
        InputError: for a wrong id, name, scheme, number of folds, an empty dataset, or a folder
            or id that is in use; nothing is written then.
        StorageError: if the disk is full; run it again.
        DefectError: if a file does not read back as written, or nnU-Net refuses the dataset.
    """
    started = time.monotonic()
    job = _validated(dataset, out, options)
    kept = _claim(job)
    written = _write_cases(job, kept, on_case or (lambda _: None))
    cases = kept | written
    classes = {case.case_id: frozenset(case.classes) for case in cases.values()}
    folds = _folds(job, classes)
    _finish(job, cases, folds)
    if options.verify:
        verify_integrity(job.folder)
    names = [name for name, value in job.scheme.labels.items() if value]
    cases_with = {name: sum(name in held for held in classes.values()) for name in names}
    return ExportSummary(
        folder=job.folder,
        cases=len(cases),
        written=len(written),
        kept=len(kept),
        cases_with=cases_with,
        val_sizes=tuple(len(fold.val) for fold in folds),
        warnings=tuple(_warnings(cases_with, folds, classes)),
        verified=options.verify,
        seconds=time.monotonic() - started,
    )


def _validated(dataset: Dataset, out: Path, options: ExportOptions) -> _Job:
    chosen = scheme(options.scheme)
    checks = (
        ("--id", options.id, bool(re.fullmatch(r"(?!000)[0-9]{3}", options.id)), "three digits, 001 to 999"),
        ("--name", options.name, bool(re.fullmatch(r"[A-Za-z0-9_]+", options.name)), "letters, digits and _"),
        ("--workers", options.workers, options.workers is None or options.workers > 0, "1 or more"),
        ("--scheme", options.scheme, chosen.consecutive, "labels 0, 1, 2, ... without gaps, as nnU-Net does"),
    )
    for what, got, good, need in checks:
        if not good:
            raise InvalidValueError(what, got=repr(got), need=need, do="Choose another.")
    records = tuple(dataset.accepted())
    if not records:
        raise InvalidValueError(
            str(dataset.root), got="no accepted case", need="at least one", do="Build it first: factory build."
        )
    if options.folds:
        k_folds(records, {}, options.folds)  # raises where the groups do not allow it, before anything is written
    require_simpleitk()
    if options.verify:
        require_nnunet("or pass --no-verify")
    return _Job(dataset, options, out / options.folder_name, chosen, records)


def _claim(job: _Job) -> dict[str, ExportedCase]:
    """Make the folder ours, or find it ours; the finished cases that still match, by id."""
    folder = job.folder
    require_free_id(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        return _continue(job)
    with writing(folder):
        for name in (IMAGES, LABELS):
            (folder / name).mkdir(parents=True, exist_ok=True)
    write_ledger(folder, job.header, ())
    return {}


def _continue(job: _Job) -> dict[str, ExportedCase]:
    if not (job.folder / LEDGER).is_file():
        raise LocationError(
            str(job.folder), got="something that is no export of ours", need="a free name", do="Choose another --name."
        )
    header, lines = read_ledger(job.folder)
    if differing := sorted(key for key, value in job.header.items() if header.get(key) != value):
        raise LocationError(
            str(job.folder),
            got=f"an export with another {' and '.join(differing)}",
            need="the same dataset and scheme, to continue",
            do="Choose another --name and --id, or delete it.",
        )
    refuse_strangers(job.folder, (record.case_id for record in job.records))
    finished = ((record, lines[record.case_id]) for record in job.records if record.case_id in lines)
    return {
        case.case_id: case for record, case in finished if case.matches(record, case_paths(job.folder, case.case_id))
    }


def _write_cases(
    job: _Job, kept: dict[str, ExportedCase], on_case: Callable[[ExportedCase], object]
) -> dict[str, ExportedCase]:
    """Write what is not done; threads, because reading, compression and checks release the interpreter lock."""
    for case in kept.values():
        on_case(case)
    todo = [record for record in job.records if record.case_id not in kept]
    if not todo:
        return {}
    scratch = job.folder / _SCRATCH
    with writing(job.folder):
        (job.folder / "dataset.json").unlink(missing_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
    write_ledger(job.folder, job.header, kept.values())
    written: dict[str, ExportedCase] = {}
    pool = ThreadPoolExecutor(job.options.workers or os.cpu_count())
    try:
        for future in as_completed([pool.submit(_write_case, job, record) for record in todo]):
            case = written[future.result().case_id] = future.result()
            append(job.folder, case)
            on_case(case)
    finally:
        pool.shutdown(cancel_futures=True)
    return written


def _write_case(job: _Job, record: CaseRecord) -> ExportedCase:
    arrays = job.dataset.read(record.case_id)
    files = write_pair(record, arrays, job.scheme, case_paths(job.folder, record.case_id), job.folder / _SCRATCH)
    return ExportedCase.of(record, files)


def _folds(job: _Job, classes: Mapping[str, frozenset[str]]) -> tuple[Fold, ...]:
    count = possible_folds(job.records) if job.options.folds is None else job.options.folds
    folds = k_folds(job.records, classes, count) if count else ()
    check_leakage(folds, job.records)
    return folds


def _finish(job: _Job, cases: Mapping[str, ExportedCase], folds: Sequence[Fold]) -> None:
    """Write what belongs to the dataset as a whole, `dataset.json` last."""
    write_ledger(job.folder, job.header, cases.values())
    with writing(job.folder):
        shutil.rmtree(job.folder / _SCRATCH, ignore_errors=True)
        (job.folder / "splits_final.json").unlink(missing_ok=True)
        if folds:
            _write_json(job.folder / "splits_final.json", [asdict(fold) for fold in folds])
        _write_json(job.folder / "dataset.json", _dataset_json(job))


def _dataset_json(job: _Job) -> dict[str, Any]:
    """nnU-Net's four required keys, its reader, and what the data is: nnU-Net ignores other keys."""
    spec = job.dataset.spec
    return {
        "channel_names": {"0": "CT"},
        "labels": dict(job.scheme.labels),
        "numTraining": len(job.records),
        "file_ending": ENDING,
        "overwrite_image_reader_writer": "SimpleITKIO",
        "name": job.options.name,
        "description": _DESCRIPTION[spec.kind],
        "synthetic": spec.kind == "synthetic",
        "licence": ", ".join(sorted({record.licence for record in job.records if record.licence})) or "unstated",
        "scheme": f"{job.scheme.name}: {job.scheme.about}",
        "spec_id": spec.spec_id,
        "content_hash": content_hash(sorted([record.case_id, source_hash(record)] for record in job.records)),
        "converted_by": "factory export nnunet",
    }


def _warnings(
    cases_with: Mapping[str, int], folds: Sequence[Fold], classes: Mapping[str, frozenset[str]]
) -> Iterator[str]:
    if never := [name for name, count in cases_with.items() if not count]:
        yield f"no case holds {', '.join(never)}: nnU-Net would train on {'it' if len(never) == 1 else 'them'} in vain"
    if not folds:
        yield "no splits_final.json: nnU-Net will draw its own folds, blind to prompts, patients and classes"
    for name, count in cases_with.items():
        seen = [any(name in classes[case] for case in fold.val) for fold in folds]
        if count and not all(seen):
            yield f"{name} is in {count} of {len(classes)} cases, in {sum(seen)} of {len(folds)} validation folds"


def _write_json(path: Path, data: Any) -> None:
    replace(path, (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode())
