"""Whole extractions through the command line against a server that misbehaves in every known way."""

import json
import re
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from factory.cli import main
from prompts.extraction import Extraction
from prompts.grounding import verify
from prompts.llm.cache import Cache
from prompts.llm.pace import PaceConfig
from prompts.sources import report_hash
from prompts.table import PromptRow, read_prompts
from tests.prompts.llm.scripted_server import (
    Call,
    Reply,
    ScriptedServer,
    answer_json,
    completion,
    make_report,
    ok,
)

KEY = "sk-test-0123456789-secret"
Extract = Callable[..., tuple[int, str, str]]


@pytest.fixture
def extract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Extract:
    """Runs the command on reports, and looks for the key in everything it leaves behind."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr("prompts.cli.extract.PaceConfig", partial(PaceConfig, backoff_s=0.01))

    def run(reports: list[str], url: str, *options: str) -> tuple[int, str, str]:
        source = tmp_path / "reports.jsonl"
        source.write_text("".join(json.dumps({"id": f"r{n}", "report": text}) + "\n" for n, text in enumerate(reports)))
        stated = ["--llm", "openai", "--model", "m", "--base-url", url, "--out", str(tmp_path / "out.parquet")]
        with pytest.raises(SystemExit) as ended:
            main(["prompts", "extract", str(source), *stated, *options])
        out, err = capfd.readouterr()
        left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path != source)
        assert KEY not in out + err
        assert KEY.encode() not in left
        assert "Traceback" not in err
        if "--keep-text" not in options:
            assert not any(report in out + err or report.encode() in left for report in reports)
        return int(ended.value.code or 0), out, err

    return run


def rows_of(tmp_path: Path) -> list[PromptRow]:
    return read_prompts(tmp_path / "out.parquet")


def rejects_of(tmp_path: Path) -> dict[str, str]:
    lines = (tmp_path / "out.rejects.jsonl").read_text().splitlines()
    return {json.loads(line)["id"].split(":")[-1]: json.loads(line)["reason"] for line in lines}


def word(call: Call) -> str:
    """The last word of a report, which says what the server does about it."""
    return call.report.rsplit(" ", 1)[-1]


def misbehaving(call: Call) -> Reply:
    good, first = answer_json(call.report), call.times == 1
    scripts: dict[str, Callable[[], Reply]] = {
        "GOOD": lambda: ok(call),
        "LIMITED": lambda: Reply(429, b"{}", {"Retry-After": "0.05"}) if first else ok(call),
        "BROKEN": lambda: Reply(500, b"oops") if first else ok(call),
        "CLOSED": lambda: Reply(body=completion(good), cut=150) if first else ok(call),
        "SLOW": lambda: Reply(body=completion(good), delay_s=2.5 if first else 0.0),
        "DOWN": lambda: Reply(503, b""),
        "LONG": lambda: Reply(body=completion(good[:90], "length")),
        "LONGER": lambda: Reply(body=completion(good[:90], "length") if first and _short(call) else completion(good)),
        "REFUSING": lambda: Reply(body=completion(None, refusal="I cannot help with medical reports.")),
        "FILTERED": lambda: Reply(body=completion("", "content_filter")),
        "PROSE": lambda: Reply(body=completion("The patient is a woman with a renal mass.")),
        "REPAIRED": lambda: Reply(body=completion(good if len(call.body["messages"]) > 2 else good[:50])),
        "ENUM": lambda: Reply(body=completion(good.replace('"female"', '"woman"'))),
        "INVENTED": lambda: Reply(body=completion(_invented(call.report))),
        "UNCOUNTED": lambda: Reply(body=completion(good, usage=False)),
        "TOOLONG": lambda: Reply(400, b'{"error": {"message": "too long", "code": "context_length_exceeded"}}'),
    }
    return scripts[word(call)]()


def _short(call: Call) -> bool:
    return bool(call.body["max_completion_tokens"] == 1024)


def _invented(report: str) -> str:
    """Claims about height, race, phase and region that no text makes, and a size and side that are others."""
    answer = json.loads(answer_json(report))
    answer |= {"height_quote": "height 180 cm", "height": "180", "height_unit": "cm"}
    answer |= {"race_quote": "A white woman", "race": "white"}
    answer |= {"phase_quote": "CT of the abdomen", "phase": "arterial"}
    answer["tumours"][0] |= {"size": "99", "side": "right"}
    return json.dumps(answer)


WORDS = (
    *("GOOD", "LIMITED", "BROKEN", "CLOSED", "SLOW", "DOWN", "LONG", "LONGER", "REFUSING", "FILTERED"),
    *("PROSE", "REPAIRED", "ENUM", "INVENTED", "UNCOUNTED", "TOOLONG"),
)
REJECTED = {
    "DOWN": "server_error: HTTP 503",
    "LONG": "truncated:",
    "REFUSING": "refusal:",
    "FILTERED": "filtered:",
    "PROSE": "invalid_json:",
    "ENUM": "schema:",
    "TOOLONG": "refused_request: HTTP 400 (context_length_exceeded)",
}


def test_each_misbehaviour_ends_in_the_right_row_or_reject(extract: Extract, tmp_path: Path) -> None:
    reports = [make_report(number, words=name) for number, name in enumerate(WORDS)]
    options = ["--timeout", "1", "--attempts", "3", "--json", "--concurrency", "16"]
    with ScriptedServer(misbehaving) as server:
        code, out, err = extract(reports, server.url, *options)
    assert code == 1, err  # one report met a failing server to the end
    assert "1 reports met a failing server" in err

    rejects = {WORDS[int(name[1:])]: reason for name, reason in rejects_of(tmp_path).items()}
    assert rejects.keys() == REJECTED.keys()
    assert all(rejects[name].startswith(reason) for name, reason in REJECTED.items()), rejects

    rows = {row.report_hash: row for row in rows_of(tmp_path)}
    texts = {report_hash(text): text for text in reports}
    assert {texts[key].rsplit(" ", 1)[-1] for key in rows} == set(WORDS) - set(REJECTED)
    for key, row in rows.items():
        assert_grounded(texts[key], row)
    report = json.loads(out)
    assert report["prompts"] == len(WORDS) - len(REJECTED)
    assert report["run"]["attempts"] == server.total
    assert report["run"]["estimated"] > 0  # an answer without usage, and answers that never arrived


def assert_grounded(text: str, row: PromptRow) -> None:
    """Each stated field has its span in the text, and the audit finds it there."""
    assert verify(text, Extraction(row.prompt, row.evidence)) == ()
    patient, (tumour,) = row.prompt.patient, row.prompt.tumours
    age = re.search(r"A (\d+)-year-old", text)
    assert age is not None
    assert (patient.age_years, patient.sex, patient.height_cm, patient.race) == (float(age[1]), "female", None, None)
    assert tumour.organ == "kidney"
    assert tumour.size_mm in (34, None)
    assert tumour.side in ("left", None)
    if text.endswith("INVENTED"):
        assert tumour.size_mm is None
        assert any(flag.startswith("dropped tumours.0.size_mm") for flag in row.flags)
        assert any(flag.startswith("dropped patient.height_cm") for flag in row.flags)
    else:
        assert (tumour.size_mm, tumour.side) == (34, "left")


def test_a_second_run_asks_only_what_was_never_answered(extract: Extract, tmp_path: Path) -> None:
    names = [name for name in WORDS if name not in ("DOWN", "TOOLONG")]
    reports = [make_report(number, words=name) for number, name in enumerate(names)]
    with ScriptedServer(misbehaving) as server:
        assert extract(reports, server.url, "--timeout", "1")[0] == 0
        first, asked = rows_of(tmp_path), server.total
        code, out, _ = extract(reports, server.url, "--json")
        assert (code, server.total) == (0, asked)
        assert json.loads(out)["run"]["attempts"] == 0
        assert rows_of(tmp_path) == first
        code, _, _ = extract(reports, server.url, "--llm", "replay")
        assert (code, server.total, rows_of(tmp_path)) == (0, asked, first)


def test_one_changed_report_costs_its_own_request(extract: Extract, tmp_path: Path) -> None:
    reports = [make_report(number) for number in range(8)]
    with ScriptedServer() as server:
        assert extract(reports, server.url)[0] == 0
        reports[7] = make_report(700)
        assert extract(reports, server.url)[0] == 0
        assert server.total == 9
        assert server.asked[make_report(700).rstrip()] + server.asked[make_report(700)] == 1
        assert extract([*reports, make_report(800)], server.url)[0] == 0
        assert server.total == 10
        code, _, _ = extract([*reports, make_report(900)], server.url, "--llm", "replay")
        assert (code, server.total) == (0, 10)
        assert list(rejects_of(tmp_path).values()) == ["not cached"]


def test_texts_are_stored_only_where_asked(extract: Extract, tmp_path: Path) -> None:
    reports = [make_report(number) for number in range(3)]
    with ScriptedServer() as server:
        extract(reports, server.url)
        assert [row.report_text for row in rows_of(tmp_path)] == [None] * 3
        extract(reports, server.url, "--keep-text")
    assert [row.report_text for row in rows_of(tmp_path)] == reports
    assert {row.extractor for row in rows_of(tmp_path)} == {"openai:m/extract-1/grounding-1"}


def test_a_disagreement_with_the_rules_is_a_flag(extract: Extract, tmp_path: Path) -> None:
    with ScriptedServer(lambda call: Reply(body=completion(answer_json(call.report, tumours=[])))) as server:
        assert extract([make_report(1)], server.url)[0] == 0
    (row,) = rows_of(tmp_path)
    assert row.prompt.tumours == ()
    assert "tumours: rules kidney, model none" in row.flags


@pytest.mark.parametrize("limit", [0, 9_500, pytest.param(12_000, marks=pytest.mark.slow)])
def test_a_budget_is_never_exceeded_and_is_remembered(extract: Extract, limit: int) -> None:
    reports = [make_report(number) for number in range(14)]
    with ScriptedServer() as server:
        code, _, err = extract(reports, server.url, "--max-tokens", str(limit))
        assert code == 1
        assert (server.total > 0) == (limit > 0)
        assert f"{server.total} of 14 reports done" in err
        assert "budget" in err
        assert server.total * 400 <= limit
        spent = server.total
        extract(reports, server.url, "--max-tokens", str(limit))
        assert server.total == spent
        assert extract(reports, server.url, "--max-tokens", "100000")[0] == 0
        assert server.total == 14


def test_money_is_counted_at_the_given_prices(extract: Extract, tmp_path: Path) -> None:
    prices = ["--price-in", "3", "--price-out", "15", "--json"]
    reports = [make_report(number) for number in range(10)]
    with ScriptedServer() as server:
        code, out, _ = extract(reports, server.url, *prices, "--max-usd", "10")
        assert code == 0
        assert json.loads(out)["total"]["usd"] == pytest.approx(10 * (300 * 3 + 100 * 15) / 1e6)
        code, _, err = extract([*reports, make_report(99)], server.url, *prices, "--max-usd", "0.0241")
    assert (code, server.total) == (1, 10)
    assert "0.0240 USD" in err


def test_a_server_that_stays_down_opens_the_breaker(extract: Extract, tmp_path: Path) -> None:
    reports = [make_report(number) for number in range(18)]
    state = {"down": False}

    def script(call: Call) -> Reply:
        state["down"] = state["down"] or call.number > 5
        return Reply(503, b"") if state["down"] else ok(call)

    with ScriptedServer(script) as server:
        code, _, err = extract(reports, server.url)
        assert code == 1
        assert "5 of 18 reports done" in err
        assert "failures in a row, the last: HTTP 503" in err
        assert server.total < 5 + 40
        assert not (tmp_path / "out.parquet").exists()
        server.script = ok
        before = server.total
        assert extract(reports, server.url)[0] == 0
        assert server.total - before == 13
    assert len(rows_of(tmp_path)) == 18


def test_a_retry_after_of_an_hour_stops_the_run(extract: Extract) -> None:
    with ScriptedServer(lambda call: Reply(429, b"{}", {"Retry-After": "3600"})) as server:
        code, _, err = extract([make_report(1)], server.url)
    assert (code, server.total) == (1, 1)
    assert "asks to wait 3600 s" in err


@pytest.mark.parametrize(
    ("reply", "code", "reason"),
    [
        (Reply(body=completion(None, refusal="No.")), 2, "refusal"),
        (Reply(503, b""), 1, "server_error: HTTP 503"),
    ],
)
def test_no_usable_answer_at_all_is_an_error_that_says_why(
    extract: Extract, tmp_path: Path, reply: Reply, code: int, reason: str
) -> None:
    with ScriptedServer(lambda call: reply) as server:
        ended, _, err = extract([make_report(1)], server.url, "--attempts", "2")
    assert ended == code
    assert reason in err
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_stops_at_once(extract: Extract, tmp_path: Path, status: int) -> None:
    with ScriptedServer(lambda call: Reply(status, json.dumps({"error": {"message": KEY}}).encode())) as server:
        code, _, err = extract([make_report(number) for number in range(30)], server.url, "--concurrency", "4")
    assert (code, server.total <= 4) == (2, True)
    assert f"HTTP {status}" in err
    assert not (tmp_path / "out.parquet").exists()


def test_a_server_that_refuses_everything_stops_the_run(extract: Extract) -> None:
    with ScriptedServer(lambda call: Reply(400, b"{}")) as server:
        code, _, err = extract([make_report(number) for number in range(50)], server.url, "--concurrency", "2")
    assert code == 2
    assert "HTTP 400" in err
    assert server.total <= 3 * 7


def test_a_rate_limit_is_kept_and_everything_is_read(extract: Extract, tmp_path: Path) -> None:
    """A server that takes three together: the window settles there, and no report is lost."""
    flying = Counter[str]()
    lock = threading.Lock()

    def script(call: Call) -> Reply:
        if server.in_flight >= 3:
            with lock:
                flying["refused"] += 1
            return Reply(429, b"{}", {"Retry-After": "0.02"})
        return Reply(body=completion(answer_json(call.report)), delay_s=0.02)

    with ScriptedServer(script) as server:
        code, _, err = extract([make_report(number) for number in range(20)], server.url, "--concurrency", "16")
    assert code == 0, err
    assert len(rows_of(tmp_path)) == 20
    assert flying["refused"] > 0
    assert sum(server.paid.values()) == 20


def test_refused_formats_are_probed_by_the_command_too(extract: Extract, tmp_path: Path) -> None:
    def script(call: Call) -> Reply:
        return (
            Reply(400, b'{"error": {"message": "no response_format"}}') if "response_format" in call.body else ok(call)
        )

    with ScriptedServer(script) as server:
        assert extract([make_report(number) for number in range(6)], server.url, "--concurrency", "1")[0] == 0
    assert server.total == 6 + 2
    assert len(rows_of(tmp_path)) == 6


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--model", ""], "--model"),
        (["--base-url", "not a url"], "--base-url"),
        (["--max-usd", "5"], "--max-usd"),
        (["--price-in", "5"], "--price-in"),
        (["--llm", "oracle"], "--llm"),
        (["--batch", "cancel"], "--batch"),
        (["--batch", "submit", "--llm", "rules"], "--batch"),
        (["--timeout", "0"], "--timeout"),
        (["--concurrency", "0"], "--concurrency"),
        (["--cache", "/no/such/folder/c.sqlite"], "cache"),
        (["--text-column", "nothing"], "--text-column"),
        (["--llm", "replay"], "cache"),
        (["--llm", "transformers", "--model", "/no/such/model"], "model"),
    ],
)
def test_bad_options_are_bad_input_and_nothing_is_asked(
    extract: Extract, tmp_path: Path, options: list[str], named: str
) -> None:
    with ScriptedServer() as server:
        code, _, err = extract([make_report(1)], server.url, *options)
    assert (code, server.total) == (2, 0)
    assert named in err
    assert not (tmp_path / "out.parquet").exists()


def test_a_foreign_cache_is_left_alone(extract: Extract, tmp_path: Path) -> None:
    foreign = tmp_path / "out.cache.sqlite"
    foreign.write_bytes(b"something else entirely, of another program" * 9)
    with ScriptedServer() as server:
        code, _, err = extract([make_report(1)], server.url)
    assert (code, server.total) == (2, 0)
    assert "out.cache.sqlite" in err
    assert foreign.read_bytes().startswith(b"something else")


def test_two_runs_do_not_spend_on_one_cache(extract: Extract, tmp_path: Path) -> None:
    with ScriptedServer() as server, Cache(tmp_path / "out.cache.sqlite") as cache, cache.lock():
        code, _, err = extract([make_report(1)], server.url)
    assert (code, server.total) == (1, 0)
    assert "another run" in err
