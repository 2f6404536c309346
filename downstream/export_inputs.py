"""What every export refuses before it writes: values out of range, no case, no package."""

from collections.abc import Iterable
from importlib.util import find_spec

from downstream.splits import k_folds
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.errors import InvalidValueError, MissingDependencyError

__all__ = ["accepted", "check_values", "require_package"]


def check_values(checks: Iterable[tuple[str, str, bool, str]]) -> None:
    """Refuse the first value that does not pass: (option, value, whether it is good, what is needed).

    Raises:
        InvalidValueError: naming it.
    """
    for what, got, good, need in checks:
        if not good:
            raise InvalidValueError(what, got=repr(got), need=need, do="Choose another.")


def accepted(dataset: Dataset, workers: int | None, folds: int | None = None) -> tuple[CaseRecord, ...]:
    """The cases to export, and a check of the number of threads and of folds.

    Raises:
        InvalidValueError: if there is no case, not even one thread, or no such number of folds without leakage.
    """
    if workers is not None and workers < 1:
        raise InvalidValueError("--workers", got=repr(workers), need="1 or more", do="Choose another.")
    records = tuple(dataset.accepted())
    if not records:
        raise InvalidValueError(
            str(dataset.root), got="no accepted case", need="at least one", do="Build it first: factory build."
        )
    if folds:
        k_folds(records, {}, folds)
    return records


def require_package(module: str, extra: str, why: str) -> None:
    """Make sure that an optional package is there.

    Raises:
        MissingDependencyError: saying what to install.
    """
    if find_spec(module) is None:
        raise MissingDependencyError(
            module, got="no such package", need=f"it {why}", do=f"pip install 'ct-factory[{extra}]'"
        )
