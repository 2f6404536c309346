"""The command against real models: `transformers serve` over HTTP, and the same folder loaded here."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from factory.cli import main
from prompts.extraction import Extraction
from prompts.grounding import verify
from prompts.sources import report_hash
from prompts.table import read_prompts
from tests.prompts.llm.conftest import ENGLISH, GERMAN
from tests.prompts.llm.test_transformers import PROMPTS

pytest.importorskip("transformers")
pytest.importorskip("uvicorn")

UNKNOWN = "CT of the chest without contrast. No focal lesion."
"""A report that the model has not learnt: whatever it babbles, nothing ungrounded may come of it."""


@pytest.fixture(scope="module")
def server(tiny_model, tmp_path_factory) -> Iterator[str]:
    """Base URL of `transformers serve` with the tiny model."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(tiny_model[0])]
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        try:
            _await(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            process.wait(20)


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(log.read_text()[-3000:])


def extract(folder: Path, *options: str) -> int:
    texts = [GERMAN, ENGLISH, UNKNOWN]
    source = folder / "reports.jsonl"
    source.write_text("".join(json.dumps({"report": text}) + "\n" for text in texts))
    with pytest.raises(SystemExit) as ended:
        main(["prompts", "extract", str(source), *options])
    return int(ended.value.code or 0)


def check(path: Path) -> None:
    rows = {row.report_hash: row for row in read_prompts(path)}
    for text, prompt in PROMPTS.items():
        assert rows[report_hash(text)].prompt == prompt
    if babbled := rows.get(report_hash(UNKNOWN)):
        assert verify(UNKNOWN, Extraction(babbled.prompt, babbled.evidence)) == ()
        assert babbled.prompt.tumours == ()


def test_a_served_model_reads_reports_and_the_cache_replays_them(server, tiny_model, tmp_path, capfd) -> None:
    out, again = tmp_path / "out.parquet", tmp_path / "again.parquet"
    model = ["--model", str(tiny_model[0]), "--base-url", server, "--repairs", "0", "--concurrency", "2"]
    assert extract(tmp_path, "--llm", "openai", *model, "--out", str(out), "--json") == 0
    account = json.loads(capfd.readouterr().out)
    check(out)
    assert account["run"]["attempts"] >= 3
    assert account["run"]["estimated"] == 0  # the server counts tokens
    assert extract(tmp_path, "--llm", "openai", *model, "--out", str(out), "--json") == 0
    assert json.loads(capfd.readouterr().out)["run"]["attempts"] == 0
    cache = ["--cache", str(tmp_path / "out.cache.sqlite")]
    assert extract(tmp_path, "--llm", "openai", *model, "--out", str(again), *cache) == 0
    assert read_prompts(again) == read_prompts(out)


def test_the_same_folder_without_a_server_and_from_its_cache(tiny_model, tmp_path) -> None:
    out = tmp_path / "out.parquet"
    model = ["--model", str(tiny_model[0]), "--repairs", "0", "--out", str(out)]
    assert extract(tmp_path, "--llm", "transformers", *model) == 0
    check(out)
    first = read_prompts(out)
    assert extract(tmp_path, "--llm", "replay", *model) == 0
    assert read_prompts(out) == first
    assert all(row.extractor.startswith("transformers:local-") for row in first)
