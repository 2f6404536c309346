"""Asking one model thousands of times: from the cache where it can, else paced, retried, counted and stored.

What is promised about money: an answer is on the disk before anything is made of it, so no request whose
answer was stored is sent again, by this run or a later one. Ctrl-C and every other stop let what is in
flight finish first. A killed process loses what was in flight, at most one request for each place in the
window; the ledger counts those at their worst case.
"""

import asyncio
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from manifests.errors import FactoryError, InvalidValueError, RetryError
from prompts.llm.cache import Cache, answer_statement
from prompts.llm.chat import (
    ChatError,
    ChatModel,
    ChatRequest,
    Completion,
    FatalChatError,
    RateLimitedError,
    RefusedRequestError,
    TransientChatError,
    Usage,
)
from prompts.llm.ledger import BudgetError, Hold, Ledger
from prompts.llm.pace import Pace, StoppedError

__all__ = ["NotCachedError", "Replay", "Runner", "SupportsClose"]

_ALL_REFUSED = 5
"""Requests that a server may refuse before its first answer; then it is the settings, not the reports."""


@runtime_checkable
class SupportsClose(Protocol):
    """A model that holds connections."""

    async def aclose(self) -> None:
        """Close them."""


class NotCachedError(ChatError):
    """The cache has no answer to a request, and nothing else may be asked."""

    def __init__(self, request: ChatRequest) -> None:
        super().__init__("not cached")
        self.request = request


@dataclass(slots=True)
class Replay:
    """Answers from the cache alone."""

    cache: Cache

    async def ask(self, request: ChatRequest) -> Completion:
        """Answer a request.

        Raises:
            NotCachedError: if it was never answered.
        """
        found = self.cache.get(request.key)
        if found is None:
            raise NotCachedError(request)
        return found


class Runner:
    """Asks one model.

    Attributes:
        cause: why the run stopped, once it has; None while it goes on and after an interrupt.
        sent: attempts that this run made.
        answered: those that brought an answer.
        reused: requests that the cache answered.
    """

    def __init__(self, model: ChatModel, cache: Cache, ledger: Ledger, pace: Pace) -> None:
        self.cache, self.ledger, self.pace = cache, ledger, pace
        self.cause: FactoryError | None = None
        self.sent = self.answered = self.reused = 0
        self._model = model
        self._refused = 0
        self._asked: dict[str, asyncio.Future[Completion]] = {}

    async def ask(self, request: ChatRequest) -> Completion:
        """Answer a request; an equal one that is in flight is waited for.

        Raises:
            StoppedError: if the run ends before there is an answer.
            ChatError: if the request failed as often as allowed, or is one that the server does not take.
        """
        key = request.key
        if key in self._asked:
            return await asyncio.shield(self._asked[key])
        found = self.cache.get(key)
        if found is not None:
            self.reused += 1
            return found
        future = self._asked[key] = asyncio.get_running_loop().create_future()
        try:
            completion = await self._retry(request)
        except BaseException as error:
            _fail(future, error)
            raise
        else:
            future.set_result(completion)
            return completion
        finally:
            del self._asked[key]

    async def stop(self, cause: FactoryError | None = None) -> None:
        """End the run: the first cause counts."""
        self.cause = self.cause or cause
        await self.pace.stop()

    async def close(self) -> None:
        """Close the connections of a model that has any."""
        if isinstance(self._model, SupportsClose):
            await self._model.aclose()

    async def _retry(self, request: ChatRequest) -> Completion:
        for attempt in range(self.pace.config.attempts):
            try:
                return await self._attempt(request)
            except RateLimitedError as error:
                failure: ChatError = error
                wait = error.retry_after_s is None  # else everybody waits as long as the server asked
            except TransientChatError as error:
                failure, wait = error, True
            if wait and attempt + 1 < self.pace.config.attempts:
                await self.pace.sleep(self.pace.backoff_s(attempt))
        raise failure

    async def _attempt(self, request: ChatRequest) -> Completion:
        """Make one attempt, write down what it cost, and stop the run where it shows that more would be in vain."""
        async with self.pace.slot() as started_s:
            try:
                async with self.ledger.attempt(request) as hold:
                    completion = await self._send(request, hold, started_s)
                    settled = self.ledger.settle(hold, completion.finish, completion.usage)
                    await self.cache.write(answer_statement(hold.key, completion), settled)
            except BudgetError:
                await self.stop(_over_budget(self.ledger))
                raise StoppedError from None
            except FactoryError as error:  # the disk: an answer that cannot be kept must not be followed by another
                await self.stop(error)
                raise StoppedError from None
        self.answered += 1
        await self.pace.succeeded()
        return completion

    async def _send(self, request: ChatRequest, hold: Hold, started_s: float) -> Completion:
        self.sent += 1
        try:
            return await self._model.complete(request)
        except ChatError as error:
            paid = isinstance(error, TransientChatError) and error.maybe_paid
            await self.cache.write(self.ledger.settle(hold, _kind(error), Usage(), paid=paid))
            await self._judge(error, started_s)
            raise

    async def _judge(self, error: ChatError, started_s: float) -> None:
        """Stop the run for an error that every further request would meet.

        Raises:
            StoppedError: if it does.
        """
        if isinstance(error, RefusedRequestError):
            self._refused += 1
            hopeless = not self.answered and self._refused >= _ALL_REFUSED
        else:
            hopeless = isinstance(error, FatalChatError)
        if hopeless:
            await self.stop(_fatal(error))
            raise StoppedError
        if isinstance(error, RateLimitedError):
            opened = self.pace.limited(started_s, error.retry_after_s)
        else:
            opened = isinstance(error, TransientChatError) and self.pace.failed()
        if opened:
            await self.stop(_broken(error))
            raise StoppedError


def _fail(future: "asyncio.Future[Completion]", error: BaseException) -> None:
    """Pass an error on to who waits for the same request, if anybody does."""
    if isinstance(error, Exception):
        future.set_exception(error)
        future.exception()  # nobody may be waiting, and that is no error
    else:
        future.cancel()


def _kind(error: ChatError) -> str:
    if isinstance(error, RateLimitedError):
        return "rate_limited"
    if isinstance(error, RefusedRequestError):
        return "refused_request"
    return "server_error" if isinstance(error, TransientChatError) else "fatal"


def _over_budget(ledger: Ledger) -> RetryError:
    spent = f"{ledger.total.tokens} tokens" + (f", {ledger.total.usd:.4f} USD" if ledger.priced else "")
    return RetryError(
        "budget",
        got=f"{spent} spent in all runs with this cache",
        need="room for the most that the next request can cost",
        do="Raise --max-usd or --max-tokens and run again; what was answered is kept.",
    )


def _fatal(error: ChatError) -> InvalidValueError:
    return InvalidValueError(
        "language model",
        got=str(error),
        need="a server that takes the request",
        do="Check OPENAI_API_KEY, --model and --base-url, and run again; what was answered is kept.",
    )


def _broken(error: ChatError) -> RetryError:
    wait_s = error.retry_after_s if isinstance(error, RateLimitedError) else None
    return RetryError(
        "language model",
        got=f"failures in a row, the last: {error}" + (f", which asks to wait {wait_s:.0f} s" if wait_s else ""),
        need="a server that answers",
        do="Run the same command again later; what was answered is kept.",
    )
