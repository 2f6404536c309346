"""nnU-Net in a process of its own: it starts workers, reads its folders from the environment, and prints.

Lines that start with `@progress` come back as calls; all lines go to a log.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from queue import SimpleQueue
from typing import TextIO

from manifests.errors import WorkerError

__all__ = [
    "Progress",
    "command_environment",
    "end_with_parent",
    "environment",
    "machine_variables",
    "run_module",
    "run_together",
    "tell",
]

_KEEP_PAGES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
"""glibc gives each freed array back to the system, which then clears its pages anew: a third of a training step."""

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # MKL's number limits torch, too

Progress = Callable[[str, int, int], object]
"""Called with a stage, what is done of it, and the total."""


def environment(raw: Path, out: Path, workers: int) -> dict[str, str]:
    """Variables of the process: nnU-Net's folders (`preprocessed` and `results` lie in `out`), processes, and `machine_variables`."""
    root = Path(__file__).parent
    return {
        "nnUNet_raw": str(raw.resolve()),
        "nnUNet_preprocessed": str((out / "preprocessed").resolve()),
        "nnUNet_results": str((out / "results").resolve()),
        "nnUNet_extTrainer": str(root / "trainers"),
        "nnUNet_compile": "f",
        "nnUNet_def_n_proc": str(workers),
        **machine_variables(),
        **command_environment(),
    }


def command_environment() -> dict[str, str]:
    """Variables of a process that runs our own modules: it finds them from any directory, and prints at once."""
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def machine_variables(sharing: int = 1) -> dict[str, str]:
    """Variables of a process that computes: a thread for every core that this one may use, and memory that is kept.

    Args:
        sharing: processes that share the cores.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {**dict.fromkeys(_THREADS, str(max(1, allowed // sharing))), **_KEEP_PAGES}


def tell(stage: str, done: int, total: int) -> None:
    """Say from inside the process how far it is."""
    sys.stdout.write(f"@progress {stage} {done} {total}\n")
    sys.stdout.flush()


def end_with_parent() -> None:
    """End this process and its workers when the calling process is gone, however it ended.

    A killed parent cannot tell, but the pipe to our standard input closes with it.
    """

    def wait() -> None:
        while os.read(0, 1):  # not sys.stdin, whose lock would abort the interpreter at its end
            pass
        os.killpg(os.getpgrp(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


def run_module(
    module: str, arguments: Sequence[str], variables: dict[str, str], log: Path, on_progress: Progress
) -> None:
    """Run a Python module to its end; an interruption ends it and its workers.

    Args:
        module: run as `python -m module arguments`.
        arguments: its arguments.
        variables: added to the environment.
        log: where all it prints is added.
        on_progress: gets what the module tells.

    Raises:
        WorkerError: if it fails; the message has its last line.
    """
    run_together(module, [arguments], variables, log, on_progress)


def run_together(
    module: str, arguments: Sequence[Sequence[str]], variables: dict[str, str], log: Path, on_progress: Progress
) -> None:
    """Run a Python module side by side with each of several arguments; an interruption, or one that fails, ends all.

    Args:
        module: as in `run_module`.
        arguments: of each process.
        variables: added to the environment of all.
        log: where all they print is added.
        on_progress: gets the sums over processes of what they tell of a stage.

    Raises:
        WorkerError: if one fails; the message has its last line.
    """
    with log.open("a", encoding="utf-8") as file, ExitStack() as stack:
        processes = [stack.enter_context(_start(module, one, variables)) for one in arguments]
        try:
            failed = _follow(processes, file, on_progress)
        except BaseException:
            _end(processes)
            raise
        if failed:
            _end(processes)
            code, last = failed
            raise WorkerError(f"python -m {module}", got=f"exit {code}: {last[:300]}", need="exit 0", do=f"Read {log}.")


def _start(module: str, arguments: Sequence[str], variables: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=os.environ | variables,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )


def _end(processes: Sequence["subprocess.Popen[str]"]) -> None:
    """End processes that are still there, and their workers."""
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()


def _follow(processes: Sequence["subprocess.Popen[str]"], log: TextIO, on_progress: Progress) -> tuple[int, str] | None:
    """Read what processes print until all have ended, or one has failed: all goes to the log, progress to the caller.

    Returns:
        Exit code and last line of one that failed.
    """
    lines: SimpleQueue[tuple[int, str]] = SimpleQueue()
    for number, process in enumerate(processes):
        threading.Thread(target=_read, args=(number, process, lines), daemon=True).start()
    last, told, left = [""] * len(processes), dict[str, dict[int, int]](), len(processes)
    while left:
        number, line = lines.get()
        if not line:  # the end of what it prints
            left -= 1
            if code := processes[number].wait():
                return code, last[number]
            continue
        log.write(line)
        log.flush()
        last[number] = line.strip() or last[number]
        if line.startswith("@progress "):
            _, stage, done, total = line.split()
            told.setdefault(stage, {})[number] = int(done)
            on_progress(stage, sum(told[stage].values()), int(total) * len(processes))
    return None


def _read(number: int, process: "subprocess.Popen[str]", lines: "SimpleQueue[tuple[int, str]]") -> None:
    assert process.stdout
    for line in process.stdout:
        lines.put((number, line))
    lines.put((number, ""))
