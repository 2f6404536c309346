"""Check of every promise that `docs/format.md` makes, and removal of what no record names.

A fault is a `Finding` with a stable code; the table in `docs/format.md` says which promise each
code stands for. A fault is reported once, where it is: voxels are not compared where the files
that hold them have changed already.
"""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from manifests import commits
from manifests.anatomy import table_hash
from manifests.case import CaseRecord
from manifests.dataset import CASES, ROOT_GROUP, Dataset
from manifests.durable import TEMPORARY
from manifests.errors import CorruptDatasetError, FileFormatError, InvalidValueError, LocationError
from manifests.identity import content_hash
from manifests.table import order, read_table, to_records
from manifests.validate_case import CODES, Finding, check_case

__all__ = ["CODES", "Finding", "check", "check_case", "collect_garbage", "orphans", "stream"]


def check(dataset: Dataset | Path, *, deep: bool = True, workers: int = 1) -> list[Finding]:
    """Check a dataset; an intact one gives an empty list.

    Args:
        dataset: the dataset or its directory.
        deep: whether to decode the arrays too and compare voxels, ids and grids; otherwise the
            files of each case are compared byte by byte with their hashes.
        workers: number of threads.

    Raises:
        LocationError: if the directory holds no dataset at all.
    """
    return [finding for findings in stream(dataset, deep=deep, workers=workers) for finding in findings]


def stream(dataset: Dataset | Path, *, deep: bool = True, workers: int = 1) -> Iterator[list[Finding]]:
    """Check step by step: first the dataset itself, then each delivered case in order.

    Args:
        dataset: the dataset or its directory.
        deep: as in `check`.
        workers: number of threads.

    Yields:
        The findings of each step, often none; one step more than there are delivered cases.

    Raises:
        LocationError: if the directory holds no dataset at all.
    """
    try:
        opened = dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)
        Dataset.open(opened.root)
    except (FileFormatError, CorruptDatasetError) as error:
        yield [Finding("spec-unreadable", None, str(error))]
        return
    survey = _survey(opened)
    findings = [*survey.faults, *_check_root(opened), *_check_records(survey), *_check_manifest(survey)]
    findings += [
        Finding("orphan", None, f"{path.relative_to(opened.root)}: no record names it") for path in _orphans(survey)
    ]
    yield findings
    broken = {finding.case_id for finding in findings if finding.code == "record-incomplete"}
    whole = [record for record in survey.records if record.status == "accepted" and record.case_id not in broken]
    with ThreadPoolExecutor(max_workers=workers) as pool:
        yield from pool.map(lambda record: check_case(opened, record, deep=deep), whole)


def orphans(dataset: Dataset) -> list[Path]:
    """Attempts that neither a record nor a manifest row names, and files that were never finished.

    An attempt whose record was lost or edited is kept while anything else speaks for it.
    """
    return _orphans(_survey(dataset))


def collect_garbage(dataset: Dataset) -> list[Path]:
    """Remove the orphans of a dataset that nobody builds, and case directories left empty.

    Returns:
        What was removed.

    Raises:
        BusyError: if a build holds the dataset; its unfinished attempts look like orphans.
    """
    with dataset.lock():
        found = orphans(dataset)
        for path in found:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        for path in (dataset.root / CASES).iterdir():
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
    return found


@dataclass(frozen=True, slots=True)
class _Survey:
    """What records and manifest say, read once.

    `faults` are the record files that cannot be used, `doubtful` the cases that they may stand for;
    `rows` is None where the manifest cannot be used, and `manifest_fault` says why.
    """

    dataset: Dataset
    records: list[CaseRecord]
    faults: list[Finding]
    doubtful: set[str]
    rows: list[CaseRecord] | None
    manifest_fault: Finding | None


def _survey(dataset: Dataset) -> _Survey:
    found = [_read_record(path) for path in commits.committed(dataset.root)]
    records = sorted((entry for entry in found if isinstance(entry, CaseRecord)), key=order)
    faults = [entry for entry in found if isinstance(entry, Finding)]
    doubtful = {name for fault in faults if fault.case_id for name in (fault.case_id, _claimed(dataset, fault.case_id))}
    doubtful |= {record.case_id for record in records if not (dataset.root / (record.path or ".")).is_dir()}
    rows, fault = None, None
    try:
        rows = to_records(read_table(dataset.manifest_path))
    except LocationError:
        fault = Finding("manifest-missing", None, f"{dataset.manifest_path.name}: no such file")
    except FileFormatError as error:
        fault = Finding("manifest-unreadable", None, str(error))
    return _Survey(dataset, records, faults, doubtful, rows, fault)


def _read_record(path: Path) -> CaseRecord | Finding:
    try:
        return commits.parse(path.read_bytes(), path.name)
    except commits.TornRecordError:
        return Finding("record-torn", path.stem, f"{path.name}: no whole JSON; it does not count")
    except CorruptDatasetError as error:
        return Finding("record-edited", path.stem, str(error))


def _claimed(dataset: Dataset, name: str) -> str:
    """The case that an unusable record file says it is of; the file may have been renamed."""
    try:
        return str(json.loads(commits.record_path(dataset.root, name).read_bytes())["case_id"])
    except (ValueError, TypeError, KeyError, InvalidValueError):
        return name


def _orphans(survey: _Survey) -> list[Path]:
    root = survey.dataset.root
    named = {record.path for record in (*survey.records, *(survey.rows or ()))}
    attempts = [path for path in sorted((root / CASES).glob("*/*")) if path.parent.name not in survey.doubtful]
    unnamed = [path for path in attempts if path.relative_to(root).as_posix() not in named]
    return unnamed + sorted(root.glob(f"{TEMPORARY}*")) + sorted(root.glob(f"*/{TEMPORARY}*"))


def _check_root(dataset: Dataset) -> Iterator[Finding]:
    try:
        group = json.loads((dataset.root / ROOT_GROUP).read_bytes())
        version = group["attributes"]["factory"]["format_version"]
        if (group["zarr_format"], group["node_type"], version) != (3, "group", dataset.spec.format_version):
            yield Finding("root-group", None, f"{ROOT_GROUP}: not the Zarr v3 group of this format version")
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield Finding("root-group", None, f"{ROOT_GROUP}: unreadable ({error!r})")
    if dataset.spec.anatomy_table != table_hash():
        message = f"ids follow table {dataset.spec.anatomy_table}, this version has {table_hash()}"
        yield Finding("anatomy-table", None, message)


def _check_records(survey: _Survey) -> Iterator[Finding]:
    spec_id = survey.dataset.spec.spec_id
    for record in survey.records:
        if message := _incomplete(survey.dataset, record):
            yield Finding("record-incomplete", record.case_id, message)
        if record.spec_id != spec_id:
            yield Finding("record-foreign", record.case_id, f"made under spec {record.spec_id}, not {spec_id}")
        if record.prompt_json is not None and not _prompt_holds(record):
            yield Finding("prompt-edited", record.case_id, f"prompt_json does not hash to {record.prompt_id}")
    delivered = Counter(record.index for record in survey.records if record.status == "accepted")
    for index, count in delivered.items():
        if count > 1:
            yield Finding("index-twice", None, f"{count} delivered cases have index {index}")


def _incomplete(dataset: Dataset, record: CaseRecord) -> str | None:
    """What an otherwise intact record lacks, or None."""
    if record.status != "accepted":
        return None if record.reasons else f"{record.status} without a reason"
    needed = ("shape_zyx", "spacing_mm_zyx", "origin_mm_xyz", "ct_blake3", "anatomy_blake3", "lesions_blake3")
    missing = [name for name in (*needed, "stored_bytes") if getattr(record, name) is None]
    if missing or not record.stored_blake3:
        return f"accepted without {', '.join(missing) or 'stored_blake3'}"
    try:
        dataset.case_path(record)
    except InvalidValueError as error:
        return str(error)
    return None


def _prompt_holds(record: CaseRecord) -> bool:
    """Whether the stored prompt has the identity beside it: the hash of what it states."""
    assert record.prompt_json is not None
    try:
        return record.prompt_id == "p" + content_hash(_stated(json.loads(record.prompt_json)))
    except ValueError:
        return False


def _stated(value: object) -> object:
    """A JSON value without its unstated parts: null, empty lists and empty objects."""
    if isinstance(value, dict):
        kept = {name: _stated(part) for name, part in value.items()}
        return {name: part for name, part in kept.items() if part not in (None, {}, [])}
    return [_stated(part) for part in value] if isinstance(value, list) else value


def _check_manifest(survey: _Survey) -> Iterator[Finding]:
    if survey.rows is None:
        assert survey.manifest_fault
        yield survey.manifest_fault
        return
    by_id = {record.case_id: record for record in survey.records}
    for row in survey.rows:
        record = by_id.get(row.case_id)
        if record is None and row.case_id not in survey.doubtful:
            yield Finding("record-missing", row.case_id, "the manifest has a row, but there is no commit record")
        elif record is not None and row != record:
            yield Finding("manifest-edited", row.case_id, f"the row differs from its record: {_changes(row, record)}")
    rowed = Counter(row.case_id for row in survey.rows)
    for case_id in sorted(by_id.keys() - rowed.keys()):
        yield Finding("manifest-stale", case_id, "committed, but without a row in the manifest")
    for case_id in (case_id for case_id, count in rowed.items() if count > 1):
        yield Finding("manifest-edited", case_id, f"{rowed[case_id]} rows of one case")
    if survey.rows != sorted(survey.rows, key=order):
        yield Finding("manifest-edited", None, "rows are not sorted by index, candidate and case id")


def _changes(row: CaseRecord, record: CaseRecord) -> str:
    return ", ".join(name for name in CaseRecord.model_fields if getattr(row, name) != getattr(record, name))
