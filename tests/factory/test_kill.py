"""SIGKILL of the driver, of a worker and of a node at random moments: nothing lost, nothing twice."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.testing import toy_prompts
from manifests.case import CaseRecord
from manifests.dataset import Dataset
from manifests.validate import check, collect_garbage
from prompts.table import write_prompts

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
N = 10
_OUTCOME = re.compile(r"c[0-9a-f]{20} \S+:(\d+)")  # a line of `toy_driver.py`: case and worker


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kill") / "prompts.parquet"
    write_prompts(path, toy_prompts([50, 51, 52]))
    return path


@pytest.fixture(scope="session")
def undisturbed(manifest: Path) -> Dataset:
    """The dataset that nobody interrupted."""
    out = manifest.parent / "undisturbed"
    subprocess.run(driver(out, manifest), check=True, capture_output=True, cwd=manifest.parent, env=ENVIRONMENT)
    return Dataset.open(out)


def driver(out: Path, manifest: Path, workers: int = 1, *address: str) -> list[str]:
    return [sys.executable, str(HERE / "toy_driver.py"), str(out), str(manifest), str(N), str(workers), *address]


def content(record: CaseRecord) -> tuple[object, ...]:
    return (record.status, record.reasons, record.ct_blake3, record.anatomy_blake3, record.lesions_blake3)


def require_equal(out: Path, undisturbed: Dataset) -> None:
    """Nothing lost, nothing twice, every array the same, and no trace after the garbage is collected."""
    dataset = Dataset.open(out)
    records = dataset.records()
    assert {one.case_id: content(one) for one in records} == {
        one.case_id: content(one) for one in undisturbed.records()
    }
    assert Counter(one.index for one in dataset.accepted()) == Counter(range(N))
    collect_garbage(dataset)
    assert check(dataset) == []


def kill_after(command: list[str], lines: int, seconds: float, cwd: Path) -> bool:
    """Start a driver, kill it so long after so many lines of its output; False if it was done before."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=cwd, env=ENVIRONMENT
    )
    assert process.stdout
    for _ in range(lines):
        process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.stdout.close()
    return process.wait() == -signal.SIGKILL


def finish(command: list[str], cwd: Path) -> list[str]:
    """Run a driver to its end; the ids of the cases it made."""
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=cwd, env=ENVIRONMENT)
    return [line.split()[0] for line in done.stdout.splitlines()[1:]]


def drill_driver(out: Path, manifest: Path, undisturbed: Dataset, *, seed: int, kills: int, workers: int) -> None:
    moments = random.Random(seed)
    command = driver(out, manifest, workers)
    killed = 0
    for _ in range(kills):  # before it works, or while it makes one of its first cases
        killed += kill_after(command, moments.randint(1, 3), moments.uniform(0.0, 0.4), out.parent)
    assert killed, "no kill hit a working driver"
    before = {path.stem for path in (out / "commits").glob("*.json")}
    made = finish(command, out.parent)
    assert not before & set(made), "a committed case was made again"
    require_equal(out, undisturbed)


def test_the_driver_is_killed_inline(tmp_path: Path, manifest: Path, undisturbed: Dataset) -> None:
    drill_driver(tmp_path / "d", manifest, undisturbed, seed=1, kills=4, workers=1)


@pytest.mark.ray
def test_the_driver_is_killed_with_ray_workers(tmp_path: Path, manifest: Path, undisturbed: Dataset) -> None:
    drill_driver(tmp_path / "d", manifest, undisturbed, seed=2, kills=1, workers=2)


@pytest.mark.ray
def test_workers_are_killed(tmp_path: Path, manifest: Path, undisturbed: Dataset) -> None:
    drill_workers(tmp_path / "d", manifest, undisturbed, seed=3, kills=2)


def drill_workers(out: Path, manifest: Path, undisturbed: Dataset, *, seed: int, kills: int) -> None:
    """Kill the worker of an outcome a moment after it, while it makes its next case."""
    moments = random.Random(seed)
    process = subprocess.Popen(
        driver(out, manifest, 2), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=ENVIRONMENT
    )
    assert process.stdout
    process.stdout.readline()
    victims, killed = set(moments.sample(range(N - 4), kills)), set[int]()
    outcomes = filter(None, (_OUTCOME.fullmatch(line.strip()) for line in process.stdout))  # Ray prints there, too
    for number, outcome in enumerate(outcomes):
        if number in victims and (pid := int(outcome[1])) not in killed:  # its last outcomes may come after its end
            time.sleep(moments.uniform(0.0, 0.1))
            assert pid != process.pid
            os.kill(pid, signal.SIGKILL)
            killed.add(pid)
    process.stdout.close()
    assert killed
    assert process.wait() == 0
    require_equal(out, undisturbed)


@pytest.fixture
def node_drill(tmp_path: Path, manifest: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with a Ray cluster of its own, whose nodes it kills on command."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "node_drill.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=tmp_path,
        env=ENVIRONMENT,
    )
    yield process
    assert process.stdin
    assert process.stdout
    process.stdin.close()
    process.stdout.close()
    process.wait(timeout=60)


def tell(process: subprocess.Popen[str], word: str) -> str:
    assert process.stdin
    assert process.stdout
    process.stdin.write(word + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


@pytest.mark.ray
def test_a_node_is_killed_and_comes_back(
    tmp_path: Path, manifest: Path, undisturbed: Dataset, node_drill: subprocess.Popen[str]
) -> None:
    drill_nodes(tmp_path / "d", manifest, undisturbed, node_drill, kills=1)


def drill_nodes(out: Path, manifest: Path, undisturbed: Dataset, cluster: subprocess.Popen[str], *, kills: int) -> None:
    address = tell(cluster, "address")
    complaints = out.with_name("stderr.txt")
    with complaints.open("w") as stderr:
        process = subprocess.Popen(
            driver(out, manifest, 2, address), stdout=subprocess.PIPE, stderr=stderr, text=True, env=ENVIRONMENT
        )
    assert process.stdout
    process.stdout.readline()
    for number, _ in enumerate(process.stdout):
        if number % 3 == 1 and number // 3 < kills:
            assert tell(cluster, "kill") == "killed"
            assert tell(cluster, "add") == "added"
    process.stdout.close()
    assert process.wait() == 0, complaints.read_text()
    require_equal(out, undisturbed)
    assert {one.attempt for one in Dataset.open(out).accepted()} == {1}, "an innocent was charged"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10, 15))
def test_many_kills_of_the_driver(tmp_path: Path, manifest: Path, undisturbed: Dataset, seed: int) -> None:
    drill_driver(tmp_path / "inline", manifest, undisturbed, seed=seed, kills=6, workers=1)
    drill_driver(tmp_path / "ray", manifest, undisturbed, seed=seed, kills=3, workers=2)
    drill_workers(tmp_path / "workers", manifest, undisturbed, seed=seed, kills=4)
