"""The mechanism of every export: claim a folder, write each case once, go on after an interruption.

A layout says which files a case has, how they are written and read back, and what belongs to the
dataset as a whole. Everything else is here: a folder is taken only if it is free or an export of
the same dataset; cases are written in threads, first under a scratch folder, and get their names
when they have been read back; `export.jsonl` (`downstream.ledger`) has a line for each finished
case, and a repeated call keeps what still matches it. The file that makes the folder a dataset to
its reader comes last and is taken away while cases are being written.
"""

import json
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from downstream.ledger import LEDGER, ExportedCase, append, file_sha256, read_ledger, source_hash, write_ledger, writing
from downstream.splits import Fold
from manifests.case import Arrays, CaseRecord
from manifests.dataset import Dataset
from manifests.durable import replace
from manifests.errors import LocationError
from manifests.identity import content_hash
from manifests.schemes import Scheme

__all__ = ["ExportSummary", "Job", "Layout", "OnCase", "described", "run", "write_json"]

_SCRATCH = "unfinished"
_DESCRIPTION = {
    "synthetic": "SYNTHETIC computed tomography and masks: generated, no patient is shown. Not for diagnosis.",
    "deformed": "SYNTHETIC computed tomography; its masks are deformed label maps of scans of patients. Not for diagnosis.",
    "real": "Computed tomography and masks, ingested from files.",
}

OnCase = Callable[[ExportedCase], object]


class Layout(ABC):
    """How one tool wants a dataset on disk.

    Attributes:
        name: of the layout.
        scheme: the label scheme that masks are painted with; None for the two layers as they are.
        folders: folders that exist even without a file.
        patterns: glob patterns of files that its reader takes for cases.
        marker: the file that makes the folder a dataset to its reader.
        readers: who reads every file back before it gets its name.
    """

    name: str
    scheme: Scheme | None
    folders: tuple[str, ...] = ()
    patterns: tuple[str, ...]
    marker: str
    readers: tuple[str, ...] = ("SimpleITK",)

    @abstractmethod
    def paths(self, record: CaseRecord) -> tuple[str, ...]:
        """The files of a case, relative to the export."""

    @abstractmethod
    def write(self, record: CaseRecord, arrays: Arrays, folder: Path) -> tuple[str, ...]:
        """Write the files of a case below an empty folder and read them back; names of the labels present."""

    @abstractmethod
    def finish(self, folder: Path, classes: Mapping[str, tuple[str, ...]]) -> tuple[Fold, ...]:
        """Write what belongs to the dataset as a whole, `marker` last.

        Args:
            folder: the export.
            classes: names of the labels present, by case id.

        Returns:
            The folds of its split, if it has one.
        """

    @property
    def labels(self) -> dict[str, int]:
        """Foreground labels and their values; empty without a scheme."""
        return {name: value for name, value in self.scheme.labels.items() if value} if self.scheme else {}


@dataclass(frozen=True, slots=True)
class ExportSummary:
    """What an export did.

    Attributes:
        layout: name of the layout.
        folder: the export.
        cases: number of cases in it, `written` now and `kept` from an earlier call.
        cases_with: number of cases that hold each foreground label.
        val_sizes: cases in each validation fold; empty without a split.
        warnings: what will hurt a training on it, one sentence each.
        readers: who has read the cases back.
        seconds: wall time.
    """

    layout: str
    folder: Path
    cases: int
    written: int
    kept: int
    cases_with: dict[str, int]
    val_sizes: tuple[int, ...]
    warnings: tuple[str, ...]
    readers: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Job:
    """An export whose input has passed every check.

    Attributes:
        dataset: the source.
        records: its accepted cases (`accepted`).
        folder: where the export goes.
        layout: as what.
        workers: threads; None for one per core.
    """

    dataset: Dataset
    records: tuple[CaseRecord, ...]
    folder: Path
    layout: Layout
    workers: int | None = None

    @property
    def header(self) -> dict[str, Any]:
        """What a folder must have been exported from to be continued."""
        scheme = self.layout.scheme
        return {
            "layout": self.layout.name,
            "spec_id": self.dataset.spec.spec_id,
            "scheme": scheme.name if scheme else None,
            "labels": dict(scheme.labels) if scheme else {},
        }


def described(dataset: Dataset, records: Sequence[CaseRecord], layout: Layout) -> dict[str, Any]:
    """What a layout's own description of the dataset says beside what its reader demands."""
    spec = dataset.spec
    return {
        "description": _DESCRIPTION["deformed" if spec.kind == "synthetic" and spec.from_patients else spec.kind],
        "synthetic": spec.kind == "synthetic",
        "licence": ", ".join(sorted({record.licence for record in records if record.licence})) or "unstated",
        "scheme": f"{layout.scheme.name}: {layout.scheme.about}" if layout.scheme else "none: two layers",
        "spec_id": spec.spec_id,
        "content_hash": content_hash(sorted([record.case_id, source_hash(record)] for record in records)),
        "converted_by": f"factory export {layout.name}",
    }


def write_json(path: Path, data: Any) -> None:
    """Write data as indented JSON, in place of an earlier file."""
    replace(path, (json.dumps(data, indent=2, ensure_ascii=False) + "\n").encode())


def run(job: Job, on_case: OnCase | None = None) -> ExportSummary:
    """Export; an interrupted export goes on where it stopped.

    Args:
        job: what to export as what.
        on_case: called in this thread with each case as it is done, those kept first.

    Raises:
        LocationError: if the folder is none of ours, or an export of something else.
        StorageError: if the disk is full; run it again.
        DefectError: if a file does not read back as written.
    """
    started = time.monotonic()
    kept = _claim(job)
    written = _write_cases(job, kept, on_case or (lambda _: None))
    cases = kept | written
    classes = {case.case_id: case.classes for case in cases.values()}
    write_ledger(job.folder, job.header, cases.values())
    with writing(job.folder):
        shutil.rmtree(job.folder / _SCRATCH, ignore_errors=True)
        folds = job.layout.finish(job.folder, classes)
    cases_with = {name: sum(name in held for held in classes.values()) for name in job.layout.labels}
    return ExportSummary(
        layout=job.layout.name,
        folder=job.folder,
        cases=len(cases),
        written=len(written),
        kept=len(kept),
        cases_with=cases_with,
        val_sizes=tuple(len(fold.val) for fold in folds),
        warnings=tuple(_warnings(cases_with, folds, classes)),
        readers=job.layout.readers,
        seconds=time.monotonic() - started,
    )


def _claim(job: Job) -> dict[str, ExportedCase]:
    """Make the folder ours, or find it ours; the finished cases that still match, by id."""
    folder = job.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        return _continue(job)
    with writing(folder):
        for name in ("", *job.layout.folders):
            (folder / name).mkdir(parents=True, exist_ok=True)
    write_ledger(folder, job.header, ())
    return {}


def _continue(job: Job) -> dict[str, ExportedCase]:
    if not (job.folder / LEDGER).is_file():
        raise LocationError(
            str(job.folder),
            got="something that is no export of ours",
            need="a free name",
            do="Choose another --out or --name.",
        )
    header, lines = read_ledger(job.folder)
    if differing := sorted(key for key, value in job.header.items() if header.get(key) != value):
        raise LocationError(
            str(job.folder),
            got=f"an export with another {' and '.join(differing)}",
            need="the same dataset, layout and scheme, to continue",
            do="Choose another --out or --name, or delete it.",
        )
    _refuse_strangers(job)
    finished = ((record, lines[record.case_id]) for record in job.records if record.case_id in lines)
    return {
        case.case_id: case for record, case in finished if case.matches(record, job.folder, job.layout.paths(record))
    }


def _refuse_strangers(job: Job) -> None:
    """Refuse files that the layout's reader would take for cases but that are none of ours."""
    expected = {job.folder / name for record in job.records for name in job.layout.paths(record)}
    found = {path for pattern in job.layout.patterns for path in job.folder.glob(pattern)}
    hidden = (_SCRATCH, ".")
    if strange := sorted(
        path for path in found - expected if not any(p.startswith(hidden) for p in path.relative_to(job.folder).parts)
    ):
        raise LocationError(
            str(strange[0]), got="no case of this dataset", need="its cases alone", do="Move the file away."
        )


def _write_cases(job: Job, kept: dict[str, ExportedCase], on_case: OnCase) -> dict[str, ExportedCase]:
    """Write what is not done; threads, because reading, compression and checks release the interpreter lock."""
    for case in kept.values():
        on_case(case)
    todo = [record for record in job.records if record.case_id not in kept]
    if not todo:
        return {}
    with writing(job.folder):
        (job.folder / job.layout.marker).unlink(missing_ok=True)
        shutil.rmtree(job.folder / _SCRATCH, ignore_errors=True)
        (job.folder / _SCRATCH).mkdir()
    write_ledger(job.folder, job.header, kept.values())
    written: dict[str, ExportedCase] = {}
    pool = ThreadPoolExecutor(job.workers or os.cpu_count())
    try:
        for future in as_completed([pool.submit(_write_case, job, record) for record in todo]):
            case = written[future.result().case_id] = future.result()
            append(job.folder, case)
            on_case(case)
    finally:
        pool.shutdown(cancel_futures=True)
    return written


def _write_case(job: Job, record: CaseRecord) -> ExportedCase:
    """Write a case under scratch, hash its files, give them their names."""
    scratch = job.folder / _SCRATCH / record.case_id
    arrays = job.dataset.read(record.case_id)
    names = job.layout.paths(record)
    with writing(scratch):
        for name in names:
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
        classes = job.layout.write(record, arrays, scratch)
        files = {name: file_sha256(scratch / name) for name in names}
        for name in names:
            (job.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (scratch / name).replace(job.folder / name)
        shutil.rmtree(scratch)
    return ExportedCase(record.case_id, source_hash(record), files, classes)


def _warnings(
    cases_with: Mapping[str, int], folds: Sequence[Fold], classes: Mapping[str, tuple[str, ...]]
) -> Iterator[str]:
    if never := [name for name, count in cases_with.items() if not count]:
        yield f"no case holds {', '.join(never)}: to train on {'it' if len(never) == 1 else 'them'} is in vain"
    for name, count in cases_with.items():
        seen = [any(name in classes[case] for case in fold.val) for fold in folds]
        if count and not all(seen):
            yield f"{name} is in {count} of {len(classes)} cases, in {sum(seen)} of {len(folds)} validation folds"
