import asyncio

import pytest

from orchestrator.besu.transport.concurrency_limit import FIRST, LEAST, ConcurrencyLimit
from tests.simulation.virtual_time import run


async def requests(limit: ConcurrencyLimit, count: int, seconds: float) -> int:
    """Make requests at the same time; returns how many were under way at most."""
    running = most = 0

    async def request() -> None:
        nonlocal running, most
        async with limit.slot():
            running += 1
            most = max(most, running)
            await asyncio.sleep(seconds)
            running -= 1

    await asyncio.gather(*(request() for _ in range(count)))
    return most


def test_a_quick_node_gets_more_and_more_at_a_time() -> None:
    """While all answers are quick and more wait, the number under way rises to its bound and no further."""

    async def many() -> None:
        limit = ConcurrencyLimit(40, by_latency=True)
        assert await requests(limit, FIRST, 0.01) == FIRST
        assert await requests(limit, 2000, 0.01) == 40
        assert limit.limit == 40

    run(many())


def test_a_node_that_answers_slowly_gets_half_once_for_what_was_under_way_together() -> None:
    """Sixteen slow answers of one moment halve the limit once; going on like that ends at the least."""

    async def slow() -> None:
        limit = ConcurrencyLimit(40, by_latency=True)
        await requests(limit, 4, 0.01)
        await requests(limit, FIRST, 3.0)
        assert limit.limit == FIRST // 2
        for _ in range(5):
            await requests(limit, 2, 3.0)
        assert limit.limit == LEAST

    run(slow())


def test_sends_may_take_their_time() -> None:
    """Slow sends are no reason for fewer of them; failed ones are."""

    async def sends() -> None:
        limit = ConcurrencyLimit(40, by_latency=False)
        await requests(limit, 100, 6.0)
        assert limit.limit > FIRST
        before = limit.limit
        with pytest.raises(OSError, match="gone"):
            async with limit.slot():
                raise OSError("gone")
        assert limit.limit == before // 2

    run(sends())


def test_who_asks_first_is_served_first_and_who_gives_up_keeps_no_place() -> None:
    """Turns come in the order of asking; a place whose task was cancelled goes to the next."""

    async def order() -> None:
        limit = ConcurrencyLimit(1, by_latency=True)
        served: list[int] = []

        async def request(number: int) -> None:
            async with limit.slot():
                await asyncio.sleep(0.01)
                served.append(number)

        tasks = [asyncio.create_task(request(number)) for number in range(6)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert served == [0, 1, 3, 4, 5]
        await request(9)

    run(order())
