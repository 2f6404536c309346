"""The cache file: what is written stays, for several processes, and other files are left alone."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests.errors import BusyError, FileFormatError, LocationError, StorageError
from prompts.llm.cache import Cache, answer_statement
from prompts.llm.chat import Completion, Usage

COMPLETIONS = st.builds(
    Completion,
    text=st.text(st.characters(exclude_categories=["Cs"])),
    finish=st.sampled_from(["stop", "length", "refusal", "content_filter"]),
    usage=st.builds(Usage, st.integers(0, 2**40), st.integers(0, 2**40), st.integers(0, 2**40)),
    model=st.text(st.characters(exclude_categories=["Cs"])),
    latency_s=st.floats(0.0, 1e6),
)
ANSWER = Completion("x", "stop", Usage(1, 2, 0), "m", 0.5)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.dictionaries(st.text("0123456789abcdef", min_size=1), COMPLETIONS, max_size=5))
def test_what_is_put_is_got_also_after_reopening(tmp_path: Path, answers: dict[str, Completion]) -> None:
    path = tmp_path / "c.sqlite"
    path.unlink(missing_ok=True)

    async def write(cache: Cache) -> None:
        await asyncio.gather(*(cache.write(answer_statement(key, answer)) for key, answer in answers.items()))

    with Cache(path) as cache:
        asyncio.run(write(cache))
        assert {key: cache.get(key) for key in answers} == answers
    with Cache(path) as cache:
        assert {key: cache.get(key) for key in answers} == answers
        assert cache.get("none") is None


def test_the_first_answer_of_a_request_stays(tmp_path: Path) -> None:
    with Cache(tmp_path / "c.sqlite") as cache:
        cache.write_now(answer_statement("k", ANSWER))
        cache.write_now(answer_statement("k", Completion("other", "stop", Usage(), "m", 0.0)))
        assert cache.get("k") == ANSWER


WRITER = """
import sys
from pathlib import Path
from prompts.llm.cache import Cache, answer_statement
from prompts.llm.chat import Completion, Usage
name, path = sys.argv[1], Path(sys.argv[2])
with Cache(path) as cache:
    for number in range(100):
        for key in (f"{name}-{number}", f"shared-{number}"):
            cache.write_now(answer_statement(key, Completion(name, "stop", Usage(), "m", 0.0)))
"""


def test_processes_write_together(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    started = [subprocess.Popen([sys.executable, "-c", WRITER, name, str(path)]) for name in ("a", "b")]
    assert [process.wait(60) for process in started] == [0, 0]
    with Cache(path) as cache:
        assert cache.rows("SELECT count(*) FROM answers") == [(300,)]
        assert cache.rows("PRAGMA integrity_check") == [("ok",)]


def test_one_run_spends_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with Cache(path) as first, Cache(path) as second:
        with first.lock(), pytest.raises(BusyError, match="another run"), second.lock():
            pass
        with second.lock():
            assert second.get("k") is None


def other_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()


def later_version(path: Path) -> None:
    Cache(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "make",
    [
        other_program,
        later_version,
        lambda path: path.write_bytes(b"PAR1 this is no database" * 50),
        lambda path: path.write_text("report,label\n" * 200),
    ],
)
def test_a_foreign_file_is_refused_and_left_as_it_is(tmp_path: Path, make) -> None:
    path = tmp_path / "c.sqlite"
    make(path)
    before = path.read_bytes()
    with pytest.raises(FileFormatError, match=r"c\.sqlite"):
        Cache(path)
    assert path.read_bytes() == before


def test_a_damaged_file_is_an_error_not_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "c.sqlite"
    with Cache(path) as cache:
        cache.write_now(*(answer_statement(f"{number:064}", ANSWER) for number in range(500)))
    data = bytearray(path.read_bytes())
    data[8192:] = b"\xff" * (len(data) - 8192)
    path.write_bytes(data)
    with Cache(path) as cache, pytest.raises(FileFormatError):
        [cache.get(f"{number:064}") for number in range(500)]


def test_places_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(LocationError):
        Cache(tmp_path / "missing" / "c.sqlite")
    with pytest.raises(LocationError):
        Cache(tmp_path)


def test_a_failed_write_reaches_who_waits_for_it(tmp_path: Path) -> None:
    with Cache(tmp_path / "c.sqlite") as cache:
        with pytest.raises(StorageError):
            cache.write_now(("INSERT INTO no_such_table VALUES (1)", ()))
        cache.write_now(answer_statement("k", ANSWER))
        assert cache.get("k") == ANSWER
