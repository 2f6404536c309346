"""One run over reports with one model: opens what it needs, drains on Ctrl-C, and gives an account."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from manifests.errors import FactoryError, LocationError
from prompts.llm.cache import Cache
from prompts.llm.chat import ChatModel
from prompts.llm.ledger import Budget, Ledger, Totals
from prompts.llm.pace import Pace, PaceConfig
from prompts.llm.reports import LATER, ModelSettings, Result, read_by_model
from prompts.llm.runner import Replay, Runner
from prompts.sources import Reject, Report
from prompts.table import PromptRow

__all__ = ["Account", "Progress", "Spending", "read_with_model", "replay"]


@dataclass(frozen=True, slots=True)
class Spending:
    """Where answers are kept, what may be spent, and how fast."""

    cache: Path
    budget: Budget = field(default_factory=Budget)
    pace: PaceConfig = field(default_factory=PaceConfig)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is, for a bar.

    Attributes:
        done: reports with a result.
        total: tokens and money of all runs with this cache.
        projected: what they will be once all reports are done.
        in_flight: requests at the server.
        stopping: whether somebody asked it to stop, and it waits for those.
    """

    done: int
    total: Totals
    projected: Totals
    in_flight: int
    stopping: bool = False


@dataclass(slots=True)
class Account:
    """What a run did.

    Attributes:
        results: one for each report, None where the run ended first.
        run: tokens and money of this run.
        total: of all runs with this cache.
        reused: requests that the cache answered.
        priced: whether prices were given.
        interrupted: whether somebody stopped the run.
        cause: why it stopped by itself, if it did.
    """

    results: list[Result | None]
    run: Totals = field(default_factory=Totals)
    total: Totals = field(default_factory=Totals)
    reused: int = 0
    priced: bool = False
    interrupted: bool = False
    cause: FactoryError | None = None

    @property
    def rows(self) -> list[PromptRow]:
        """The reports that gave a prompt."""
        return [item for item in self.results if isinstance(item, PromptRow)]

    @property
    def rejects(self) -> list[Reject]:
        """The reports that gave none."""
        return [item for item in self.results if isinstance(item, Reject)]

    @property
    def done(self) -> int:
        """Reports with a result."""
        return sum(item is not None for item in self.results)

    @property
    def again(self) -> int:
        """Rejects that another run may turn into prompts."""
        return sum(item.reason.startswith(LATER) for item in self.rejects)


def replay(reports: Sequence[Report], settings: ModelSettings, path: Path) -> Account:
    """Read reports from the answers of earlier runs alone.

    Raises:
        LocationError: if there is no such cache.
        FileFormatError: if the file is none.
    """
    if not path.is_file():
        raise LocationError(f"cache {path}", got="no such file", need="the cache of an earlier run", do="Give --cache.")
    with Cache(path) as cache:
        results = asyncio.run(read_by_model(reports, settings, Replay(cache).ask, 1, lambda: None))
    return Account(results, reused=len(results))


def read_with_model(
    reports: Sequence[Report],
    settings: ModelSettings,
    model: ChatModel,
    spending: Spending,
    show: Callable[[Progress], None],
) -> Account:
    """Read reports with a model until all are done, somebody interrupts, or more would be in vain.

    The first SIGINT or SIGTERM lets requests in flight finish, the second drops them.

    Raises:
        LocationError, FileFormatError, StorageError: if the cache cannot be used.
        BusyError: if another run uses it.
    """
    with Cache(spending.cache) as cache, cache.lock():
        return asyncio.run(
            _run(reports, settings, Runner(model, cache, Ledger(cache, spending.budget), Pace(spending.pace)), show)
        )


async def _run(
    reports: Sequence[Report], settings: ModelSettings, runner: Runner, show: Callable[[Progress], None]
) -> Account:
    ledger, interrupted, finished = runner.ledger, False, 0

    def done() -> None:
        nonlocal finished
        finished += 1
        show(progress())

    def progress() -> Progress:
        asked = (runner.answered + runner.reused) / max(finished, 1)
        projected = ledger.projected((len(reports) - finished) * asked)
        return Progress(finished, ledger.total, projected, runner.pace.active)

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        show(replace(progress(), stopping=True))
        if runner.pace.stopped:
            work.cancel()
        stopping.append(asyncio.ensure_future(runner.stop()))

    stopping: list[asyncio.Future[None]] = []
    work = asyncio.ensure_future(read_by_model(reports, settings, runner.ask, runner.pace.config.concurrency, done))
    results: list[Result | None] = [None] * len(reports)
    with _handled(interrupt):
        try:
            results = await work
        except asyncio.CancelledError:
            if not interrupted:
                raise
    await asyncio.gather(*stopping)
    await runner.close()
    return Account(
        results,
        ledger.run,
        ledger.total,
        runner.reused,
        ledger.priced,
        interrupted,
        None if interrupted else runner.cause,
    )


@contextmanager
def _handled(interrupt: Callable[[], None]) -> Iterator[None]:
    """Call `interrupt` on SIGINT and SIGTERM, in the main thread, and put the handlers back afterwards."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    earlier = [signal.getsignal(number) for number in signals]
    for number in signals:
        loop.add_signal_handler(number, interrupt)
    try:
        yield
    finally:
        for number, handler in zip(signals, earlier, strict=True):
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
