"""Pacing: the window against its definition, holds, back-off and the circuit breaker."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prompts.llm.pace import Pace, PaceConfig, StoppedError


@settings(max_examples=50, deadline=None)
@given(
    events=st.lists(st.sampled_from(["good", "429"]), max_size=60), most=st.integers(1, 40), first=st.integers(1, 40)
)
def test_the_window_adds_slowly_and_halves(events: list[str], most: int, first: int) -> None:
    async def run() -> None:
        pace = Pace(PaceConfig(concurrency=most, first=first))
        loop, slow, window = asyncio.get_running_loop(), True, float(min(most, first))
        for event in events:
            if event == "good":
                await pace.succeeded()
                window = min(float(most), window + (1.0 if slow else 1.0 / window))
            else:
                pace.limited(loop.time(), None)
                slow, window = False, max(1.0, window / 2)
            assert pace.window == int(window)
            assert 1 <= pace.window <= most

    asyncio.run(run())


def test_a_burst_of_complaints_counts_once() -> None:
    async def run() -> None:
        pace = Pace(PaceConfig(concurrency=64, first=64))
        before = asyncio.get_running_loop().time()
        for _ in range(40):
            pace.limited(before - 0.001, None) if pace.window < 64 else pace.limited(before, None)
        assert pace.window == 32

    asyncio.run(run())


@pytest.mark.parametrize(("most", "tasks"), [(1, 5), (4, 30), (50, 20)])
def test_no_more_are_in_flight_than_the_window_has_places(most: int, tasks: int) -> None:
    async def run() -> tuple[int, int]:
        pace = Pace(PaceConfig(concurrency=most, first=1))
        flying = highest = done = 0

        async def work(number: int) -> None:
            nonlocal flying, highest, done
            async with pace.slot():
                flying += 1
                highest = max(highest, flying)
                assert flying == pace.active
                await asyncio.sleep(0.001 * (number % 3))
                flying -= 1
            await pace.succeeded()
            done += 1

        await asyncio.gather(*(work(number) for number in range(tasks)))
        return highest, done

    highest, done = asyncio.run(run())
    assert done == tasks
    assert highest <= most


def test_a_retry_after_holds_everybody() -> None:
    async def run() -> list[float]:
        pace = Pace(PaceConfig(concurrency=4))
        loop = asyncio.get_running_loop()
        start = loop.time()
        pace.limited(start, 0.2)
        starts: list[float] = []

        async def work() -> None:
            async with pace.slot():
                starts.append(loop.time() - start)

        await asyncio.gather(*(work() for _ in range(6)))
        return starts

    starts = asyncio.run(run())
    assert len(starts) == 6
    assert min(starts) >= 0.2


def test_stopping_wakes_all_who_wait() -> None:
    async def run() -> list[object]:
        pace = Pace(PaceConfig(concurrency=1))

        async def enter() -> None:
            async with pace.slot():
                pass

        async with pace.slot():
            waiting = [asyncio.ensure_future(enter()) for _ in range(3)] + [asyncio.ensure_future(pace.sleep(60.0))]
            await asyncio.sleep(0)
            await pace.stop()
            return await asyncio.gather(*waiting, return_exceptions=True)

    assert [type(item) for item in asyncio.run(run())] == [StoppedError] * 4


def test_the_breaker_opens_after_failures_in_a_row() -> None:
    async def run() -> None:
        pace = Pace(PaceConfig(concurrency=2, breaker=10))
        assert not any(pace.failed() for _ in range(9))
        await pace.succeeded()
        assert not any(pace.failed() for _ in range(9))
        assert pace.failed()
        wide = Pace(PaceConfig(concurrency=30, first=30, breaker=10))
        assert not any(wide.failed() for _ in range(89))
        assert wide.failed()
        assert Pace(PaceConfig(longest_s=60.0)).limited(0.0, 61.0)

    asyncio.run(run())


@given(attempt=st.integers(0, 50), seed=st.integers(0, 5))
def test_waits_double_up_to_a_limit_with_seeded_jitter(attempt: int, seed: int) -> None:
    config = PaceConfig(backoff_s=0.5, longest_s=60.0, seed=seed)
    wait = Pace(config).backoff_s(attempt)
    whole = min(60.0, 0.5 * 2.0**attempt)
    assert whole / 2 <= wait <= whole
    assert wait == Pace(config).backoff_s(attempt)
