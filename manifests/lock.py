"""A lock file: one process at a time holds it, and the system releases it when that process ends, killed or not.

The lock is the system's (flock), so a file that is left behind locks nothing. A forked child shares the lock of its
parent; workers must be started by exec.
"""

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from manifests.errors import BusyError, StorageError

__all__ = ["hold"]


@contextmanager
def hold(path: Path, busy: Callable[[str], BusyError]) -> Iterator[None]:
    """Hold a lock file, made where it is missing; `busy` makes the error from who holds it ("process 7 on host").

    The content of the file is for people only.

    Raises:
        BusyError: if another process, or another holder in this one, has it.
        StorageError: if the file cannot be written.
    """
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy(os.pread(descriptor, 200, 0).decode(errors="replace") or "another process") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StorageError(
            f"lock {path}",
            got=error.strerror or str(error),
            need="a file that can be written",
            do="Check the rights of its folder and the disk, then run the same command again.",
        ) from error
