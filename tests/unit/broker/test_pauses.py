"""Pauses between attempts to reach a message queue."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from structlog.testing import capture_logs

from orchestrator.broker.pauses import Pauses
from orchestrator.engine.ports.queues import BrokerError


async def test_pauses_grow_to_a_bound_and_begin_anew() -> None:
    """Each pause is twice as long as the one before, at most the longest; success makes them short again."""
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    pauses = Pauses(1.0, sleep)
    for _ in range(6):
        await pauses.pause("away")
    pauses.reset()
    await pauses.pause("away")
    assert slept == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 0.1]


async def test_the_same_reason_is_told_once() -> None:
    """A long outage is one line in the log, until it changes or ends."""

    async def sleep(_: float) -> None: ...

    pauses = Pauses(1.0, sleep)
    with capture_logs() as lines:
        for reason in ("a", "a", "b", "b"):
            await pauses.pause(reason)
        pauses.reset()
        await pauses.pause("b")
    assert [line["reason"] for line in lines] == ["a", "b", "b"]


async def test_what_is_taken_goes_on_over_lost_connections() -> None:
    """Each loss is told and followed by a pause, short again after an item; what was begun is closed with the whole."""
    slept: list[float] = []
    told: list[str] = []
    closed: list[int] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    async def take() -> AsyncGenerator[int, None]:
        number = len(slept)
        try:
            if number == 2:
                yield number
            if number < 4:
                raise BrokerError("away")
            yield number
        finally:
            closed.append(number)

    async with aclosing(Pauses(1.0, sleep).reconnecting(take, told.append)) as items:
        assert [await anext(items), await anext(items)] == [2, 4]
    assert slept == [0.1, 0.2, 0.1, 0.2]
    assert told == ["away"] * 4
    assert closed == [0, 1, 2, 3, 4]
