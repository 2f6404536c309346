"""Processes side by side: their progress is summed, what they print is logged, one that fails ends the others."""

import os
import subprocess
import sys
import time

import pytest

from downstream.nnunet_process import command_environment, environment, machine_variables, run_together
from manifests.errors import WorkerError

CHILD = """
import os, sys, time
from pathlib import Path
from downstream.nnunet_process import tell
name, other = sys.argv[1], Path(sys.argv[2])
if name == "waits":
    other.with_suffix(".partial").write_text(str(os.getpid()))
    other.with_suffix(".partial").rename(other)
    tell("wait", 0, 1)
    time.sleep(120)
while name == "fails" and not other.exists():
    time.sleep(0.01)
if name == "fails":
    sys.exit("no such luck")
for done in range(3):
    tell("train", done, 2)
print("said", name)
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the child with each of these names; its log is `log.txt`, one that waits writes `pid`."""
    (tmp_path / "child.py").write_text(CHILD)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)

    def start(*names, on_progress=lambda *_: None):
        arguments = [[name, str(tmp_path / "pid")] for name in names]
        run_together("child", arguments, command_environment(), tmp_path / "log.txt", on_progress)

    return start


def test_what_processes_tell_is_summed(run, tmp_path):
    told = []
    run("one", "other", on_progress=lambda *one: told.append(one))
    assert len(told) == 6
    assert told[-1] == ("train", 4, 4)
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told), "it never goes back"
    assert {"said one", "said other"} <= set((tmp_path / "log.txt").read_text().splitlines())


def test_one_that_fails_ends_the_others(run, tmp_path):
    begun = time.monotonic()
    with pytest.raises(WorkerError, match="exit 1: no such luck"):
        run("waits", "fails")
    assert time.monotonic() - begun < 60, "the other would have taken two minutes"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_an_interruption_ends_all(run, tmp_path):
    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("waits", on_progress=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_process_that_computes_has_all_cores_or_its_share(tmp_path):
    command = [sys.executable, "-c", "import torch; print(torch.get_num_threads())"]
    inherited = os.environ | {"MKL_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # as the command line sets them
    printed = subprocess.check_output(command, env=inherited | environment(tmp_path, tmp_path, 1), text=True)
    cores = len(os.sched_getaffinity(0))
    assert int(printed) == cores
    assert machine_variables(sharing=cores)["OMP_NUM_THREADS"] == "1"
    assert machine_variables(sharing=10 * cores)["OMP_NUM_THREADS"] == "1", "there is no half a thread"
