"""One report, one conversation: ask, check the answer, ask again with what was wrong, a bounded number of times."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Literal

from prompts.llm.answer import Answer, AnswerError, parse_answer
from prompts.llm.chat import ChatRequest, Completion, Message
from prompts.llm.instructions import repair_message

__all__ = ["Ask", "Failure", "Outcome", "converse"]

Ask = Callable[[ChatRequest], Awaitable[Completion]]
"""Answers one request: from a cache, or from a model with pacing, retries and a budget."""

_MAX_REPEATED = 8_000
"""Characters of a wrong answer that a repair repeats to the model."""


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


async def converse(first: ChatRequest, ask: Ask, repairs: int = 2) -> Outcome:
    """Ask `first`; repair an answer that cannot be read at most `repairs` times.

    A truncated answer is asked for once more with twice the length, which is no repair. Each request follows
    from `first` and the answers before it, so a repeated conversation repeats its requests.

    Raises:
        ChatError: what `ask` raises passes through.
    """
    request, requests, lengthened = first, 0, False
    while True:
        completion = await ask(request)
        requests += 1
        if completion.finish == "length" and not lengthened:
            lengthened = True
            request = replace(request, max_output_tokens=2 * request.max_output_tokens)
            continue
        if completion.finish != "stop":
            return Outcome(None, _unfinished(completion.finish, request), requests)
        try:
            return Outcome(parse_answer(completion.text), None, requests)
        except AnswerError as error:
            if repairs <= 0:
                return Outcome(None, Failure(error.kind, error.detail), requests)
            repairs -= 1
            request = _repair(first, request, completion.text, error)


def _unfinished(finish: str, request: ChatRequest) -> Failure:
    if finish == "length":
        return Failure("truncated", f"no end within {request.max_output_tokens} tokens")
    if finish == "content_filter":
        return Failure("filtered", "the server's filter stopped the answer")
    return Failure("refusal", "the model refused to answer")


def _repair(first: ChatRequest, last: ChatRequest, answer: str, error: AnswerError) -> ChatRequest:
    """Repeat the first question with the last wrong answer only, so that repairs do not grow."""
    wrong = Message("assistant", answer[:_MAX_REPEATED])
    return replace(last, messages=(*first.messages, wrong, repair_message(error.detail)))
