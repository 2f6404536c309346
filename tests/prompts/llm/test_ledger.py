"""The ledger: sums over all runs, and budgets that no schedule of attempts can exceed."""

import asyncio
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from manifests.errors import InvalidValueError
from prompts.llm.cache import Cache
from prompts.llm.chat import ChatRequest, Message, Usage
from prompts.llm.ledger import Budget, BudgetError, Ledger, Prices, Totals, worst_case

PRICES = Prices(2.0, 10.0)


def request(text: str = "report", output: int = 50) -> ChatRequest:
    return ChatRequest("m", "e", (Message("user", text),), {}, "t", max_output_tokens=output)


def spend(cache: Cache, ledger: Ledger, kind: str, usage: Usage, *, paid: bool = True) -> None:
    async def run() -> None:
        async with ledger.attempt(request()) as hold:
            await cache.write(ledger.settle(hold, kind, usage, paid=paid))

    asyncio.run(run())


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    limit=st.integers(0, 3000),
    shares=st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=1, max_size=25),
    seed=st.integers(0, 99),
)
def test_a_budget_holds_whatever_runs_together(
    tmp_path: Path, limit: int, shares: list[tuple[float, bool]], seed: int
) -> None:
    """Every attempt uses some share of its worst case; those that fit at their worst are never refused."""
    path = tmp_path / "c.sqlite"
    path.unlink(missing_ok=True)
    draw = random.Random(seed)
    worst = worst_case(request())
    most = worst.input + worst.output
    peak = 0

    async def work(cache: Cache, ledger: Ledger, share: float, reported: bool) -> bool:
        nonlocal peak
        try:
            async with ledger.attempt(request()) as hold:
                for _ in range(draw.randrange(3)):
                    await asyncio.sleep(0)
                used = Usage(max(1, int(share * worst.input)), int(share * worst.output)) if reported else Usage()
                await cache.write(ledger.settle(hold, "stop", used))
                peak = max(peak, ledger.total.tokens)
        except BudgetError:
            return False
        return True

    async def run(cache: Cache, ledger: Ledger) -> list[bool]:
        return await asyncio.gather(*(work(cache, ledger, *share) for share in shares))

    with Cache(path) as cache:
        ledger = Ledger(cache, Budget(max_tokens=limit))
        done = asyncio.run(run(cache, ledger))
        assert peak <= limit
        assert all(done) or ledger.total.tokens + most > limit
        again = Ledger(cache, Budget(max_tokens=limit))
        assert (again.total.tokens, again.total.attempts) == (ledger.total.tokens, sum(done))


def test_money_over_runs_is_the_sum_of_all_attempts(tmp_path: Path) -> None:
    with Cache(tmp_path / "c.sqlite") as cache:
        first = Ledger(cache, Budget(PRICES))
        spend(cache, first, "stop", Usage(1_000_000, 100_000))
        spend(cache, first, "length", Usage(500_000, 0, 400_000))
        spend(cache, first, "rate_limited", Usage(), paid=False)
        assert first.run == Totals(3, 1_500_000, 100_000, 0, 2.0 + 1.0 + 1.0)
        second = Ledger(cache, Budget(Prices(1.0, 1.0)))
        assert second.total == first.total  # at the prices of then
        spend(cache, second, "stop", Usage(1_000_000, 0))
        assert (second.total.usd, second.run.usd) == (5.0, 1.0)


def test_tokens_spent_without_prices_count_at_those_given_later(tmp_path: Path) -> None:
    with Cache(tmp_path / "c.sqlite") as cache:
        spend(cache, Ledger(cache, Budget()), "stop", Usage(1_000_000, 1_000_000))
        assert Ledger(cache, Budget(PRICES)).total.usd == 12.0
        assert Ledger(cache, Budget()).total.usd == 0.0


def test_what_is_not_reported_or_never_came_back_counts_at_its_worst(tmp_path: Path) -> None:
    worst = worst_case(request())
    with Cache(tmp_path / "c.sqlite") as cache:
        ledger = Ledger(cache, Budget(PRICES))
        spend(cache, ledger, "stop", Usage())

        async def killed() -> None:
            async with ledger.attempt(request()):
                pass  # the process ends before the answer is settled

        asyncio.run(killed())
        total = Ledger(cache, Budget(PRICES)).total
    assert (total.input, total.output) == (2 * worst.input, 2 * worst.output)
    assert total.estimated == total.tokens
    assert total.usd == pytest.approx(2 * PRICES.usd(worst))


@pytest.mark.parametrize("text", ["", "report", "ß" * 100, "日本語の報告書", "\x00\x01", "🩻" * 50])
def test_the_worst_case_bounds_a_byte_level_tokenizer(text: str) -> None:
    """The finest such tokenizer makes one token of each byte, and templates add a few for each message."""
    bound = worst_case(request(text, 7))
    assert bound.output == 7
    assert bound.input >= len(text.encode()) + 10


def test_the_projection_is_a_straight_line(tmp_path: Path) -> None:
    with Cache(tmp_path / "c.sqlite") as cache:
        spend(cache, Ledger(cache, Budget(PRICES)), "stop", Usage(100, 10))
        ledger = Ledger(cache, Budget(PRICES))
        for _ in range(4):
            spend(cache, ledger, "stop", Usage(1000, 100))
        projected = ledger.projected(16.0)
        assert (projected.input, projected.output, projected.attempts) == (100 + 20_000, 10 + 2000, 21)
        assert Ledger(cache, Budget(PRICES)).projected(16.0).tokens == ledger.total.tokens


@pytest.mark.parametrize(
    "make",
    [
        lambda: Budget(max_usd=5.0),
        lambda: Budget(PRICES, max_usd=-1.0),
        lambda: Budget(PRICES, max_usd=float("nan")),
        lambda: Budget(Prices(-1.0, 2.0)),
        lambda: Budget(max_tokens=-1),
    ],
)
def test_budgets_that_mean_nothing_are_refused(make) -> None:
    with pytest.raises(InvalidValueError):
        make()
