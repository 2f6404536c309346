"""Interrupted extractions, as processes: nothing that was answered and stored is paid for again.

SIGINT and SIGTERM let what is in flight finish, so every conversation is paid for once. SIGKILL loses what is in flight: a
request is repeated only if its answer was not stored, and at most as many as the window has places.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prompts.llm.cache import Cache
from prompts.table import read_prompts
from tests.prompts.llm.scripted_server import Call, Reply, ScriptedServer, answer_json, completion, make_report, ok

REPORTS, WINDOW = 20, 4


def slow(call: Call) -> Reply:
    """A quarter of the answers need a repair, so that there are conversations to interrupt in their middle."""
    good = answer_json(call.report)
    broken = call.number % 4 == 0 and len(call.body["messages"]) == 2
    return Reply(body=completion(good[:40] if broken else good), delay_s=0.05)


def start(folder: Path, url: str) -> subprocess.Popen[str]:
    source = folder / "reports.jsonl"
    source.write_text("".join(json.dumps({"report": make_report(number)}) + "\n" for number in range(REPORTS)))
    options = ["--llm", "openai", "--model", "m", "--base-url", url, "--concurrency", str(WINDOW)]
    # the commands of this package alone: importing the others takes longer than the test
    command = [sys.executable, "-c", "import prompts.cli; prompts.cli.app()", "extract", str(source), *options]
    return subprocess.Popen(
        [*command, "--out", str(folder / "out.parquet")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENAI_API_KEY": "sk-x"},
    )


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not condition() and time.monotonic() < until:
        time.sleep(0.002)
    assert condition()


def stored(folder: Path) -> int:
    with Cache(folder / "out.cache.sqlite") as cache:
        return int(cache.rows("SELECT count(*) FROM answers")[0][0])


@pytest.mark.parametrize(
    ("number", "after"),
    [
        (signal.SIGINT, 11),
        pytest.param(signal.SIGINT, 1, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 6, marks=pytest.mark.slow),
    ],
)
def test_an_interrupted_run_pays_for_each_request_once(tmp_path: Path, number: int, after: int) -> None:
    with ScriptedServer(slow) as server:
        process = start(tmp_path, server.url)
        wait_for(lambda: server.total >= after)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "interrupted:" in err
        assert "Traceback" not in err
        assert not (tmp_path / "out.parquet").exists()
        assert stored(tmp_path) == server.total < REPORTS
        process = start(tmp_path, server.url)
        assert process.wait(60) == 0, process.communicate()[1]
        process.communicate()
        assert max(server.paid.values()) == 1
    assert len(read_prompts(tmp_path / "out.parquet")) == REPORTS


@pytest.mark.parametrize("kills", [(7,), pytest.param((1, 3, 9, 14), marks=pytest.mark.slow)])
def test_a_killed_run_repeats_only_what_was_in_flight(tmp_path: Path, kills: tuple[int, ...]) -> None:
    """However often it is killed, an answer that was stored before a kill is never asked for after it."""
    repeated = 0
    with ScriptedServer(slow) as server:
        for after in kills:
            process = start(tmp_path, server.url)
            wait_for(lambda least=after: server.total >= least)
            process.kill()
            process.communicate(timeout=60)
            kept = stored(tmp_path)
            assert kept >= server.total - repeated - WINDOW
            repeated = server.total - kept
        process = start(tmp_path, server.url)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert sum(server.paid.values()) - len(server.paid) == repeated <= len(kills) * WINDOW
    with Cache(tmp_path / "out.cache.sqlite") as cache:
        lost = cache.rows("SELECT count(*) FROM attempts WHERE kind = 'lost'")[0][0]
        assert repeated <= lost <= len(kills) * WINDOW  # the ledger counts what may have been paid
        assert cache.rows("SELECT count(*) FROM attempts")[0][0] <= server.total + len(kills) * WINDOW
    assert len(read_prompts(tmp_path / "out.parquet")) == REPORTS


@pytest.mark.slow
def test_a_second_interrupt_does_not_wait(tmp_path: Path) -> None:
    with ScriptedServer(lambda call: Reply(body=ok(call).body, delay_s=30.0)) as server:
        process = start(tmp_path, server.url)
        wait_for(lambda: server.total >= WINDOW)
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "Traceback" not in err
