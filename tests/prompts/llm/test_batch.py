"""Batches of a provider: two commands that can be repeated and interrupted anywhere, each request sent once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from factory.cli import main
from prompts.llm import batch as batch_module
from prompts.table import read_prompts
from tests.prompts.llm.scripted_server import Call, Reply, ScriptedServer, answer_json, completion, make_report, ok

Run = Callable[..., tuple[int, Any]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-x")

    def command(url: str, *options: str, reports: int = 4) -> tuple[int, Any]:
        source = tmp_path / "reports.jsonl"
        source.write_text("".join(json.dumps({"report": make_report(number)}) + "\n" for number in range(reports)))
        stated = [
            "--llm",
            "openai",
            "--model",
            "m",
            "--base-url",
            url,
            "--out",
            str(tmp_path / "out.parquet"),
            "--json",
        ]
        with pytest.raises(SystemExit) as ended:
            main(["prompts", "extract", str(source), *stated, *options])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        assert not any(make_report(number) in out + err for number in range(reports))
        return int(ended.value.code or 0), json.loads(out) if out else err

    return command


def counts(state: dict[str, Any]) -> tuple[int, int, int, int]:
    return state["sent"], state["running"], state["answered"], state["missing"]


def test_submit_and_collect_may_be_repeated_at_will(run: Run, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        code, state = run(server.url, "--batch", "submit")
        assert (code, counts(state)) == (0, (4, 4, 0, 0))
        code, state = run(server.url, "--batch", "submit")
        assert (code, counts(state), len(server.batches), len(server.files)) == (0, (0, 4, 0, 0), 1, 1)
        for _ in range(2):
            code, state = run(server.url, "--batch", "collect")
            assert (code, counts(state)) == (1, (0, 4, 0, 0))
        server.finish_batches()
        code, state = run(server.url, "--batch", "collect")
        assert (code, state["prompts"], state["run"]["attempts"]) == (0, 4, 0)
        first = read_prompts(tmp_path / "out.parquet")
        assert [row.prompt.patient.sex for row in first] == ["female"] * 4
        code, _ = run(server.url, "--batch", "collect")
        assert (code, read_prompts(tmp_path / "out.parquet")) == (0, first)
        code, state = run(server.url, "--batch", "submit")
        assert (counts(state), len(server.batches)) == ((0, 0, 0, 0), 1)
        code, state = run(server.url)  # the ordinary command finds every answer there
        assert (code, state["run"]["attempts"], state["total"]["attempts"], server.total) == (0, 0, 4, 4)
        assert state["total"]["input"] == 4 * 300


def test_a_new_report_and_a_repair_are_all_that_a_second_batch_holds(run: Run, tmp_path: Path) -> None:
    def script(call: Call) -> Reply:
        good = answer_json(call.report)
        return Reply(
            body=completion(good[:30] if "Report 2." in call.report and len(call.body["messages"]) == 2 else good)
        )

    with ScriptedServer(script) as server:
        run(server.url, "--batch", "submit")
        server.finish_batches()
        code, state = run(server.url, "--batch", "collect", reports=5)
        assert (code, counts(state)) == (1, (0, 0, 4, 2))  # one to repair, one new
        code, state = run(server.url, "--batch", "submit", reports=5)
        assert (code, counts(state)) == (0, (2, 2, 0, 0))
        server.finish_batches()
        assert run(server.url, "--batch", "collect", reports=5)[0] == 0
        assert max(server.paid.values()) == 1
    assert len(read_prompts(tmp_path / "out.parquet")) == 5


@pytest.mark.parametrize("status", ["completed", pytest.param("expired", marks=pytest.mark.slow)])
def test_failed_items_are_listed_and_sent_again_only_by_a_submit(run: Run, tmp_path: Path, status: str) -> None:
    def script(call: Call) -> Reply:
        return Reply(400, b"{}") if "Report 1." in call.report else ok(call)

    with ScriptedServer(script) as server:
        run(server.url, "--batch", "submit")
        server.finish_batches(status)
        for answered in (3, 0):
            code, state = run(server.url, "--batch", "collect")
            assert (code, counts(state)) == (1, (0, 0, answered, 1))
            assert list(state["failed"].values()) == ["HTTP 400"]
        assert len(server.batches) == 1
        assert run(server.url, "--llm", "replay")[1]["reasons"] == {"not cached": 1}
        assert run(server.url, "--batch", "submit")[1]["sent"] == 1
        server.script = ok
        server.finish_batches()
        assert run(server.url, "--batch", "collect")[0] == 0
    assert len(read_prompts(tmp_path / "out.parquet")) == 4


@pytest.mark.parametrize("lost", ["POST /files", "POST /batches"])
def test_a_step_whose_answer_was_lost_is_not_taken_twice(run: Run, lost: str) -> None:
    """The provider did it, but the connection broke before we heard of it."""
    with ScriptedServer() as server:
        server.fail_next[lost] = Reply(502, b"")
        code, err = run(server.url, "--batch", "submit")
        assert code == 1
        assert "HTTP 502" in err
        code, state = run(server.url, "--batch", "submit")
        assert (code, counts(state)) == (0, (4, 4, 0, 0))
        assert (len(server.files), len(server.batches)) == (1, 1)
        server.finish_batches()
        assert run(server.url, "--batch", "collect")[0] == 0
        assert max(server.paid.values()) == 1


def test_a_plan_that_was_never_sent_is_forgotten_with_its_reports(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer() as server:
        monkeypatch.setattr(batch_module._Desk, "_upload", _interrupted)
        assert run(server.url, "--batch", "submit")[0] == 130
        monkeypatch.undo()
        monkeypatch.setenv("OPENAI_API_KEY", "sk-x")
        code, state = run(server.url, "--batch", "submit", reports=2)
        assert (code, counts(state)) == (0, (2, 2, 0, 0))
        assert len(server.batches) == 1


async def _interrupted(*arguments: object, **options: object) -> None:
    raise KeyboardInterrupt


def test_large_submissions_are_divided(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_module, "MAX_REQUESTS", 3)
    with ScriptedServer() as server:
        code, state = run(server.url, "--batch", "submit", reports=7)
        assert (code, state["sent"], len(server.batches)) == (0, 7, 3)
        server.finish_batches()
        assert run(server.url, "--batch", "collect", reports=7)[0] == 0
    assert len(read_prompts(tmp_path / "out.parquet")) == 7


def test_a_batch_beyond_the_budget_is_not_sent(run: Run) -> None:
    with ScriptedServer() as server:
        code, err = run(server.url, "--batch", "submit", "--max-tokens", "5000")
        assert (code, len(server.files)) == (2, 0)
        assert "4 requests" in err
        assert run(server.url, "--batch", "submit", "--max-tokens", "100000")[0] == 0
        code, err = run(server.url, "--max-tokens", "20000", reports=6)  # the worst case of the batch is reserved
        assert (code, server.total) == (1, 0)


def test_a_server_without_batches_is_bad_input(run: Run) -> None:
    with ScriptedServer() as server:
        server.fail_next["POST /files"] = Reply(404, b"{}")
        code, err = run(server.url, "--batch", "submit")
    assert code == 2
    assert "takes batches" in err


def test_lines_that_say_nothing_count_as_failed(run: Run) -> None:
    with ScriptedServer() as server:
        run(server.url, "--batch", "submit")
        server.finish_batches()
        output = next(item for item in server.files.values() if item["filename"] == "out.jsonl")
        lines = output["data"].splitlines()
        foreign = json.dumps({"custom_id": "0" * 64, "response": {"status_code": 200, "body": {}}}).encode()
        output["data"] = b"\n".join([lines[0], b"{half a li", b"[]", foreign, b'{"custom_id": 3}', lines[1]])
        code, state = run(server.url, "--batch", "collect")
    assert (code, counts(state)) == (1, (0, 0, 2, 2))
    assert set(state["failed"].values()) == {"batch completed"}
