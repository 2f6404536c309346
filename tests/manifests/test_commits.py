import errno
import logging
import multiprocessing
import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings

from manifests import commits
from manifests.durable import replace, write_once
from manifests.errors import CorruptDatasetError, InvalidValueError, UnknownNameError
from manifests.identity import canonical_json
from manifests.testing import example_record, records


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "commits").mkdir()
    return tmp_path


@pytest.fixture(params=["links", "no links"])
def link_support(request, monkeypatch) -> str:
    """Both kinds of file system; the second refuses hard links as exFAT does."""
    if request.param == "no links":

        def refuse(*_):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(Path, "hardlink_to", refuse)
    return request.param


@given(records())
@settings(max_examples=50, deadline=None)
def test_what_is_published_is_read(tmp_path_factory, record):
    root = tmp_path_factory.mktemp("root")
    (root / "commits").mkdir()
    assert commits.publish(root, record)
    assert commits.read(root, record.case_id) == record.sealed()
    assert commits.read_all(root) == [record.sealed()]


def test_the_first_writer_wins(root, link_support):
    assert commits.publish(root, example_record())
    assert not commits.publish(root, example_record(index=1, case_id=example_record().case_id))
    assert commits.read(root, example_record().case_id).index == 0
    assert [path.name for path in (root / "commits").iterdir()] == [f"{example_record().case_id}.json"]


def _race(root: Path, start: float, wins: "multiprocessing.Queue") -> None:
    time.sleep(max(0.0, start - time.time()))
    wins.put(sum(commits.publish(root, example_record(index)) for index in range(60)))


def test_of_many_writers_one_wins(root):
    context = multiprocessing.get_context("forkserver")
    wins = context.Queue()
    writers = [context.Process(target=_race, args=(root, time.time() + 3, wins)) for _ in range(3)]
    for writer in writers:
        writer.start()
    assert sum(wins.get(timeout=60) for _ in writers) == 60
    for writer in writers:
        writer.join()
    assert len(commits.read_all(root)) == 60


@pytest.mark.parametrize("length", [0, 1, 100, -2])
def test_a_torn_record_never_counts(root, link_support, length, caplog):
    commits.publish(root, example_record())
    path = commits.record_path(root, example_record().case_id)
    path.write_bytes(path.read_bytes()[:length])
    with caplog.at_level(logging.WARNING):
        assert commits.read_all(root) == []
    assert "does not count" in caplog.text
    with pytest.raises(UnknownNameError):
        commits.read(root, example_record().case_id)
    assert commits.publish(root, example_record())
    assert commits.read_all(root) == [example_record().sealed()]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"index":0', '"index":1'),
        ('"index":0', '"index":"first"'),
        ('"index":0', '"index":0,"colour":"red"'),
        ('"record_sha256":"', '"record_sha256":"0'),
        ('"seconds":{', '"seconds":{"x":1.0,'),
    ],
)
def test_an_edited_record_is_an_error(root, old, new):
    commits.publish(root, example_record())
    path = commits.record_path(root, example_record().case_id)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    for read in (lambda: commits.read(root, example_record().case_id), lambda: commits.read_all(root)):
        with pytest.raises(CorruptDatasetError, match=path.name):
            read()
    assert not commits.publish(root, example_record())


def test_a_renamed_record_is_an_error(root):
    commits.publish(root, example_record())
    commits.record_path(root, example_record().case_id).rename(commits.record_path(root, "other"))
    with pytest.raises(CorruptDatasetError, match=example_record().case_id):
        commits.read(root, "other")


def test_reformatting_is_no_edit(root):
    commits.publish(root, example_record())
    path = commits.record_path(root, example_record().case_id)
    path.write_text(example_record().sealed().model_dump_json(indent=2))
    assert commits.read_all(root) == [example_record().sealed()]


def test_a_number_without_value_is_refused(root):
    with pytest.raises(InvalidValueError, match="finite"):
        commits.publish(root, example_record().model_copy(update={"seconds": {"ct": float("nan")}}))
    assert list((root / "commits").iterdir()) == []


def test_unfinished_files_do_not_count(root):
    (root / "commits" / ".tmp-c0-1").write_text("{")
    assert commits.read_all(root) == []


def test_a_failed_write_publishes_nothing(root, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        commits.publish(root, example_record())
    assert list((root / "commits").iterdir()) == []


def test_reading_is_fast(root):
    """10,000 records take 2 s on an idle core; a busy one may take four times as long."""
    data = canonical_json(example_record().sealed().model_dump())
    for index in range(500):
        record = example_record(index).sealed()
        text = data.replace(example_record().case_id, record.case_id).replace('"index":0', f'"index":{index}')
        text = text.replace(example_record().sealed().record_sha256, record.record_sha256)
        commits.record_path(root, record.case_id).write_text(text)
    start = time.process_time()
    assert len(commits.read_all(root)) == 500
    assert time.process_time() - start < 4 * 2 * 500 / 10_000


def test_write_once_and_replace(root, link_support):
    assert write_once(root / "a", b"1")
    assert not write_once(root / "a", b"2")
    assert (root / "a").read_bytes() == b"1"
    replace(root / "a", b"3")
    assert (root / "a").read_bytes() == b"3"
    assert {path.name for path in root.iterdir()} == {"a", "commits"}
