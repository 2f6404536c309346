"""The `openai` client against a real server: answers, each kind of failure, and what servers refuse."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from manifests.errors import InvalidValueError
from prompts.llm.chat import (
    ChatError,
    ChatRequest,
    Completion,
    FatalChatError,
    Message,
    RateLimitedError,
    RefusedRequestError,
    TransientChatError,
    Usage,
)
from prompts.llm.openai_chat import Dialect, OpenAIChat, endpoint_of, request_body
from tests.prompts.llm.scripted_server import Call, Reply, Script, ScriptedServer, completion, ok

KEY = "sk-test-0123456789-secret"
SECRET = "a very private report"
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def request() -> ChatRequest:
    return ChatRequest("m", "e", (Message("user", SECRET),), {"type": "object", "properties": {"x": {}}}, "t")


def complete(script: Script, times: int = 1, timeout_s: float = 5.0) -> tuple[Completion, ScriptedServer]:
    async def run(url: str) -> Completion:
        model = OpenAIChat("m", url, timeout_s)
        try:
            for _ in range(times):
                answer = await model.complete(request())
        finally:
            await model.aclose()
        return answer

    with ScriptedServer(script) as server:
        return asyncio.run(run(server.url)), server


def failing(status: int, code: str = "", **headers: str) -> Script:
    """A server that repeats key and report in its complaint, as some do."""
    error = {"message": f"wrong: {KEY} {SECRET}", "type": None, "code": code or None, "param": None}
    body = json.dumps({"error": error}).encode()
    return lambda call: Reply(status, body, {name.replace("_", "-"): value for name, value in headers.items()})


def test_an_answer_arrives_with_its_usage() -> None:
    answer, server = complete(lambda call: Reply(body=completion('{"a": 1}')))
    assert (answer.text, answer.finish, answer.usage, answer.model) == (
        '{"a": 1}',
        "stop",
        Usage(300, 100),
        "scripted-1",
    )
    assert server.total == 1


@pytest.mark.parametrize(
    ("body", "text", "finish", "usage"),
    [
        (completion(None, refusal="I will not"), "I will not", "refusal", Usage(300, 100)),
        (completion('{"a', "length"), '{"a', "length", Usage(300, 100)),
        (completion("", "content_filter"), "", "content_filter", Usage(300, 100)),
        (completion("x", usage=False), "x", "stop", Usage()),
        (completion("half \ud800 a pair"), "half ? a pair", "stop", Usage(300, 100)),
    ],
)
def test_what_is_no_plain_answer_is_told_apart(body: bytes, text: str, finish: str, usage: Usage) -> None:
    answer, _ = complete(lambda call: Reply(body=body))
    assert (answer.text, answer.finish, answer.usage) == (text, finish, usage)


@pytest.mark.parametrize(
    ("script", "kind", "message"),
    [
        (failing(429), RateLimitedError, "HTTP 429"),
        (failing(429, "insufficient_quota"), FatalChatError, "HTTP 429 (insufficient_quota)"),
        (failing(500), TransientChatError, "HTTP 500"),
        (failing(503), TransientChatError, "HTTP 503"),
        (failing(408), TransientChatError, "HTTP 408"),
        (failing(401, "invalid_api_key"), FatalChatError, "HTTP 401 (invalid_api_key)"),
        (failing(403), FatalChatError, "HTTP 403"),
        (failing(404, "model_not_found"), FatalChatError, "HTTP 404 (model_not_found)"),
        (failing(400), RefusedRequestError, "HTTP 400"),
        (failing(413), RefusedRequestError, "HTTP 413"),
        (failing(400, "context_length_exceeded"), RefusedRequestError, "HTTP 400 (context_length_exceeded)"),
        (lambda call: Reply(body=b"<html>"), TransientChatError, "the body of the answer is no JSON"),
        (lambda call: Reply(body=b"[]"), TransientChatError, "the body of the answer has no message"),
        (lambda call: Reply(body=b'{"choices": []}'), TransientChatError, "the body of the answer has no message"),
        (
            lambda call: Reply(body=completion("x" * 999), cut=500),
            TransientChatError,
            "connection failed (RemoteProtocolError)",
        ),
        (
            lambda call: Reply(body=completion("x"), cut=0),
            TransientChatError,
            "connection failed (RemoteProtocolError)",
        ),
        (lambda call: Reply(body=completion("x"), delay_s=3.0), TransientChatError, "no answer within 0.3 s"),
    ],
)
def test_failures_have_their_kind_and_hold_nothing_secret(script: Script, kind: type, message: str) -> None:
    with pytest.raises(ChatError) as caught:
        complete(script, timeout_s=0.3)
    assert (type(caught.value), str(caught.value)) == (kind, message)
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"retry_after": "7"}, 7, 7),
        ({"retry_after_ms": "250"}, 0.25, 0.25),
        ({"retry_after": format_datetime(NOW + timedelta(hours=2), usegmt=True)}, 3600, 7200),
        ({"retry_after": format_datetime(NOW - timedelta(days=1), usegmt=True)}, 0, 0),
    ],
)
def test_retry_after_is_read_as_seconds_and_as_a_date(headers: dict[str, str], low: float, high: float) -> None:
    with pytest.raises(RateLimitedError) as caught:
        complete(failing(429, **headers))
    assert caught.value.retry_after_s is not None
    assert low <= caught.value.retry_after_s <= high


@pytest.mark.parametrize("header", ["soon", "", "-3", "1e9"])
def test_a_retry_after_that_says_nothing_is_none(header: str) -> None:
    with pytest.raises(RateLimitedError) as caught:
        complete(failing(429, retry_after=header))
    assert caught.value.retry_after_s is None


def test_nobody_listens() -> None:
    with ScriptedServer() as server:
        url = server.url
    model = OpenAIChat("m", url, 5.0)

    async def run() -> None:
        with pytest.raises(TransientChatError, match="connection failed") as caught:
            await model.complete(request())
        assert not caught.value.maybe_paid
        await model.aclose()

    asyncio.run(run())


def picky(*refused: str) -> Script:
    """A server that refuses bodies with certain settings, one complaint at a time."""

    def script(call: Call) -> Reply:
        kind = call.body.get("response_format", {}).get("type")
        named = next((name for name in refused if name in call.body or name == kind), None)
        if named is None:
            return ok(call)
        return Reply(400, json.dumps({"error": {"message": f"unsupported: {named}", "param": None}}).encode())

    return script


@pytest.mark.parametrize(
    ("refused", "first"),
    [
        (("json_schema",), 2),
        (("json_schema", "json_object"), 3),
        (("temperature",), 2),
        (("seed",), 2),
        (("max_completion_tokens",), 2),
        (("max_completion_tokens", "seed", "temperature", "json_schema", "json_object"), 6),
    ],
)
def test_refused_settings_are_left_out_and_that_is_remembered(refused: tuple[str, ...], first: int) -> None:
    _, server = complete(picky(*refused))
    assert server.total == first
    _, server = complete(picky(*refused), times=3)
    assert server.total == first + 2


def test_one_refused_report_does_not_make_the_others_plainer() -> None:
    bodies = []

    def script(call: Call) -> Reply:
        bodies.append(call.body)
        return failing(400)(call) if len(bodies) <= 3 else ok(call)

    async def run(url: str) -> None:
        model = OpenAIChat("m", url, 5.0)
        with pytest.raises(RefusedRequestError):
            await model.complete(request())
        await model.complete(request())
        await model.aclose()

    with ScriptedServer(script) as server:
        asyncio.run(run(server.url))
    assert [body.get("response_format", {}).get("type") for body in bodies] == [
        "json_schema",
        "json_object",
        None,
        "json_schema",
    ]


def test_a_body_says_what_the_request_says() -> None:
    body = request_body(request())
    assert body["response_format"]["json_schema"] == {"name": "answer", "strict": True, "schema": request().schema}
    assert (body["temperature"], body["seed"], body["max_completion_tokens"]) == (0.0, 0, 1024)
    plain = request_body(request(), Dialect("text", "max_tokens", temperature=False, seed=False))
    assert plain == {"model": "m", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 1024}


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://api.example.com/v1/", "api.example.com/v1"),
        ("http://user:password@127.0.0.1:8000/v1?key=3", "127.0.0.1:8000/v1"),
        ("http://[::1]:8000", "::1:8000"),
    ],
)
def test_an_endpoint_holds_no_credentials(url: str, endpoint: str) -> None:
    assert endpoint_of(url) == endpoint


@pytest.mark.parametrize("url", ["", "example.com", "ftp://x/y", "http://", "http://x:port/", "http://[::1"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidValueError, match="--base-url"):
        endpoint_of(url)


def test_the_key_stays_with_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEY not in repr(OpenAIChat("m")) + str(vars(OpenAIChat("m")))
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(InvalidValueError, match="OPENAI_API_KEY"):
        OpenAIChat("m")


def test_a_key_is_sent_and_only_where_the_protocol_has_it() -> None:
    seen: list[Call] = []

    def script(call: Call) -> Reply:
        seen.append(call)
        return ok(call)

    complete(script)
    assert seen[0].headers["authorization"] == f"Bearer {KEY}"
    assert KEY not in json.dumps(seen[0].body)
