"""What was asked and answered, in one SQLite file: answers by request, attempts, and batches under way.

A row holds the key of a request, never its messages; an answer holds what the model wrote, which
quotes the report. One thread writes, and commits together what waits together: when a write is
acknowledged, it survives a kill of the process and a loss of power.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from manifests.errors import BusyError, FileFormatError, LocationError, StorageError
from manifests.lock import hold
from prompts.llm.chat import Completion, Usage

__all__ = ["CACHE_FORMAT", "Cache", "Statement", "answer_statement"]

CACHE_FORMAT = 1
_APPLICATION_ID = 0x43544C4D
_TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, finish TEXT NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL,
    cached_input INTEGER NOT NULL, model TEXT NOT NULL, latency_s REAL NOT NULL, created TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempts (
    id TEXT PRIMARY KEY, key TEXT NOT NULL, kind TEXT NOT NULL, reported INTEGER NOT NULL, input INTEGER NOT NULL,
    output INTEGER NOT NULL, cached_input INTEGER NOT NULL, usd REAL, created TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    id TEXT PRIMARY KEY, endpoint TEXT NOT NULL, state TEXT NOT NULL, file TEXT, batch TEXT, created TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS batch_items (
    key TEXT PRIMARY KEY, batch TEXT NOT NULL, state TEXT NOT NULL, detail TEXT NOT NULL
) WITHOUT ROWID;
"""
_BUSY_S = 60.0

Statement = tuple[str, Sequence[Any]]
"""SQL with its values."""


def answer_statement(key: str, completion: Completion) -> Statement:
    """Keep an answer; the first one of a request stays."""
    usage = completion.usage
    return (
        "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, datetime('now'))",
        (
            key,
            completion.text,
            completion.finish,
            usage.input,
            usage.output,
            usage.cached_input,
            completion.model,
            completion.latency_s,
        ),
    )


class Cache:
    """An open cache file; made where it is missing.

    Several processes may use one file; `lock` lets only one of them spend.

    Raises:
        LocationError: if the folder is missing or closed.
        FileFormatError: if the file is something else, damaged, or of another version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = self._connect()
        with _explained(path, self._reader):
            _prepare(self._reader, path)
        self._writer = self._connect()
        self._queue: queue.SimpleQueue[tuple[Sequence[Statement], Future[None]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write_all, name="cache writer", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Cache":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def get(self, key: str) -> Completion | None:
        """Return the answer of a request, if there is one."""
        rows = self.rows(
            "SELECT text, finish, input, output, cached_input, model, latency_s FROM answers WHERE key = ?", key
        )
        if not rows:
            return None
        text, finish, used, written, cached, model, latency = rows[0]
        return Completion(text, finish, Usage(used, written, cached), model, latency)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        """Read rows."""
        with _explained(self.path):
            return self._reader.execute(sql, values).fetchall()

    async def write(self, *statements: Statement) -> None:
        """Write statements in one transaction; they are on the disk when this returns.

        Raises:
            StorageError: if the disk is full or failed.
            FileFormatError: if the file is damaged.
        """
        # a cancelled caller must not cancel what is queued, so the future is shielded
        await asyncio.shield(asyncio.wrap_future(self._enqueue(statements)))

    def write_now(self, *statements: Statement) -> None:
        """Write as `write` does, from code that is not asynchronous."""
        self._enqueue(statements).result()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the file for one run that spends money; the system releases it when the process ends, killed or not.

        Raises:
            BusyError: if another process holds it.
            StorageError: if the lock file cannot be written.
        """
        with hold(self.path.with_name(f"{self.path.name}.lock"), self._busy):
            yield

    def _busy(self, holder: str) -> BusyError:
        return BusyError(
            f"cache {self.path}",
            got=f"another run that uses it ({holder})",
            need="one paying run at a time",
            do="Wait for it or stop it, then run the command again; or give another --cache.",
        )

    def close(self) -> None:
        """Finish what is queued and close the file."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        self._writer.close()
        self._reader.close()

    def _connect(self) -> sqlite3.Connection:
        if not self.path.parent.is_dir():
            raise LocationError(
                f"cache {self.path}", got="no such folder", need="a folder to write to", do="Choose another --cache."
            )
        try:
            connection = sqlite3.connect(
                self.path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False, cached_statements=64
            )
        except sqlite3.OperationalError as error:
            raise LocationError(
                f"cache {self.path}", got=str(error), need="a file that can be written", do="Choose another --cache."
            ) from error
        with _explained(self.path, connection):
            connection.execute("PRAGMA synchronous = FULL")
        return connection

    def _enqueue(self, statements: Sequence[Statement]) -> "Future[None]":
        done: Future[None] = Future()
        self._queue.put((statements, done))
        return done

    def _write_all(self) -> None:
        """Commit what is queued until the end, all that waits in one transaction."""
        waiting = True
        while waiting:
            taken = [self._queue.get()]
            while not self._queue.empty():
                taken.append(self._queue.get())
            jobs = [item for item in taken if item is not None]
            waiting = len(jobs) == len(taken)
            self._commit(jobs)

    def _commit(self, jobs: Sequence[tuple[Sequence[Statement], "Future[None]"]]) -> None:
        try:
            with _explained(self.path), _transaction(self._writer):
                for statements, _ in jobs:
                    for sql, values in statements:
                        self._writer.execute(sql, values)
        except Exception as error:  # whoever waits for the write has to learn of it, whatever it is
            for _, done in jobs:
                done.set_exception(error)
            return
        for _, done in jobs:
            done.set_result(None)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file; refuse a file of somebody else."""
    found = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if (found, version) == (_APPLICATION_ID, CACHE_FORMAT):
        return
    if found or version or tables:
        raise FileFormatError(
            f"cache {path}",
            got=f"version {version} of it" if found == _APPLICATION_ID else "another program's SQLite file",
            need=f"a cache of version {CACHE_FORMAT}",
            do="Choose another --cache, or move this file away.",
        )
    connection.execute("PRAGMA journal_mode = WAL")
    with _transaction(connection):
        for statement in _TABLES.split(";"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {CACHE_FORMAT}")


@contextmanager
def _explained(path: Path, opening: sqlite3.Connection | None = None) -> Iterator[None]:
    """Put SQLite's errors into the tree: what the disk does is one thing, what the file holds another.

    A connection that is `opening` is closed on any error.
    """
    try:
        with contextlib.ExitStack() as stack:
            if opening:
                stack.callback(opening.close)
            yield
            stack.pop_all()
    except sqlite3.OperationalError as error:
        raise StorageError(
            f"cache {path}",
            got=str(error),
            need="a disk that takes writes",
            do="Free space and run again; nothing paid is lost.",
        ) from error
    except sqlite3.DatabaseError as error:
        raise FileFormatError(
            f"cache {path}", got=str(error), need="an intact SQLite file", do="Restore it, or choose another --cache."
        ) from error
