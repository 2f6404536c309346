"""Reading the JSON body of a chat completion, as a server sends it now or a batch file later."""

import json
from typing import Any, get_args

from prompts.llm.chat import Completion, Finish, TransientChatError, Usage

__all__ = ["completion_of", "read_completion"]

_FINISHES = get_args(Finish)


def read_completion(body: bytes, latency_s: float) -> Completion:
    """Read a body.

    Raises:
        TransientChatError: if it is no JSON or lacks an answer; it may have been paid for.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise TransientChatError("the body of the answer is no JSON", maybe_paid=True) from None
    return completion_of(value, latency_s)


def completion_of(value: Any, latency_s: float) -> Completion:
    """Read a parsed body; a finish that is not known counts as "stop", because the text is checked anyway.

    Raises:
        TransientChatError: if it lacks an answer.
    """
    try:
        choice = value["choices"][0]
        message = choice["message"]
        text, refusal, finish = message.get("content"), message.get("refusal"), choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise TransientChatError("the body of the answer has no message", maybe_paid=True) from None
    if isinstance(refusal, str) and refusal:
        text, finish = refusal, "refusal"
    return Completion(
        text.encode("utf-8", "replace").decode() if isinstance(text, str) else "",  # half a surrogate pair is no text
        finish if finish in _FINISHES else "stop",
        _usage(value.get("usage")),
        str(value.get("model") or ""),
        latency_s,
    )


def _usage(value: Any) -> Usage:
    """Token counts; all zero where the server reports none."""
    if not isinstance(value, dict):
        return Usage()
    details = value.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return Usage(_count(value.get("prompt_tokens")), _count(value.get("completion_tokens")), _count(cached))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
