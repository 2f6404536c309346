"""The boundary to language models: one request, one completion, and the ways in which it fails.

A `ChatModel` is one server or one local model. It neither retries nor caches nor counts: that is
the business of who calls it, so that each attempt is seen, paid for and paced in one place.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from manifests.identity import canonical_json

__all__ = [
    "ChatError",
    "ChatModel",
    "ChatRequest",
    "Completion",
    "FatalChatError",
    "Message",
    "RateLimitedError",
    "RefusedRequestError",
    "TransientChatError",
    "Usage",
]

Finish = Literal["stop", "length", "content_filter", "refusal"]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """Everything that decides an answer.

    Attributes:
        model: name of the model as its server knows it, or the content hash of a local one.
        endpoint: host of the server, or "local"; the same name elsewhere is another model.
        messages: the conversation so far.
        schema: JSON schema of the answer, sent to servers that constrain their output.
        template: version of the instructions, e.g. "extract-1".
        max_output_tokens: longest answer.
        temperature: 0 for the most likely answer.
        seed: sampling seed, where the server takes one.
    """

    model: str
    endpoint: str
    messages: tuple[Message, ...]
    schema: dict[str, Any]
    template: str
    max_output_tokens: int = 1024
    temperature: float = 0.0
    seed: int | None = 0

    @property
    def key(self) -> str:
        """SHA-256 of the whole content: requests with one key have one answer."""
        content = {
            "model": self.model,
            "endpoint": self.endpoint,
            "messages": [[message.role, message.content] for message in self.messages],
            "schema": self.schema,
            "template": self.template,
            "max_output_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
        }
        return hashlib.sha256(canonical_json(content).encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one attempt, as the server counted them; `cached_input` of `input` came at a lower price."""

    input: int = 0
    output: int = 0
    cached_input: int = 0


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer, good or not: a refusal and a truncated text are answers, and paid for.

    Attributes:
        text: what the model wrote; of a refusal, its words.
        finish: why it stopped.
        usage: tokens of this attempt.
        model: the model that the server says it used.
        latency_s: seconds from request to answer.
    """

    text: str
    finish: Finish
    usage: Usage
    model: str
    latency_s: float


class ChatError(Exception):
    """No completion came back."""


class RateLimitedError(ChatError):
    """The server asks to slow down (429); `retry_after_s` is what it asked for, if it said."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TransientChatError(ChatError):
    """The same request may succeed later: 5xx, time-out, a connection that closed half-way.

    `maybe_paid` where the server may have made, and charged for, an answer that never arrived.
    """

    def __init__(self, message: str, *, maybe_paid: bool = False) -> None:
        super().__init__(message)
        self.maybe_paid = maybe_paid


class FatalChatError(ChatError):
    """The same request fails again: wrong key, unknown model, a request that the server refuses (4xx)."""


class RefusedRequestError(FatalChatError):
    """The server does not take this very request (400, 413, 422), for example for its length; another may pass."""


@runtime_checkable
class ChatModel(Protocol):
    """One server or local model."""

    @property
    def name(self) -> str:
        """The model as requests name it."""

    @property
    def endpoint(self) -> str:
        """The host as requests name it."""

    async def complete(self, request: ChatRequest) -> Completion:
        """Answer one request once, without retrying.

        Raises:
            ChatError: one of its three kinds, never with a key or a report text in its message.
        """
