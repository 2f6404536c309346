"""A dataset: a directory of cases, each present exactly when its commit record is.

    dataset.json             the spec: what every case of this dataset shares
    zarr.json                root group
    prompts.parquet          the prompts it is built from
    commits/<case_id>.json   one record per case, delivered, refused or failed
    cases/<case_id>/<attempt>.ome.zarr/   arrays of a delivered case
    manifest.parquet         all records as one table, written by `compact`
    runs/<stamp>.json        one report per run

Any number of processes may save and publish at once; one at a time may hold the lock of a build.
`docs/format.md` is the contract, and `manifests.validate` checks it.
"""

import errno
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath

import pyarrow as pa
import zarr

from manifests import commits
from manifests.case import FORMAT_VERSION, Arrays, CaseRecord
from manifests.durable import TEMPORARY, write_once
from manifests.errors import (
    BusyError,
    CorruptDatasetError,
    FileFormatError,
    InvalidValueError,
    LocationError,
    StorageError,
    UnknownNameError,
)
from manifests.lock import hold
from manifests.spec import DatasetSpec, parse_spec, require_same, spec_text
from manifests.store import read_arrays, write_arrays
from manifests.table import from_records, order, write_table

__all__ = ["Dataset", "DatasetSpec"]

SPEC_FILE, ROOT_GROUP, CASES, RUNS, LOCK = "dataset.json", "zarr.json", "cases", "runs", ".lock"
PROMPTS_FILE, MANIFEST_FILE = "prompts.parquet", "manifest.parquet"
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG}


class Dataset:
    """An open dataset; make one with `create` or `open`."""

    def __init__(self, root: Path, spec: DatasetSpec) -> None:
        self.root = root
        self.spec = spec

    @classmethod
    def create(cls, root: Path | str, spec: DatasetSpec) -> "Dataset":
        """Make a dataset in a new or empty directory, or resume one of the same spec.

        Raises:
            SpecMismatchError: naming the fields that differ from the dataset that is there.
            LocationError: if the directory holds something else or cannot be written.
            StorageError: if the disk is full or fails.
        """
        dataset = cls(Path(root), spec)
        with _storage(dataset.root, "a writable directory"):
            if not (dataset.root / SPEC_FILE).exists():
                _require_vacant(dataset.root)
                dataset.root.mkdir(parents=True, exist_ok=True)
                write_once(dataset.root / SPEC_FILE, spec_text(spec).encode())
            require_same(cls.open(root).spec, spec, dataset.root)
            for name in (CASES, commits.DIRECTORY, RUNS):
                (dataset.root / name).mkdir(exist_ok=True)
            dataset._write_root_group()
        return dataset

    @classmethod
    def open(cls, root: Path | str) -> "Dataset":
        """Open a dataset.

        Raises:
            LocationError: if the directory holds no dataset.
            FileFormatError: if `dataset.json` cannot be read or follows another format version.
            CorruptDatasetError: if `dataset.json` was edited.
        """
        path = Path(root) / SPEC_FILE
        try:
            return cls(Path(root), parse_spec(path, path.read_text(encoding="utf-8")))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise LocationError(
                str(root), got=f"no {SPEC_FILE} in it", need="a dataset directory", do="Check the path, or build one."
            ) from error
        except UnicodeDecodeError as error:
            raise FileFormatError(str(path), got="no UTF-8 text", need="JSON", do="Restore the file.") from error

    @property
    def prompts_path(self) -> Path:
        """Where the prompts of the dataset lie."""
        return self.root / PROMPTS_FILE

    @property
    def manifest_path(self) -> Path:
        """Where `compact` writes the manifest."""
        return self.root / MANIFEST_FILE

    @cached_property
    def _spec_id(self) -> str:
        return self.spec.spec_id

    def save(self, record: CaseRecord, arrays: Arrays) -> CaseRecord:
        """Write the arrays of a case, then publish its record.

        Grid, path, hashes and sizes of the record are filled in here. Where another worker was
        first, nothing of this attempt stays and the record that counts is returned.

        Args:
            record: an accepted case.
            arrays: its volumes.

        Returns:
            The record as it stands in the dataset.

        Raises:
            InvalidValueError: if the case id is not one or the record is not of an accepted case.
            StorageError: if the disk is full, failed or refused; the case does not exist then, and
                the dataset stays resumable.
        """
        self._require_savable(record)
        with _saving(record.case_id):
            if commits.record_path(self.root, record.case_id).exists() and (there := self._find(record.case_id)):
                return there
            attempt = f"{CASES}/{record.case_id}/{uuid.uuid4().hex[:16]}.ome.zarr"
            try:
                placed = self._write(record, arrays, attempt)
                published = commits.publish(self.root, placed)
            except BaseException:
                shutil.rmtree(self.root / attempt, ignore_errors=True)
                raise
            if not published:
                shutil.rmtree(self.root / attempt)
        return placed if published else self.record(record.case_id)

    def publish(self, record: CaseRecord) -> bool:
        """Publish the record of a case without arrays: refused by the gate, or failed.

        Returns:
            False if a record of that case was there first.

        Raises:
            InvalidValueError: if the case id is not one, or the record claims to be accepted.
            StorageError: if the disk is full, failed or refused.
        """
        if record.status == "accepted":
            raise _wrong_status(record, "rejected or failed", "Save an accepted case with its arrays.")
        commits.record_path(self.root, record.case_id)
        with _saving(record.case_id):
            return commits.publish(self.root, record.model_copy(update={"spec_id": self._spec_id}))

    def withdraw(self, case_id: str) -> None:
        """Take back the record of a failed case, so that it can be tried again.

        Raises:
            InvalidValueError: if the case did not fail; delivered and refused cases stand.
            UnknownNameError: if there is no such case.
            StorageError: if the disk failed or refused.
        """
        record = self.record(case_id)
        if record.status != "failed":
            raise _wrong_status(record, "failed", "Delivered and refused cases stand.")
        with _saving(case_id):
            commits.record_path(self.root, case_id).unlink(missing_ok=True)

    def records(self) -> list[CaseRecord]:
        """All records, sorted by index, candidate and case id.

        Raises:
            CorruptDatasetError: if a record was edited.
        """
        return sorted(commits.read_all(self.root), key=order)

    def accepted(self) -> list[CaseRecord]:
        """The records of delivered cases, sorted by index."""
        return [record for record in self.records() if record.status == "accepted"]

    def record(self, case_id: str) -> CaseRecord:
        """The record of one case.

        Raises:
            InvalidValueError: if the id could leave the directory.
            UnknownNameError: if there is no such case.
            CorruptDatasetError: if the record was edited.
        """
        return commits.read(self.root, case_id)

    def case_path(self, record: CaseRecord) -> Path:
        """The OME-Zarr group of a delivered case.

        Raises:
            InvalidValueError: if the record has no arrays, or its path leaves the case's directory.
        """
        commits.record_path(self.root, record.case_id)
        parts = PurePosixPath(record.path or "").parts
        if len(parts) != 3 or parts[:2] != (CASES, record.case_id) or parts[2].startswith("."):
            raise InvalidValueError(
                f"case {record.case_id}, path",
                got=repr(record.path),
                need=f"{CASES}/{record.case_id}/<attempt>, as accepted cases have it",
                do="Read an accepted case; `factory check` tells whether a record was edited.",
            )
        return self.root.joinpath(*parts)

    def read(self, case_id: str) -> Arrays:
        """Read the volumes of a delivered case.

        Raises:
            InvalidValueError: if the id is not one, or the case was not delivered.
            UnknownNameError: if there is no such case.
            CorruptDatasetError: if files are missing, or arrays differ from the record in grid or dtype.
        """
        record = self.record(case_id)
        path = self.case_path(record)
        # An absent shard reads as background, so its absence must be told from emptiness here.
        missing = [name for name in record.stored_blake3 if not (path / name).is_file()]
        if missing:
            raise _corrupt(case_id, f"no file {missing[0]}", f"{len(record.stored_blake3)} stored files")
        arrays = read_arrays(path)
        if arrays.grid != record.grid():
            raise _corrupt(case_id, f"{arrays.grid}", f"{record.grid()}, as its record says")
        return arrays

    def table(self) -> pa.Table:
        """The manifest as it would be written now, straight from the commit records."""
        return from_records(self.records())

    def compact(self) -> Path:
        """Write all commit records to `manifest.parquet`, replacing it at once.

        Raises:
            StorageError: if the disk is full, failed or refused; the earlier manifest stays then.
            CorruptDatasetError: if a record was edited.
        """
        table = self.table()
        with _saving(MANIFEST_FILE):
            write_table(self.manifest_path, table)
        return self.manifest_path

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the dataset for one build; the system releases the lock when the process ends, killed or not.

        A forked child shares the lock of its parent; workers must be started by exec.

        Raises:
            BusyError: if another process holds it.
            StorageError: if the lock file cannot be written.
        """
        with hold(self.root / LOCK, self._busy):
            yield

    def _busy(self, holder: str) -> BusyError:
        return BusyError(
            f"dataset {self.root}",
            got=f"a build in progress ({holder})",
            need="one build at a time",
            do="Wait for it or stop it, then run the command again.",
        )

    def _find(self, case_id: str) -> CaseRecord | None:
        """The record of a case, or None where there is none or a torn one."""
        try:
            return self.record(case_id)
        except UnknownNameError:
            return None

    def _write(self, record: CaseRecord, arrays: Arrays, attempt: str) -> CaseRecord:
        lesions = [lesion.model_dump(mode="json") for lesion in record.lesions]
        stored = write_arrays(self.root / attempt, arrays, {"case_id": record.case_id, "lesions": lesions})
        filled = {
            "shape_zyx": arrays.grid.shape_zyx,
            "spacing_mm_zyx": arrays.grid.spacing_mm_zyx,
            "origin_mm_xyz": arrays.grid.origin_mm_xyz,
            "path": attempt,
            "spec_id": self._spec_id,
            "ct_blake3": stored.ct_blake3,
            "anatomy_blake3": stored.anatomy_blake3,
            "lesions_blake3": stored.lesions_blake3,
            "stored_bytes": stored.stored_bytes,
            "stored_blake3": stored.stored_blake3,
        }
        return record.model_copy(update=filled).sealed()

    def _require_savable(self, record: CaseRecord) -> None:
        commits.record_path(self.root, record.case_id)
        if record.status != "accepted":
            raise _wrong_status(record, "accepted", "Publish a rejected or failed case without arrays.")

    def _write_root_group(self) -> None:
        if not (self.root / ROOT_GROUP).exists():
            attributes = {"factory": {"format_version": FORMAT_VERSION, "cases": CASES, "manifest": MANIFEST_FILE}}
            zarr.create_group(self.root, zarr_format=3, attributes=attributes)


def _require_vacant(root: Path) -> None:
    if not root.exists():
        return
    if not root.is_dir() or any(not entry.name.startswith(TEMPORARY) for entry in root.iterdir()):
        raise LocationError(
            str(root),
            got="a file" if not root.is_dir() else "a directory that holds something else",
            need="a new or empty directory, or a dataset to resume",
            do="Choose another --out.",
        )


@contextmanager
def _storage(root: Path, need: str) -> Iterator[None]:
    """Turn what the system says on making a directory into our errors."""
    try:
        yield
    except (LocationError, StorageError):
        raise
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno in _DENIED:
            raise LocationError(str(root), got=reason, need=need, do="Choose another place or its rights.") from error
        raise StorageError(str(root), got=reason, need=need, do="Free the disk and run the command again.") from error


@contextmanager
def _saving(what: str) -> Iterator[None]:
    """Turn what the system says on writing into a StorageError."""
    try:
        yield
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(
            f"saving {what}",
            got=f"{error.strerror or error} ({errno.errorcode.get(error.errno or 0, 'OSError')})",
            need="a disk with free space that accepts writes",
            do="Free space or restore the disk, then run the same command again: it resumes.",
        ) from error


def _wrong_status(record: CaseRecord, need: str, do: str) -> InvalidValueError:
    return InvalidValueError(f"case {record.case_id}, status", got=repr(record.status), need=need, do=do)


def _corrupt(case_id: str, got: str, need: str) -> CorruptDatasetError:
    return CorruptDatasetError(f"case {case_id}", got=got, need=need, do="Run `factory check` on the dataset.")
