"""The command line: exit codes, one message for each error, JSON, and a Ctrl-C that can be resumed."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from factory import cli, run
from factory.engines import registry
from factory.run import load_models
from factory.testing import Behaviour, toy_models, toy_prompts
from manifests.dataset import Dataset
from manifests.errors import StorageError
from prompts.table import write_prompts

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Run a command in this process with the toy models in place of the engines: status, output, errors."""

    def load(masks: str, images: str) -> object:
        registry.mask_model(masks) if masks != "phantom" else None
        registry.image_model(images) if images != "texture" else None
        return toy_models(Behaviour(raise_age=60))

    monkeypatch.setattr(run, "load_models", load)
    before = signal.getsignal(signal.SIGTERM)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), said.out, said.err

    yield call
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.parquet"
    write_prompts(path, toy_prompts([50, 51]))
    return path


def test_build_then_check_then_extend(command: Command, tmp_path: Path, manifest: Path) -> None:
    out = tmp_path / "d"
    base = ("build", "--manifest", manifest, "--out", out, "--preset", "tiny")
    status, said, _ = command(*base, "--n", 2)
    assert status == 0
    assert "2 of 2 cases accepted" in said
    status, said, _ = command(*base, "--n", 3, "--json")
    report = json.loads(said)
    assert (status, report["accepted"], report["made"]) == (0, 3, 1)
    assert command("check", out)[0] == 0
    status, said, _ = command("info", out, "--json")
    assert status == 0
    assert json.loads(said)


def test_an_incomplete_build_ends_with_1_and_the_reasons(command: Command, tmp_path: Path) -> None:
    manifest = tmp_path / "p.parquet"
    write_prompts(manifest, toy_prompts([60]))
    status, said, _ = command(
        "build", "--manifest", manifest, "--out", tmp_path / "d", "--n", 1, "--preset", "tiny", "--candidates", 2
    )
    assert status == 1
    assert "INCOMPLETE" in said
    assert "2 x ValueError" in said
    assert "case 0 unfilled: ValueError: the toy was told to raise" in said


BAD = {
    "engine": ("--engine", "nope"),
    "masks": ("--masks", "nope"),
    "both": ("--engine", "phantom", "--masks", "phantom"),
    "preset": ("--preset", "nope"),
    "n": ("--n", "0"),
    "manifest": ("--manifest", "missing.parquet"),
    "workers": ("--workers", "0"),
    "timeout": ("--timeout", "-1"),
    "seed": ("--seed", "-1"),
    "randomise below": ("--randomise", "-0.1"),
    "randomise above": ("--randomise", "1.01"),
    "randomise nan": ("--randomise", "nan"),
    "option": ("--nope",),
    "number": ("--n", "many"),
}


@pytest.mark.parametrize("arguments", BAD.values(), ids=BAD)
def test_bad_input_ends_with_2_and_writes_nothing(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    status, said, complaint = command("build", "--out", "d", *arguments)
    assert status == 2
    assert said == ""
    assert complaint.lower().count("error:") == 1
    assert "Traceback" not in complaint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all"])
def test_a_broken_manifest_ends_with_2(command: Command, tmp_path: Path, content: bytes) -> None:
    manifest = tmp_path / "p.parquet"
    manifest.write_bytes(content)
    status, _, complaint = command("build", "--manifest", manifest, "--out", tmp_path / "d")
    assert (status, (tmp_path / "d").exists()) == (2, False)
    assert str(manifest) in complaint


def test_a_place_that_is_taken_ends_with_2(command: Command, tmp_path: Path, manifest: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("do not touch")
    for out in (tmp_path / "full", manifest, manifest / "below"):
        status, _, complaint = command("build", "--manifest", manifest, "--out", out, "--n", 1)
        assert status == 2, complaint
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.txt"]


def test_a_dataset_of_another_spec_ends_with_2(command: Command, tmp_path: Path, manifest: Path) -> None:
    base = ("build", "--manifest", manifest, "--out", tmp_path / "d", "--n", 1, "--preset", "tiny")
    assert command(*base)[0] == 0
    status, _, complaint = command(*base, "--seed", 5)
    assert status == 2
    assert "run_seed = 5" in complaint


def test_a_full_disk_ends_with_2_and_says_to_resume(
    command: Command, tmp_path: Path, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Dataset, record: object, arrays: object) -> None:
        raise StorageError("saving", got="no space", need="room", do="Free space and run the same command again.")

    monkeypatch.setattr(Dataset, "save", full)
    status, _, complaint = command("build", "--manifest", manifest, "--out", tmp_path / "d", "--preset", "tiny")
    assert status == 2
    assert complaint.count("error:") == 1
    assert "same command again" in complaint


def test_a_path_as_case_id_ends_with_2(command: Command, tmp_path: Path, manifest: Path) -> None:
    out = tmp_path / "d"
    command("build", "--manifest", manifest, "--out", out, "--n", 1, "--preset", "tiny")
    status, _, complaint = command("reproduce", out, "../../x")
    assert status == 2
    assert "case id" in complaint


def test_engines_and_doctor_speak_json(command: Command) -> None:
    status, said, _ = command("engines", "--json")
    assert (status, json.loads(said)["pairs"]) == (0, ["guidegen", "phantom"])
    status, said, _ = command("doctor", "--preset", "tiny", "--json")
    assert (status, json.loads(said)["ok"]) == (0, True)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_says_how_to_go_on(tmp_path: Path, manifest: Path, stop: signal.Signals) -> None:
    program = (
        "from functools import partial; from factory import cli, run\n"
        "from factory.testing import Behaviour, toy_models\n"
        "run.load_models = lambda masks, images: toy_models(Behaviour(seconds=0.3))\n"
        "cli.main()"
    )
    out = tmp_path / "d"
    arguments = ["build", "--manifest", str(manifest), "--out", str(out), "--n", "500", "--preset", "tiny"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *arguments], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 60
    while not list(out.glob("commits/*.json")) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(stop)
    said, complaint = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "run the same command again to resume" in complaint
    assert "Traceback" not in complaint
    assert "INCOMPLETE (interrupted)" in said
    assert (out / "manifest.parquet").exists()
    assert Dataset.open(out).accepted()


def test_the_names_of_the_models_reach_the_registry() -> None:
    with pytest.raises(LookupError, match="nope"):
        load_models("nope", "texture")
