import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from manifests import commits
from manifests.dataset import Dataset, DatasetSpec
from manifests.errors import (
    BusyError,
    CorruptDatasetError,
    FileFormatError,
    InvalidValueError,
    LocationError,
    SpecMismatchError,
    StorageError,
    UnknownNameError,
)
from manifests.testing import DatasetSuite, example_arrays, example_record

SPEC = DatasetSpec(kind="synthetic", mask_model={"name": "example", "version": "1"}, run_seed=7)
BAD_IDS = ["../x", "a/b", "/etc/passwd", "", ".hidden", "a\0b", "-x", "x" * 129]


def contents(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


@pytest.fixture
def empty(tmp_path) -> Dataset:
    return Dataset.create(tmp_path / "ds", SPEC)


class TestSuite(DatasetSuite):
    @pytest.fixture
    def dataset(self, empty) -> Dataset:
        for index in range(3):
            empty.save(example_record(index), example_arrays(index))
        empty.publish(example_record(3, status="rejected"))
        empty.compact()
        return empty


def test_saved_case_reads_back(empty):
    arrays = example_arrays()
    saved = empty.save(example_record(), arrays)
    assert empty.record(saved.case_id) == saved
    read = empty.read(saved.case_id)
    assert (read.ct == arrays.ct).all()
    assert (read.anatomy == arrays.anatomy).all()
    assert (read.lesions == arrays.lesions).all()
    assert read.grid == arrays.grid


def test_content_does_not_depend_on_the_attempt(tmp_path):
    first, second = (Dataset.create(tmp_path / name, SPEC).save(example_record(), example_arrays()) for name in "ab")
    assert first.path != second.path
    changed = {"path": None, "record_sha256": None}
    assert first.model_copy(update=changed) == second.model_copy(update=changed)


def test_second_save_keeps_the_first_and_leaves_nothing(empty):
    first = empty.save(example_record(), example_arrays())
    before = contents(empty.root)
    assert empty.save(example_record(), example_arrays(1)) == first
    assert contents(empty.root) == before


def test_lost_race_leaves_nothing(empty, monkeypatch):
    first = empty.save(example_record(), example_arrays())
    before = contents(empty.root)
    monkeypatch.setattr(Dataset, "_find", lambda *_: None)  # as if the other worker published meanwhile
    assert empty.save(example_record(), example_arrays(1)) == first
    assert contents(empty.root) == before


def test_order_and_selection(empty):
    for index in (2, 0, 1):
        empty.save(example_record(index), example_arrays(index))
    assert empty.publish(example_record(1, case_id="refused", status="rejected"))
    assert not empty.publish(example_record(1, case_id="refused", status="rejected"))
    assert [record.index for record in empty.accepted()] == [0, 1, 2]
    assert [record.index for record in empty.records()] == [0, 1, 1, 2]


@pytest.mark.parametrize("case_id", BAD_IDS)
def test_a_case_id_is_never_a_path(empty, case_id):
    before = contents(empty.root)
    calls = [
        lambda: empty.save(example_record(case_id="x").model_copy(update={"case_id": case_id}), example_arrays()),
        lambda: empty.publish(example_record(status="failed").model_copy(update={"case_id": case_id})),
        lambda: empty.record(case_id),
        lambda: empty.read(case_id),
        lambda: empty.case_path(example_record().model_copy(update={"case_id": case_id})),
    ]
    for call in calls:
        with pytest.raises(InvalidValueError, match="case id"):
            call()
    assert contents(empty.root) == before


@pytest.mark.parametrize("path", ["../../secret", "cases/other/a.ome.zarr", "cases/c/../../x", "/cases/c/a", None])
def test_a_record_cannot_point_elsewhere(empty, path):
    with pytest.raises(InvalidValueError, match="path"):
        empty.case_path(example_record(case_id="c").model_copy(update={"path": path}))


def test_status_decides_how_a_case_is_stored(empty):
    with pytest.raises(InvalidValueError, match="status"):
        empty.save(example_record(status="rejected"), example_arrays())
    with pytest.raises(InvalidValueError, match="status"):
        empty.publish(example_record())


def test_reading_what_was_not_delivered(empty):
    empty.publish(example_record(case_id="refused", status="rejected"))
    with pytest.raises(UnknownNameError, match="nobody"):
        empty.read("nobody")
    with pytest.raises(InvalidValueError, match="accepted"):
        empty.read("refused")


def test_absent_shard_is_not_read_as_background(empty):
    saved = empty.save(example_record(), example_arrays())
    (empty.case_path(saved) / "0/c/0/0/0").unlink()
    with pytest.raises(CorruptDatasetError, match="0/c/0/0/0"):
        empty.read(saved.case_id)


# --- creating and opening


def test_resume_needs_the_same_spec(empty):
    other = SPEC.model_copy(update={"run_seed": 8, "mask_model": {"name": "example", "version": "2"}})
    before = contents(empty.root)
    with pytest.raises(SpecMismatchError) as caught:
        Dataset.create(empty.root, other)
    assert caught.value.got == "mask_model.version = '2'; run_seed = 8"
    assert caught.value.need.startswith("mask_model.version = '1'; run_seed = 7")
    assert contents(empty.root) == before


def test_create_finishes_what_a_crash_left(empty):
    for name in ("commits", "cases", "runs"):
        (empty.root / name).rmdir()
    (empty.root / "zarr.json").unlink()
    Dataset.create(empty.root, SPEC).save(example_record(), example_arrays())
    assert len(empty.records()) == 1


def test_create_ignores_its_own_unfinished_file(tmp_path):
    (tmp_path / ".tmp-dataset-1").touch()
    assert Dataset.create(tmp_path, SPEC).records() == []


def test_foreign_directory_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(LocationError, match="something else"):
        Dataset.create(tmp_path, SPEC)
    with pytest.raises(LocationError, match="a file"):
        Dataset.create(tmp_path / "thesis.tex", SPEC)
    assert contents(tmp_path) == {"thesis.tex"}


def test_open_needs_a_dataset(tmp_path):
    with pytest.raises(LocationError, match=r"dataset\.json"):
        Dataset.open(tmp_path)
    with pytest.raises(LocationError, match=r"dataset\.json"):
        Dataset.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('"run_seed": 7', '"run_seed": 8', CorruptDatasetError),
        ('"format_version": 1', '"format_version": 2', FileFormatError),
        ('"kind": "synthetic"', '"kind": "drawn"', FileFormatError),
        ("{", "", FileFormatError),
        ('"spec_id"', '"spec"', FileFormatError),
    ],
)
def test_spoilt_spec_is_refused(empty, old, new, error):
    path = empty.root / "dataset.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(error, match=r"dataset\.json"):
        Dataset.open(empty.root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_place(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(LocationError, match="Permission denied"):
        Dataset.create(tmp_path / "ds", SPEC)


# --- storage failures


@contextmanager
def file_size_limit(size: int):
    """A disk that takes no more than `size` bytes a file: the kernel's own error, without root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 100, 2000])
def test_full_disk_leaves_the_dataset_resumable(empty, size):
    before = contents(empty.root)
    with file_size_limit(size), pytest.raises(StorageError, match="File too large") as caught:
        empty.save(example_record(), example_arrays())
    assert caught.value.exit_code == 2
    assert contents(empty.root) - before <= {"cases/" + example_record().case_id}
    assert empty.records() == []
    empty.save(example_record(), example_arrays())
    empty.compact()
    assert len(empty.accepted()) == 1


@pytest.mark.parametrize("error", [28, 30, 13, 5])
def test_every_refusal_of_the_system_is_a_storage_error(empty, monkeypatch, error):
    def refuse(*_args, **_keywords):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(commits, "write_once", refuse)
    with pytest.raises(StorageError, match=os.strerror(error)):
        empty.save(example_record(), example_arrays())
    with pytest.raises(StorageError, match=os.strerror(error)):
        empty.publish(example_record(status="failed"))
    assert empty.records() == []
    assert list((empty.root / "cases").glob("*/*")) == []


def test_failed_compaction_keeps_the_manifest(empty):
    empty.publish(example_record(status="failed"))
    before = empty.compact().read_bytes()
    empty.publish(example_record(1, status="failed"))
    with file_size_limit(100), pytest.raises(StorageError):
        empty.compact()
    assert empty.manifest_path.read_bytes() == before


# --- the lock


def test_one_build_at_a_time(empty):
    with empty.lock(), pytest.raises(BusyError, match=f"process {os.getpid()}"), empty.lock():
        pass
    with empty.lock():
        pass


def test_killed_process_releases_the_lock(empty):
    code = "import sys, time\nfrom manifests.dataset import Dataset\nwith Dataset.open(sys.argv[1]).lock():\n print('held', flush=True)\n time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(empty.root)], stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(BusyError, match=f"process {holder.pid}"), empty.lock():
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with empty.lock():
        pass
