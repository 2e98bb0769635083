"""A clock that jumps: sleeping takes no real time, what is waited for gets a bounded number of turns of the loop."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

T = TypeVar("T")

START = datetime(2026, 1, 1, tzinfo=UTC)
TURNS = 200


class JumpingClock:
    """`orchestrator.engine.ports.clock.Clock` in virtual time."""

    def __init__(self, start: datetime = START) -> None:
        self.time = start

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    async def wait_for(self, awaitable: Awaitable[T], seconds: float) -> T:
        """Let others run for some turns; when that did not bring it about, the time is over."""
        task = asyncio.ensure_future(awaitable)
        for _ in range(TURNS):
            if task.done():
                return await task
            await asyncio.sleep(0)
        self.time += timedelta(seconds=seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        raise TimeoutError


_LEAST_LIMIT_SECONDS = 0.2
"""A hundredth of a time-out is less than a process is at times kept from its processor."""


class FastClock:
    """Real time, only faster: a second takes a hundredth. For tests in which threads take part, such as a store's."""

    def __init__(self, factor: float = 100.0) -> None:
        self._factor = factor
        self._began = asyncio.get_running_loop().time()

    def now(self) -> datetime:
        return START + timedelta(seconds=(asyncio.get_running_loop().time() - self._began) * self._factor)

    def skip(self, seconds: float) -> None:
        """Let time pass at once; who sleeps already sleeps on."""
        self._began -= seconds / self._factor

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self._factor)

    async def wait_for(self, awaitable: Awaitable[T], seconds: float) -> T:
        async with asyncio.timeout(max(seconds / self._factor, _LEAST_LIMIT_SECONDS)):
            return await awaitable
