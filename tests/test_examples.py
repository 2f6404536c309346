"""Every example runs as its text says, on the smallest grid."""

import os
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name, *arguments, cwd):
    command = [sys.executable, str(EXAMPLES / name), *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Output and folder of the first example."""
    folder = tmp_path_factory.mktemp("examples")
    return run("build_dataset.py", folder, "tiny", cwd=folder), folder


def test_build_dataset(built):
    printed, _ = built
    assert printed.count("accepted") == 2
    assert "measured: 1 x kidney_left" in printed


def test_export_and_look(built):
    _, folder = built
    printed = run("export_and_look.py", folder / "dataset", folder, cwd=folder)
    assert "cases with a tumour: 2" in printed
    assert (folder / "nnUNet_raw" / "Dataset501_Example" / "dataset.json").is_file()
    assert (folder / "view" / "index.html").is_file()


def test_train_from_store(built):
    _, folder = built
    printed = run("train_from_store.py", folder / "dataset", 2, cwd=folder)
    losses = [float(line.split()[-1]) for line in printed.splitlines() if line.startswith("epoch")]
    assert losses[1] < losses[0]
    assert "held-out voxels right" in printed


def test_own_engine(tmp_path):
    assert "accepted flat" in run("own_engine.py", tmp_path, "tiny", cwd=tmp_path)


def test_triptychs(built):
    _, folder = built
    printed = run("triptychs.py", folder / "dataset", folder / "triptychs.jpg", cwd=folder)
    assert printed.startswith("2 cases in ")
    height, width, _ = plt.imread(folder / "triptychs.jpg").shape
    assert (height, width) == (306, 1728)  # one row of three places


def test_examples_are_short():
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 60, path.name
