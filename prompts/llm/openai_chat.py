"""Any server that speaks the OpenAI chat completions protocol, through the `openai` client.

One call of `complete` is one attempt: the client's own retries are off. Only a request that the
server refuses for a setting it does not know (400, unpaid) is asked again at once, in plainer
terms, and what then worked is remembered for the run.
"""

import asyncio
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from manifests.errors import InvalidValueError, MissingDependencyError
from prompts.llm.chat import (
    ChatError,
    ChatRequest,
    Completion,
    FatalChatError,
    RateLimitedError,
    RefusedRequestError,
    TransientChatError,
)
from prompts.llm.completion import read_completion
from prompts.llm.lanes import Lanes

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

__all__ = ["DEFAULT_BASE_URL", "Dialect", "OpenAIChat", "default_url", "endpoint_of", "request_body"]

DEFAULT_BASE_URL = "https://api.openai.com/v1"
_REFUSED = (400, 413, 422)
_TEMPORARY = (408, 409, 425)
_UNPAYABLE = ("insufficient_quota", "billing_hard_limit_reached")


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a server takes: the way to ask for JSON, the name of the output limit, and the sampling settings."""

    json: str = "json_schema"
    limit: str = "max_completion_tokens"
    temperature: bool = True
    seed: bool = True

    def plainer(self, complaint: str) -> "Dialect | None":
        """Give up what a server's complaint names, else constrained JSON by one step; None if nothing is left."""
        if self.seed and re.search(r"\bseed\b", complaint):
            return replace(self, seed=False)
        if self.temperature and re.search(r"\btemperature\b", complaint):
            return replace(self, temperature=False)
        if self.limit == "max_completion_tokens" and "max_completion_tokens" in complaint:
            return replace(self, limit="max_tokens")
        step = {"json_schema": "json_object", "json_object": "text"}.get(self.json)
        return replace(self, json=step) if step else None


def request_body(request: ChatRequest, dialect: Dialect | None = None) -> dict[str, Any]:
    """Put a request as the JSON body of a chat completion."""
    dialect = dialect or Dialect()
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        dialect.limit: request.max_output_tokens,
    }
    if dialect.temperature:
        body["temperature"] = request.temperature
    if dialect.seed and request.seed is not None:
        body["seed"] = request.seed
    if dialect.json == "json_schema":
        schema = {"name": "answer", "strict": True, "schema": request.schema}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif dialect.json == "json_object":
        body["response_format"] = {"type": "json_object"}
    return body


def endpoint_of(base_url: str) -> str:
    """Host, port and path of a base URL, without credentials or query.

    Raises:
        InvalidValueError: if it is no http(s) URL.
    """
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in ("http", "https") or not host:
        raise InvalidValueError(
            "--base-url", got="no http(s) URL", need="for example http://127.0.0.1:8000/v1", do="Correct the URL."
        )
    return f"{host}{f':{port}' if port else ''}{parts.path.rstrip('/')}"


def default_url(stated: str | None) -> str:
    """Return the stated base URL, else that of `OPENAI_BASE_URL`, else the provider's own."""
    return stated or os.environ.get("OPENAI_BASE_URL") or DEFAULT_BASE_URL


class OpenAIChat:
    """One model of one server.

    The key is that of `OPENAI_API_KEY`; servers other than the default may do without. It is held by
    the client alone.

    Raises:
        MissingDependencyError: without the `openai` package.
        InvalidValueError: if the URL is none, or the default server lacks a key.
    """

    def __init__(self, model: str, base_url: str | None = None, timeout_s: float = 120.0) -> None:
        url = default_url(base_url)
        self.name, self.endpoint, self.timeout_s = model, endpoint_of(url), timeout_s
        self._lanes = Lanes(_maker(url, timeout_s))
        self._dialect = Dialect()
        self._raw = _response_type()

    def __repr__(self) -> str:
        """Name and host, nothing of the client."""
        return f"OpenAIChat({self.name!r}, {self.endpoint!r})"

    @property
    def client(self) -> "AsyncOpenAI":
        """One of the clients, for what is asked rarely."""
        return self._lanes.first

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer one request once.

        Raises:
            ChatError: one of its kinds; messages hold a status and the server's error code, never its words,
                which may repeat the key or the report.
        """
        dialect: Dialect | None = self._dialect
        while True:
            assert dialect is not None
            try:
                completion = await self._attempt(request, dialect)
            except _ComplaintError as error:
                dialect = dialect.plainer(error.complaint)
                if dialect is None:
                    raise RefusedRequestError(str(error)) from None
                continue
            self._dialect = dialect
            return completion

    async def aclose(self) -> None:
        """Close the connections."""
        await self._lanes.aclose()

    async def _attempt(self, request: ChatRequest, dialect: Dialect) -> Completion:
        import openai

        started = time.perf_counter()
        try:
            with self._lanes.place() as client:
                async with asyncio.timeout(
                    self.timeout_s
                ):  # the client's own limit is between bytes, not for the whole
                    # the typed method would walk through each message and the schema, and parse an answer that we read ourselves
                    raw = await client.post("/chat/completions", cast_to=self._raw, body=request_body(request, dialect))
        except (TimeoutError, openai.APITimeoutError):
            raise TransientChatError(f"no answer within {self.timeout_s:g} s", maybe_paid=True) from None
        except openai.APIStatusError as error:
            _raise(error)
        except openai.APIConnectionError as error:
            reason = type(error.__cause__).__name__ if error.__cause__ else "no connection"
            unsent = "connect" in reason.lower()
            raise TransientChatError(f"connection failed ({reason})", maybe_paid=not unsent) from None
        except openai.OpenAIError as error:
            raise TransientChatError(f"unreadable answer ({type(error).__name__})", maybe_paid=True) from None
        return read_completion(raw.content, time.perf_counter() - started)


class _ComplaintError(ChatError):
    """A refused request, with what the server said about it; the words stay inside this module."""

    def __init__(self, message: str, complaint: str) -> None:
        super().__init__(message)
        self.complaint = complaint


def _maker(url: str, timeout_s: float) -> Callable[[], "AsyncOpenAI"]:
    """Return what makes a client; all of them share the certificates, which take long to load."""
    try:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient
    except ImportError as error:
        raise MissingDependencyError(
            "--llm openai", got="no `openai` package", need="openai>=3.0", do="pip install 'ct-factory[openai]'"
        ) from error
    key = os.environ.get("OPENAI_API_KEY")
    if not key and url == DEFAULT_BASE_URL:
        raise InvalidValueError(
            "OPENAI_API_KEY", got="nothing", need="a key for the default server", do="Set it, or give --base-url."
        )
    trusted = _certificates()

    def make() -> AsyncOpenAI:
        transport = DefaultAsyncHttpxClient(verify=trusted)
        return AsyncOpenAI(api_key=key or "none", base_url=url, timeout=timeout_s, max_retries=0, http_client=transport)

    return make


def _certificates() -> Any:
    import httpx2

    return httpx2.create_ssl_context()


def _response_type() -> type[Any]:
    """The client's type of a response as it came."""
    import httpx2

    return httpx2.Response


def _raise(error: "APIStatusError") -> NoReturn:
    """Put a status as one of the kinds of errors."""
    status, code = error.status_code, _code(error)
    label = f"HTTP {status}" + (f" ({code})" if code else "")
    if status == 429 and code not in _UNPAYABLE:
        raise RateLimitedError(label, _retry_after_s(error.response.headers)) from None
    if code == "context_length_exceeded":
        raise RefusedRequestError(label) from None
    if status in _REFUSED:
        raise _ComplaintError(label, f"{error.param or ''} {error.message}") from None
    if status >= 500 or status in _TEMPORARY:
        raise TransientChatError(label) from None
    raise FatalChatError(label) from None


def _code(error: "APIStatusError") -> str:
    """Return the error code or type of a server, if it is a plain identifier and so holds nothing of ours."""
    for name in (error.code, error.type):
        if isinstance(name, str) and re.fullmatch(r"[a-z][a-z_]{2,40}", name):
            return name
    return ""


def _retry_after_s(headers: Any) -> float | None:
    """Read Retry-After as seconds or as an HTTP date; None where it is missing or unreadable."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name)
        if text and re.fullmatch(r"\s*\d{1,9}(\.\d+)?\s*", text):
            return float(text) * scale
    try:
        until = parsedate_to_datetime(headers.get("retry-after") or "")
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())
