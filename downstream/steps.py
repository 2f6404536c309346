"""Steps of a long job in one folder: which are finished, and from what; one process at a time works there.

A step names what it was made from by a key. Made from the same it is kept, or goes on where it stood; made from something else,
what it left is removed first.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from downstream.ledger import writing
from manifests.durable import replace
from manifests.errors import BusyError

__all__ = ["Steps", "alone"]


class Steps:
    """Steps of a folder.

    Args:
        out: the folder.
        products: by step, names in `out` of the folders that it and those after it make.
    """

    def __init__(self, out: Path, products: Mapping[str, Sequence[str]]) -> None:
        self.out, self.folder, self.products = out, out / "steps", products

    def claim(self, step: str, key: str, products: Sequence[Path]) -> None:
        """Begin or go on with a step; what an earlier one left from something else is removed first."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            begun = self.folder / f"{step}.begun"
            if not begun.is_file() or begun.read_text(encoding="utf-8") != key:
                for path in products:
                    shutil.rmtree(path, ignore_errors=True)
                (self.folder / f"{step}.done").unlink(missing_ok=True)
                replace(begun, key.encode())

    def done(self, step: str, key: str) -> bool:
        """Whether a step is finished from just this; if not, its place is made ready."""
        places = [self.out / name for name in self.products[step]]
        self.claim(step, key, places)
        with writing(self.folder):
            for place in places:
                place.mkdir(exist_ok=True)
        done = self.folder / f"{step}.done"
        return done.is_file() and done.read_text(encoding="utf-8") == key

    def finish(self, step: str, key: str) -> None:
        """Note that a step is finished."""
        with writing(self.folder):
            replace(self.folder / f"{step}.done", key.encode())


@contextmanager
def alone(out: Path, what: str) -> Iterator[None]:
    """Hold a work folder; the system lets go of it when this process ends, however it ends.

    Args:
        out: the folder, which exists.
        what: who works in it, for the message: "a transfer".

    Raises:
        BusyError: if another process holds it.
    """
    with writing(out):
        descriptor = os.open(out / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise BusyError(str(out), got=f"{what} at work", need="one at a time", do="Wait for it or stop it.") from error
    finally:
        os.close(descriptor)
