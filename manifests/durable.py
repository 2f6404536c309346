"""Files that survive a crash: prepared under a hidden name, flushed, then given their name.

`write_once` publishes under a name that must be free: the first writer wins and no reader sees
half a file, because the name is a hard link to a finished one. Some file systems (exFAT, several
FUSE and SMB mounts) have no hard links; there the name is claimed exclusively and filled in place,
so a crash can leave a torn file, which readers must be able to tell.
"""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["TEMPORARY", "flush", "replace", "temporary_beside", "write_once"]

TEMPORARY = ".tmp-"
"""Prefix of files in the making; whoever finds one without a running build may delete it."""

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def write_once(path: Path, data: bytes) -> bool:
    """Write a file durably under a name that is free; False if the name is taken.

    Raises:
        OSError: whatever the file system says.
    """
    with _prepared(path, data) as temporary:
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            return _claim(path, data)
    flush(path.parent)
    return True


def replace(path: Path, data: bytes) -> None:
    """Write a file durably, in place of an earlier one if there is any.

    Raises:
        OSError: whatever the file system says; an earlier file is untouched then.
    """
    with _prepared(path, data) as temporary:
        temporary.replace(path)
    flush(path.parent)


@contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A fresh hidden name in the directory of `path`; what stands there at the end is removed."""
    temporary = path.with_name(f"{TEMPORARY}{path.stem}-{uuid.uuid4().hex}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Flush the bytes of a file, or the names that a directory holds, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _prepared(path: Path, data: bytes) -> Iterator[Path]:
    with temporary_beside(path) as temporary:
        _fill(temporary, data)
        yield temporary


def _claim(path: Path, data: bytes) -> bool:
    """Claim a name and fill it; the writer whose bytes stand at the end has won."""
    try:
        _fill(path, data)
    except FileExistsError:
        return False
    flush(path.parent)
    return path.read_bytes() == data


def _fill(path: Path, data: bytes) -> None:
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
