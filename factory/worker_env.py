"""What worker processes live in: their environment variables and a folder for sockets and logs."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import manifests

__all__ = ["scratch_folder", "worker_environment"]

_LIBRARIES = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "VECLIB")
_PREFIX = "ct-ray-"


def worker_environment() -> dict[str, str]:
    """One thread per worker, and our packages importable from any directory."""
    ours = str(Path(manifests.__file__).resolve().parents[1])
    paths = [ours, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    threads = {f"{library}_NUM_THREADS": "1" for library in _LIBRARIES}
    return threads | {"BLOSC_NTHREADS": "1", "ZARR_THREADING__MAX_WORKERS": "1", "PYTHONPATH": os.pathsep.join(paths)}


@contextmanager
def scratch_folder() -> Iterator[str]:
    """A folder with a short path (names of sockets are limited), removed at the end.

    Folders that killed processes of this user left behind are removed first.
    """
    base = Path(tempfile.gettempdir())
    for left in base.glob(f"{_PREFIX}*"):
        _remove_orphan(left)
    folder = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_orphan(folder: Path) -> None:
    owner = folder.name.removeprefix(_PREFIX).split("-")[0]
    if not owner.isdigit() or _is_alive(int(owner)):
        return
    try:
        mine = folder.lstat().st_uid == os.getuid() and not folder.is_symlink()
    except OSError:  # another build removed it just now
        return
    if mine:
        shutil.rmtree(folder, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
