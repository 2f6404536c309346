"""One report, one conversation: ask, check the answer, ask again with what was wrong, a bounded number of times."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from prompts.llm.answer import Answer
from prompts.llm.chat import ChatRequest, Completion

__all__ = ["Ask", "Failure", "Outcome", "converse"]

Ask = Callable[[ChatRequest], Awaitable[Completion]]
"""Answers one request: from a cache, or from a model with pacing, retries and a budget."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a report gave no valid answer; the reason of its reject row."""

    kind: Literal["refusal", "truncated", "filtered", "invalid_json", "schema"]
    detail: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a conversation ended with: an answer or a failure, after so many requests."""

    answer: Answer | None
    failure: Failure | None
    requests: int


async def converse(report: str, first: ChatRequest, ask: Ask, repairs: int = 2) -> Outcome:
    """Ask `first` about a report; repair an invalid answer at most `repairs` times.

    Raises:
        ChatError: what `ask` raises passes through.
    """
    raise NotImplementedError
