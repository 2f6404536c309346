"""The ledger: tokens and money of every attempt, whatever came of it, and budgets that hold.

An attempt is written down before it is sent, at the most that it can cost; what the server
reports replaces that. An attempt of a killed process and an answer that never arrived keep the
worst case, because they may have been charged. Sums are over all runs with one cache file.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from manifests.errors import InvalidValueError
from prompts.llm.cache import Cache, Statement
from prompts.llm.chat import ChatRequest, Usage

__all__ = ["Budget", "BudgetError", "Hold", "Ledger", "Prices", "Totals", "worst_case"]

_MESSAGE_TOKENS = 32
"""Tokens that a chat template may add to a message; known templates add fewer than ten."""
_UNSENT = "started"


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars for a million tokens."""

    input_usd: float
    output_usd: float

    def usd(self, usage: Usage) -> float:
        """Price of some tokens; cached input is counted in full, so the sum is never too low."""
        return (usage.input * self.input_usd + usage.output * self.output_usd) / 1e6


@dataclass(frozen=True, slots=True)
class Budget:
    """Limits on the sums over all runs; None where there is none.

    Raises:
        InvalidValueError: if money is limited without prices, or a number is negative.
    """

    prices: Prices | None = None
    max_usd: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        if self.max_usd is not None and self.prices is None:
            raise InvalidValueError(
                "--max-usd", got="no prices", need="--price-in and --price-out", do="Give the prices of your provider."
            )
        stated = (
            self.max_usd,
            self.max_tokens,
            *((self.prices.input_usd, self.prices.output_usd) if self.prices else ()),
        )
        if any(value is not None and not 0 <= value < float("inf") for value in stated):
            raise InvalidValueError("budget", got="a negative number", need="0 or more", do="Correct the options.")


@dataclass(slots=True)
class Totals:
    """Sums over attempts; `estimated` of the tokens are upper bounds where no usage was reported."""

    attempts: int = 0
    input: int = 0
    output: int = 0
    estimated: int = 0
    usd: float = 0.0

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input + self.output


@dataclass(frozen=True, slots=True)
class Hold:
    """What one attempt in flight may cost."""

    id: str
    key: str
    worst: Usage


class BudgetError(Exception):
    """The next attempt could exceed a budget; nothing was sent."""


def worst_case(request: ChatRequest) -> Usage:
    """Bound the tokens of a request: a token covers at least one byte of what is sent."""
    sent = sum(len(message.content.encode("utf-8", "replace")) + _MESSAGE_TOKENS for message in request.messages)
    return Usage(
        sent + len(str(request.schema).encode("utf-8", "replace")) + _MESSAGE_TOKENS, request.max_output_tokens
    )


class Ledger:
    """The sums of one cache file under a budget. Attempts that an earlier process left open are closed at their worst."""

    def __init__(self, cache: Cache, budget: Budget) -> None:
        self._cache, self._budget = cache, budget
        self._held: dict[str, Hold] = {}
        self._settled = asyncio.Condition()
        cache.write_now(("UPDATE attempts SET kind = 'lost' WHERE kind = ?", (_UNSENT,)))
        self.total = self._load()
        self.run = Totals()

    @asynccontextmanager
    async def attempt(self, request: ChatRequest) -> AsyncIterator[Hold]:
        """Reserve an attempt and write it down; what is not settled inside keeps its worst case.

        Waits while attempts in flight hold what this one needs.

        Raises:
            BudgetError: if it could exceed the budget with nothing in flight.
        """
        hold = Hold(uuid.uuid4().hex, request.key, worst_case(request))
        await self._reserve(hold)
        try:
            await self._cache.write(self._row(hold, _UNSENT, hold.worst, reported=False))
            yield hold
        finally:
            self._held.pop(hold.id, None)
            async with self._settled:
                self._settled.notify_all()

    def settle(self, hold: Hold, kind: str, usage: Usage, *, paid: bool = True) -> Statement:
        """Close an attempt: with what was reported, at its worst if nothing was, or at nothing if it was not paid.

        Returns:
            What the caller writes, together with the answer.
        """
        self._held.pop(hold.id, None)
        reported = not paid or usage != Usage()
        charged = usage if reported else hold.worst
        for totals in (self.total, self.run):
            _add(totals, charged, reported, self._usd(charged))
        return self._row(hold, kind, charged, reported=reported)

    def projected(self, requests: float) -> Totals:
        """Extrapolate the sums to so many further requests, from the mean of this run's attempts."""
        left = requests / self.run.attempts if self.run.attempts else 0.0
        run, total = self.run, self.total
        return Totals(
            round(total.attempts + run.attempts * left),
            round(total.input + run.input * left),
            round(total.output + run.output * left),
            total.estimated,
            total.usd + run.usd * left,
        )

    @property
    def priced(self) -> bool:
        """Whether sums of money mean anything."""
        return self._budget.prices is not None

    def check(self, usage: Usage) -> bool:
        """Tell whether so many more tokens fit, beside what is in flight."""
        worst = [usage, *(hold.worst for hold in self._held.values())]
        tokens = self.total.tokens + sum(item.input + item.output for item in worst)
        usd = self.total.usd + sum(self._usd(item) or 0.0 for item in worst)
        budget = self._budget
        return (budget.max_tokens is None or tokens <= budget.max_tokens) and (
            budget.max_usd is None or usd <= budget.max_usd
        )

    async def _reserve(self, hold: Hold) -> None:
        async with self._settled:
            while not self.check(hold.worst):
                if not self._held:
                    raise BudgetError
                await self._settled.wait()
            self._held[hold.id] = hold

    def _usd(self, usage: Usage) -> float | None:
        return self._budget.prices.usd(usage) if self._budget.prices else None

    def _row(self, hold: Hold, kind: str, usage: Usage, *, reported: bool) -> Statement:
        values = (
            hold.id,
            hold.key,
            kind,
            int(reported),
            usage.input,
            usage.output,
            usage.cached_input,
            self._usd(usage),
        )
        return "INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?, datetime('now'))", values

    def _load(self) -> Totals:
        """Sum up what stands in the file; what was spent without prices counts at the present ones."""
        totals = Totals()
        sql = (
            "SELECT count(*), usd IS NULL, reported, sum(input), sum(output), sum(cached_input), sum(usd)"
            " FROM attempts GROUP BY usd IS NULL, reported"
        )
        for count, unpriced, reported, used, written, cached, usd in self._cache.rows(sql):
            usage = Usage(used, written, cached)
            _add(totals, usage, bool(reported), self._usd(usage) if unpriced else usd)
            totals.attempts += count - 1
        return totals


def _add(totals: Totals, usage: Usage, reported: bool, usd: float | None) -> None:
    totals.attempts += 1
    totals.input += usage.input
    totals.output += usage.output
    totals.estimated += 0 if reported else usage.input + usage.output
    totals.usd += usd or 0.0
