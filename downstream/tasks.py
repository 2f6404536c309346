"""Processes to be run, and who runs them: one after the other here, or whoever the root command hands down.

`downstream` knows no Ray: the root command hands a `Spread` down, which calls a function with many items side by side. A task that
fails does not stop the others.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from downstream.nnunet_process import Progress, run_module
from manifests.errors import WorkerError

__all__ = ["Ended", "Executor", "Spread", "Task", "in_turn", "run_task", "side_by_side"]


@dataclass(frozen=True, slots=True)
class Task:
    """A Python module to run in a process of its own: `python -m module arguments`, with more variables, logged."""

    name: str
    module: str
    arguments: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    log: Path


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task ended; no error is success."""

    task: Task
    error: str = ""


Executor = Callable[[Sequence[Task], Progress], Iterator[Ended]]
"""Runs tasks and yields each as it ends."""


Spread = Callable[[Callable[[Task], Ended], Sequence[Task], int, bool], Iterator[tuple[Task, Any]]]
"""Calls a function with every task, so many at once, each with a GPU of its own or without; yields what each call returned or raised."""


def run_task(task: Task, on_progress: Progress) -> Ended:
    """Run one task to its end."""
    try:
        run_module(task.module, task.arguments, dict(task.variables), task.log, on_progress)
    except WorkerError as error:
        return Ended(task, str(error))
    return Ended(task)


def in_turn(tasks: Sequence[Task], on_progress: Progress) -> Iterator[Ended]:
    """Run tasks one after the other in this order."""
    for task in tasks:
        yield run_task(task, on_progress)


def side_by_side(spread: Spread, parallel: int, *, gpus: bool) -> Executor:
    """Make an executor of so many tasks at once, each with a GPU of its own or without."""

    def execute(tasks: Sequence[Task], on_progress: Progress) -> Iterator[Ended]:
        for done, (task, result) in enumerate(spread(_quietly, tasks, parallel, gpus), start=1):
            on_progress("trainings", done, len(tasks))
            yield result if isinstance(result, Ended) else Ended(task, f"{type(result).__name__}: {result}"[:500])

    return execute


def _quietly(task: Task) -> Ended:
    return run_task(task, lambda *_: None)
