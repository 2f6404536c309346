"""Pacing: how many requests are in flight, when to try again, and when to give up.

The window grows by one for each answer until the server first complains, then by one for each
window of answers, and halves when the server says 429: additive increase, multiplicative decrease
(Chiu and Jain, 1989), as TCP does. Retry-After holds everybody back. So many failures in a row,
with no answer between, open the circuit breaker.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

__all__ = ["Pace", "PaceConfig", "StoppedError"]


@dataclass(frozen=True, slots=True)
class PaceConfig:
    """How hard to try.

    Attributes:
        concurrency: most requests in flight.
        first: requests in flight at the start.
        attempts: tries for one request.
        backoff_s: the first wait after a failure; each further one doubles it, up to `longest_s`.
        longest_s: longest wait of our own; a longer Retry-After stops the run.
        breaker: failures in a row that stop the run, and at least three for each request in flight.
        seed: of the jitter.
    """

    concurrency: int = 8
    first: int = 32
    attempts: int = 8
    backoff_s: float = 0.5
    longest_s: float = 60.0
    breaker: int = 20
    seed: int = 0


class StoppedError(Exception):
    """The run is ending: no further request is sent."""


class Pace:
    """The pace of one run."""

    def __init__(self, config: PaceConfig) -> None:
        self.config = config
        self.active = 0
        self._window = float(min(config.concurrency, config.first))
        self._slow_start = True
        self._failures = 0
        self._last_cut_s = self._resume_s = 0.0
        self._random = random.Random(config.seed)  # noqa: S311  # jitter
        self._changed = asyncio.Condition()
        self._stop = asyncio.Event()

    @property
    def window(self) -> int:
        """Requests that may be in flight now."""
        return int(self._window)

    @property
    def stopped(self) -> bool:
        """Whether the run is ending."""
        return self._stop.is_set()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[float]:
        """Wait for a place in flight; gives the time at which it was taken.

        Raises:
            StoppedError: if the run ends first.
        """
        await self._enter()
        try:
            yield asyncio.get_running_loop().time()
        finally:
            self.active -= 1
            async with self._changed:
                self._changed.notify()

    async def stop(self) -> None:
        """Send nothing more; what is in flight may finish."""
        self._stop.set()
        async with self._changed:
            self._changed.notify_all()

    async def succeeded(self) -> None:
        """Count an answer, good or bad: the server works."""
        self._failures = 0
        grown = self._window + (1.0 if self._slow_start else 1.0 / self._window)
        more = int(min(grown, self.config.concurrency)) - int(self._window)
        self._window = min(grown, float(self.config.concurrency))
        if more > 0:
            async with self._changed:
                self._changed.notify(more)

    def limited(self, started_s: float, retry_after_s: float | None) -> bool:
        """Count a 429: halve the window, once for all that were in flight together, and hold until the server says.

        Returns:
            Whether the circuit breaker opens.
        """
        now = asyncio.get_running_loop().time()
        self._slow_start = False
        if started_s >= self._last_cut_s:
            self._window = max(1.0, self._window / 2)
            self._last_cut_s = now
        if retry_after_s is not None:
            self._resume_s = max(self._resume_s, now + retry_after_s)
        return self.failed() or (retry_after_s or 0.0) > self.config.longest_s

    def failed(self) -> bool:
        """Count a failure.

        Returns:
            Whether the circuit breaker opens.
        """
        self._failures += 1
        return self._failures >= max(self.config.breaker, 3 * self.window)

    def backoff_s(self, attempt: int) -> float:
        """Wait before try `attempt` + 1, from 0: between half and all of a doubling time."""
        whole = min(self.config.backoff_s * 2.0**attempt, self.config.longest_s)
        return whole * self._random.uniform(0.5, 1.0)

    async def sleep(self, seconds: float) -> None:
        """Wait, unless the run ends.

        Raises:
            StoppedError: if it does.
        """
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
        raise StoppedError

    async def _enter(self) -> None:
        while True:
            if self.stopped:
                raise StoppedError
            held_s = self._resume_s - asyncio.get_running_loop().time()
            if held_s > 0:
                await self.sleep(held_s * self._random.uniform(1.0, 1.1))
            elif self.active < self.window:
                self.active += 1
                return
            else:
                async with self._changed:
                    await self._changed.wait()
