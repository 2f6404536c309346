"""A server of chat completions that does as a script says: well, badly, or not at all. It counts what it is asked.

Real HTTP/1.1 with connections that stay open, on loopback, in a thread of its own. Files and batches are there too.
"""

import asyncio
import json
import re
import threading
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from prompts.llm.answer import empty_answer

__all__ = ["Call", "Reply", "Script", "ScriptedServer", "answer_json", "completion", "make_report", "ok"]


@dataclass(frozen=True)
class Call:
    """One request for a completion; `times` is how often the same messages have come, from 1."""

    body: dict[str, Any]
    headers: dict[str, str]
    report: str
    times: int
    number: int


@dataclass(frozen=True)
class Reply:
    """What goes back: after `delay_s`; only `cut` bytes of it, then the connection is closed."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    cut: int | None = None


Script = Callable[[Call], Reply]


def make_report(number: int, *, words: str = "") -> str:
    """A short report; `words` may steer a script."""
    return f"Report {number}. A {40 + number % 40}-year-old woman. CT of the abdomen: 34 mm left renal mass. {words}"


def answer_json(report: str, **changed: Any) -> str:
    """The right answer about a report of `make_report`, with some fields changed."""
    age = re.search(r"A (\d+)-year-old woman", report)
    quote = age[0] if age else ""
    tumour = {
        "quote": "34 mm left renal mass",
        "status": "present",
        "organ": "kidney",
        "site": "not_stated",
        "side": "left",
        "count": "not_stated",
        "size_quote": "34 mm",
        "size": "34",
        "size_unit": "mm",
        "stage_quote": "",
        "t": "not_stated",
        "n": "not_stated",
        "m": "not_stated",
    }
    stated = {
        "age_quote": quote,
        "age": age[1] if age else "not_stated",
        "age_unit": "years" if age else "not_stated",
        "sex_quote": quote,
        "sex": "female" if age else "not_stated",
        "tumours": [tumour] if "renal mass" in report else [],
    }
    return json.dumps({**empty_answer().model_dump(mode="json"), **stated, **changed})


def completion(content: str | None, finish: str = "stop", *, refusal: str | None = None, usage: bool = True) -> bytes:
    """The body of an answer; 300 tokens in and 100 out."""
    message = {"role": "assistant", "content": content, "refusal": refusal}
    value: dict[str, Any] = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted-1",
        "choices": [{"index": 0, "message": message, "finish_reason": finish, "logprobs": None}],
    }
    if usage:
        value["usage"] = {"prompt_tokens": 300, "completion_tokens": 100, "total_tokens": 400}
    return json.dumps(value).encode()


def ok(call: Call) -> Reply:
    """Answer rightly."""
    return Reply(body=completion(answer_json(call.report)))


class ScriptedServer:
    """The server, as a context manager.

    Attributes:
        url: base URL for clients.
        asked: how often each report was asked about.
        paid: how often each conversation (all of its messages) was answered with tokens spent.
        most: most requests that were in flight together.
        files, batches: of the batch interface, by id; a batch ends when `finish_batches` is called.
    """

    def __init__(self, script: Script = ok) -> None:
        self.script = script
        self.asked: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.total = self.in_flight = self.most = 0
        self.files: dict[str, dict[str, Any]] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.fail_next: dict[str, Reply] = {}
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "ScriptedServer":
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *trouble: object) -> None:
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def _serve(self) -> None:
        self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self) -> None:
        self._closing = asyncio.Event()
        self._connections: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0, backlog=512)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._closing.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        reply = self._route(method, path.partition("?")[0].removeprefix("/v1"), headers, body)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(reply.delay_s)
        finally:
            self.in_flight -= 1
        fields = {"Content-Type": "application/json", "Content-Length": str(len(reply.body)), **reply.headers}
        data = f"HTTP/1.1 {reply.status} Scripted\r\n" + "".join(
            f"{name}: {value}\r\n" for name, value in fields.items()
        )
        sent = data.encode() + b"\r\n" + reply.body
        writer.write(sent if reply.cut is None else sent[: len(data) + 2 + reply.cut])
        await writer.drain()
        return reply.cut is None

    def _route(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Reply:
        if path == "/chat/completions":
            return self._complete(json.loads(body), headers)
        scripted = self.fail_next.pop(f"{method} {path}", None)
        value = self._batch_route(method, path, headers, body)
        if scripted is not None:
            return scripted  # it was done, but the client does not hear of it
        if isinstance(value, bytes):
            return Reply(body=value, headers={"Content-Type": "application/octet-stream"})
        return Reply(404, b'{"error": {"message": "no such thing"}}') if value is None else Reply(body=_json(value))

    def _complete(self, body: dict[str, Any], headers: dict[str, str]) -> Reply:
        content = json.dumps(body["messages"])
        users = [message["content"] for message in body["messages"] if message["role"] == "user"]
        found = re.search(r"Report \d+\..*", users[0])
        report = found[0] if found else users[0]
        self.total += 1
        self.seen[content] += 1
        self.asked[report] += 1
        reply = self.script(Call(body, headers, report, self.seen[content], self.total))
        if reply.status == 200:
            self.paid[content + str(body.get("max_completion_tokens"))] += 1
        return reply

    def _batch_route(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        if (method, path) == ("POST", "/files"):
            boundary = headers["content-type"].split("boundary=")[1].encode()
            part = next(part for part in body.split(b"--" + boundary) if b"filename=" in part)
            name = re.search(rb'filename="([^"]+)"', part)
            data = part.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n")
            assert name is not None
            return self._file(name[1].decode(), data)
        if (method, path) == ("GET", "/files"):
            return _page([{k: v for k, v in item.items() if k != "data"} for item in self.files.values()])
        if path.endswith("/content"):
            return self.files[path.split("/")[2]]["data"]
        if (method, path) == ("POST", "/batches"):
            identity = f"batch_{len(self.batches)}"
            self.batches[identity] = {
                "id": identity,
                "object": "batch",
                "status": "in_progress",
                "created_at": 1,
                **json.loads(body),
            }
            return self.batches[identity]
        if (method, path) == ("GET", "/batches"):
            return _page(list(self.batches.values()))
        return self.batches.get(path.removeprefix("/batches/"))

    def _file(self, name: str, data: bytes) -> dict[str, Any]:
        identity = f"file_{len(self.files)}"
        value = {"id": identity, "object": "file", "filename": name, "purpose": "batch", "created_at": 1}
        value |= {"bytes": len(data), "status": "processed"}
        self.files[identity] = {**value, "data": data}
        return value

    def finish_batches(self, status: str = "completed") -> None:
        """Let the batches under way end: each request is answered as the script says."""
        for batch in self.batches.values():
            if batch["status"] != "in_progress":
                continue
            good, bad = [], []
            for line in self.files[batch["input_file_id"]]["data"].splitlines():
                item = json.loads(line)
                reply = self._complete(item["body"], {})
                body = json.loads(reply.body) if reply.status == 200 else None
                value = {"custom_id": item["custom_id"], "error": None}
                (good if body else bad).append({**value, "response": {"status_code": reply.status, "body": body}})
            batch["output_file_id"] = self._file("out.jsonl", _lines(good))["id"] if good else None
            batch["error_file_id"] = self._file("err.jsonl", _lines(bad))["id"] if bad else None
            batch["status"] = status


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _lines(values: list[dict[str, Any]]) -> bytes:
    return b"".join(_json(value) + b"\n" for value in values)


def _page(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"object": "list", "data": items, "has_more": False}
