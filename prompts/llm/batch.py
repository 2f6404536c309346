"""A provider's batch interface in two commands that may be repeated at will: submit, and collect.

A batch is written down before each of its steps (planned, uploaded, created, done), so that an
interrupted command goes on where it was: a file or a batch that the provider got without our
hearing of it is found again by its name. A request is in one batch at a time and none is sent
while its answer is kept; what failed is sent again by the next submit alone.
"""

import asyncio
import json
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from manifests.errors import FactoryError, InvalidValueError, RetryError
from prompts.llm.cache import Cache, Statement, answer_statement
from prompts.llm.chat import ChatRequest, TransientChatError, Usage
from prompts.llm.completion import completion_of
from prompts.llm.conversation import converse
from prompts.llm.ledger import Budget, Hold, Ledger, worst_case
from prompts.llm.openai_chat import OpenAIChat, request_body
from prompts.llm.reports import ModelSettings
from prompts.llm.runner import NotCachedError, Replay
from prompts.sources import Report

__all__ = ["MAX_BYTES", "MAX_REQUESTS", "BatchState", "Batches", "collect", "submit"]

MAX_REQUESTS, MAX_BYTES = 50_000, 100_000_000
"""Largest batch: requests, and bytes of its file."""
_ENDED = ("completed", "failed", "expired", "cancelled")


@dataclass(frozen=True, slots=True)
class Batches:
    """Where batches go, and where their state and answers are kept."""

    model: OpenAIChat
    settings: ModelSettings
    cache: Path
    budget: Budget = field(default_factory=Budget)


@dataclass(slots=True)
class BatchState:
    """How far the batches of some reports are.

    Attributes:
        sent: requests that this command handed over.
        running: requests at the provider.
        answered: answers that this command brought.
        missing: reports whose next request is neither answered nor at the provider.
        failed: of those, the reports whose request the provider could not answer, with its reason.
        complete: whether every report is read to its end.
    """

    sent: int = 0
    running: int = 0
    answered: int = 0
    missing: int = 0
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether every report is read to its end."""
        return not self.running and not self.missing


def submit(reports: Sequence[Report], batches: Batches) -> BatchState:
    """Hand over every request that is neither answered nor at the provider.

    Raises:
        InputError: if the provider refuses, or the worst case exceeds the budget; nothing is sent then.
        RetryError: if the provider cannot be reached.
    """
    return asyncio.run(_run(reports, batches, submitting=True))


def collect(reports: Sequence[Report], batches: Batches) -> BatchState:
    """Keep the answers of batches that ended; nothing is sent.

    Raises:
        InputError: if the provider refuses.
        RetryError: if it cannot be reached.
    """
    return asyncio.run(_run(reports, batches, submitting=False))


async def _run(reports: Sequence[Report], batches: Batches, *, submitting: bool) -> BatchState:
    try:
        with Cache(batches.cache) as cache, cache.lock(), _explained():
            desk = _Desk(batches, cache)
            if submitting:
                sent = await desk.submit(await _open_requests(reports, batches, cache))
                return await _state(reports, batches, cache, BatchState(sent=sent))
            return await _state(reports, batches, cache, BatchState(answered=await desk.collect()))
    finally:
        await batches.model.aclose()


async def _open_requests(
    reports: Sequence[Report], batches: Batches, cache: Cache
) -> dict[str, tuple[Report, ChatRequest]]:
    """The next request of each conversation that is not at its end, by key."""
    found: dict[str, tuple[Report, ChatRequest]] = {}
    for report in reports:
        try:
            await converse(batches.settings.first(report), Replay(cache).ask, batches.settings.repairs)
        except NotCachedError as error:
            found.setdefault(error.request.key, (report, error.request))
    return found


async def _state(reports: Sequence[Report], batches: Batches, cache: Cache, state: BatchState) -> BatchState:
    items = {key: (kind, detail) for key, kind, detail in cache.rows("SELECT key, state, detail FROM batch_items")}
    for key, (report, _) in (await _open_requests(reports, batches, cache)).items():
        kind, detail = items.get(key, ("", ""))
        if kind == "pending":
            state.running += 1
            continue
        state.missing += 1
        if kind == "failed":
            state.failed[report.source] = detail
    return state


class _Desk:
    """The steps of batches at one provider."""

    def __init__(self, batches: Batches, cache: Cache) -> None:
        self._client, self._cache = batches.model.client, cache
        self._endpoint = batches.model.endpoint
        self._ledger = Ledger(cache, batches.budget)

    async def submit(self, wanted: Mapping[str, tuple[Report, ChatRequest]]) -> int:
        """Finish what an interrupted command began, then hand over what is not at the provider yet."""
        requests = {key: request for key, (_, request) in wanted.items()}
        begun = await self._resume(requests)
        pending = {key for (key,) in self._cache.rows("SELECT key FROM batch_items WHERE state = 'pending'")}
        fresh = {key: request for key, request in requests.items() if key not in pending}
        self._afford(list(fresh.values()))
        for part in _parts(fresh):
            name = uuid.uuid4().hex
            await self._cache.write(*self._plan(name, part))
            await self._upload(name, part)
            await self._create(name)
        return begun + len(fresh)

    async def collect(self) -> int:
        """Keep what ended batches brought."""
        rows = self._cache.rows(
            "SELECT id, batch FROM batches WHERE state = 'created' AND endpoint = ?", self._endpoint
        )
        answered = 0
        for name, batch_id in rows:
            batch = await self._client.batches.retrieve(batch_id)
            if batch.status in _ENDED:
                lines = [line async for line in self._lines(batch.output_file_id, batch.error_file_id)]
                answered += await self._keep(name, str(batch.status), lines)
        return answered

    async def _resume(self, requests: Mapping[str, ChatRequest]) -> int:
        sql = "SELECT id, state FROM batches WHERE state IN ('planned', 'uploaded') AND endpoint = ?"
        begun = 0
        for name, state in self._cache.rows(sql, self._endpoint):
            keys = [key for (key,) in self._cache.rows("SELECT key FROM batch_items WHERE batch = ?", name)]
            if state == "planned":
                if not set(keys) <= set(requests):  # the reports are others now: what was never sent is forgotten
                    await self._cache.write(*_forget(name))
                    continue
                await self._upload(name, {key: requests[key] for key in keys}, maybe_there=True)
            await self._create(name, maybe_there=True)
            begun += len(keys)
        return begun

    def _afford(self, requests: Sequence[ChatRequest]) -> None:
        worst = [worst_case(request) for request in requests]
        most = Usage(sum(item.input for item in worst), sum(item.output for item in worst))
        if requests and not self._ledger.check(most):
            raise InvalidValueError(
                "budget",
                got=f"{len(requests)} requests of at most {most.input + most.output} tokens together",
                need="room for all of them",
                do="Raise --max-usd or --max-tokens, or submit fewer reports.",
            )

    def _plan(self, name: str, part: Mapping[str, ChatRequest]) -> list[Statement]:
        begin: Statement = (
            "INSERT INTO batches VALUES (?, ?, 'planned', NULL, NULL, datetime('now'))",
            (name, self._endpoint),
        )
        items: list[Statement] = [
            ("INSERT OR REPLACE INTO batch_items VALUES (?, ?, 'pending', '')", (key, name)) for key in part
        ]
        holds = [Hold(f"{name}:{key}", key, worst_case(request)) for key, request in part.items()]
        return [begin, *items, *(self._ledger.settle(hold, "batched", Usage()) for hold in holds)]

    async def _upload(self, name: str, part: Mapping[str, ChatRequest], *, maybe_there: bool = False) -> None:
        file_name, file_id = f"ct-factory-{name}.jsonl", None
        if maybe_there:
            async for file in self._client.files.list(purpose="batch"):
                file_id = file.id if file.filename == file_name else file_id
        if file_id is None:
            data = b"".join(_line(key, request) for key, request in part.items())
            file_id = (await self._client.files.create(file=(file_name, data), purpose="batch")).id
        await self._cache.write(("UPDATE batches SET state = 'uploaded', file = ? WHERE id = ?", (file_id, name)))

    async def _create(self, name: str, *, maybe_there: bool = False) -> None:
        [(file_id,)] = self._cache.rows("SELECT file FROM batches WHERE id = ?", name)
        batch_id = None
        if maybe_there:
            async for batch in self._client.batches.list():
                batch_id = batch.id if batch.input_file_id == file_id else batch_id
        if batch_id is None:
            made = await self._client.batches.create(
                input_file_id=file_id, endpoint="/v1/chat/completions", completion_window="24h"
            )
            batch_id = made.id
        await self._cache.write(("UPDATE batches SET state = 'created', batch = ? WHERE id = ?", (batch_id, name)))

    async def _lines(self, *file_ids: str | None) -> Any:
        for file_id in file_ids:
            if file_id:
                content = await self._client.files.content(file_id)
                for line in content.content.split(b"\n"):
                    if line.strip():
                        yield line

    async def _keep(self, name: str, status: str, lines: Sequence[bytes]) -> int:
        """Write down everything about one batch in one transaction."""
        open_keys = {key for (key,) in self._cache.rows("SELECT key FROM batch_items WHERE batch = ?", name)}
        statements: list[Statement] = [("UPDATE batches SET state = 'done' WHERE id = ?", (name,))]
        answered = 0
        failed = dict.fromkeys(open_keys, f"batch {status}")
        for key, value in _parsed(lines):
            if key not in failed:
                continue
            try:
                completion = completion_of(_body(value), 0.0)
            except TransientChatError:
                failed[key] = _detail(value)
                continue
            del failed[key]
            answered += 1
            hold = Hold(f"{name}:{key}", key, Usage())
            statements += [answer_statement(key, completion), self._ledger.settle(hold, "batch", completion.usage)]
            statements.append(("DELETE FROM batch_items WHERE key = ?", (key,)))
        for key, detail in failed.items():
            statements.append(("UPDATE batch_items SET state = 'failed', detail = ? WHERE key = ?", (detail, key)))
            statements.append(("DELETE FROM attempts WHERE id = ?", (f"{name}:{key}",)))  # failed items are not charged
        await self._cache.write(*statements)
        return answered


def _forget(name: str) -> list[Statement]:
    return [
        ("DELETE FROM attempts WHERE id LIKE ? || ':%'", (name,)),
        ("DELETE FROM batch_items WHERE batch = ?", (name,)),
        ("DELETE FROM batches WHERE id = ?", (name,)),
    ]


def _line(key: str, request: ChatRequest) -> bytes:
    value = {"custom_id": key, "method": "POST", "url": "/v1/chat/completions", "body": request_body(request)}
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _parts(requests: Mapping[str, ChatRequest]) -> Iterator[dict[str, ChatRequest]]:
    """Divide requests into batches that a provider takes."""
    part: dict[str, ChatRequest] = {}
    size = 0
    for key, request in requests.items():
        length = len(_line(key, request))
        if part and (len(part) >= MAX_REQUESTS or size + length > MAX_BYTES):
            yield part
            part, size = {}, 0
        part[key] = request
        size += length
    if part:
        yield part


def _parsed(lines: Sequence[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    for line in lines:
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue  # its request counts as failed, because nothing answers it
        if isinstance(value, dict) and isinstance(value.get("custom_id"), str):
            yield value["custom_id"], value


def _body(value: dict[str, Any]) -> Any:
    response = value.get("response")
    return response.get("body") if isinstance(response, dict) and response.get("status_code") == 200 else None


def _detail(value: dict[str, Any]) -> str:
    """Why an item failed, in the provider's code or status; its words may repeat the report."""
    response, error = value.get("response"), value.get("error")
    status = response.get("status_code") if isinstance(response, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    known = isinstance(code, str) and re.fullmatch(r"[a-z][a-z_]{2,40}", code)
    return str(code) if known else f"HTTP {status}" if isinstance(status, int) else "unreadable answer"


@contextmanager
def _explained() -> Iterator[None]:
    """Put the client's errors into the tree, without the server's words."""
    import openai

    try:
        yield
    except FactoryError:
        raise
    except openai.APIStatusError as error:
        later = error.status_code >= 500 or error.status_code in (408, 429)
        raise _trouble(f"HTTP {error.status_code}", later=later) from None
    except openai.OpenAIError as error:
        raise _trouble(type(error).__name__, later=True) from None


def _trouble(got: str, *, later: bool) -> FactoryError:
    if later:
        return RetryError(
            "provider's batches", got=got, need="a provider that answers", do="Run the same command again later."
        )
    return InvalidValueError(
        "provider's batches",
        got=got,
        need="a server that takes batches",
        do="Check OPENAI_API_KEY and --base-url; not every server offers batches.",
    )
