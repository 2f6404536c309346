"""Findings, and the check of one delivered case: its files, then its voxels."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from manifests.anatomy import structures
from manifests.case import Arrays, CaseRecord
from manifests.dataset import Dataset
from manifests.errors import CorruptDatasetError
from manifests.geometry import HU_MAX, HU_MIN
from manifests.identity import array_blake3
from manifests.store import LAYERS, file_hashes, read_arrays

__all__ = ["CODES", "Finding", "check_case"]

CODES = (
    "spec-unreadable",
    "anatomy-table",
    "root-group",
    "record-torn",
    "record-edited",
    "record-incomplete",
    "record-foreign",
    "prompt-edited",
    "index-twice",
    "record-missing",
    "manifest-missing",
    "manifest-unreadable",
    "manifest-stale",
    "manifest-edited",
    "orphan",
    "file-missing",
    "file-changed",
    "file-extra",
    "array-unreadable",
    "array-changed",
    "grid",
    "ct-range",
    "anatomy-ids",
    "lesion-ids",
)
"""Codes of findings; new ones may be added, none is renamed."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One broken promise: its code, the case if it concerns one, and what was found."""

    code: str
    case_id: str | None
    message: str


def check_case(dataset: Dataset, record: CaseRecord, *, deep: bool = True) -> list[Finding]:
    """Check the files of one delivered case, and if they are intact and `deep`, its voxels."""
    findings = list(_check_files(dataset.case_path(record), record))
    return findings if findings or not deep else list(_check_voxels(dataset.case_path(record), record))


def _check_files(path: Path, record: CaseRecord) -> Iterator[Finding]:
    hashes = file_hashes(path)
    for name, digest in record.stored_blake3.items():
        if name not in hashes:
            yield Finding("file-missing", record.case_id, f"{record.path}/{name}: no such file")
        elif hashes[name] != digest:
            yield Finding("file-changed", record.case_id, f"{record.path}/{name}: bytes differ from their hash")
    for name in hashes.keys() - record.stored_blake3.keys():
        yield Finding("file-extra", record.case_id, f"{record.path}/{name}: not written by the build")
    size = sum((path / name).stat().st_size for name in hashes)
    if hashes == record.stored_blake3 and size != record.stored_bytes:
        yield Finding("record-incomplete", record.case_id, f"stored_bytes {record.stored_bytes}, files have {size}")


def _check_voxels(path: Path, record: CaseRecord) -> Iterator[Finding]:
    try:
        arrays = read_arrays(path)
    except CorruptDatasetError as error:
        yield Finding("array-unreadable", record.case_id, str(error))
        return
    if arrays.grid != record.grid():
        yield Finding("grid", record.case_id, f"arrays have {arrays.grid}, the record {record.grid()}")
    for layer in LAYERS:
        if array_blake3(getattr(arrays, layer)) != getattr(record, f"{layer}_blake3"):
            yield Finding("array-changed", record.case_id, f"{layer}: voxels differ from their hash")
    yield from _check_domains(arrays, record)


def _check_domains(arrays: Arrays, record: CaseRecord) -> Iterator[Finding]:
    low, high = int(arrays.ct.min()), int(arrays.ct.max())
    if low < HU_MIN or high > HU_MAX:
        yield Finding("ct-range", record.case_id, f"{low} to {high} HU, allowed are {HU_MIN} to {HU_MAX}")
    if unknown := _values(arrays.anatomy) - {entry.id for entry in structures()}:
        yield Finding("anatomy-ids", record.case_id, f"not in the anatomy table: {_listed(unknown)}")
    stored, recorded = _values(arrays.lesions), {lesion.id for lesion in record.lesions}
    if stored != recorded:
        message = f"voxels have instances {_listed(stored)}, the record has {_listed(recorded)}"
        yield Finding("lesion-ids", record.case_id, message)


def _values(array: UInt8[np.ndarray, "z y x"]) -> set[int]:
    """Values of a label array without 0."""
    return set(np.flatnonzero(np.bincount(array.ravel(), minlength=256)).tolist()) - {0}


def _listed(ids: set[int]) -> str:
    return ", ".join(map(str, sorted(ids))) or "none"
