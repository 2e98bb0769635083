"""Pauses between attempts to reach a message queue: growing, bounded, told once."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import structlog

from orchestrator.engine.ports.queues import BrokerError
from orchestrator.membership.retry import doubled

_FIRST_SECONDS = 0.1

_Item = TypeVar("_Item")

_log = structlog.get_logger(__name__)


class Pauses:
    """Counts the pauses of one loop.

    Args:
        longest_seconds: Bound of a pause.
        sleep: Waits so many seconds.
    """

    def __init__(self, longest_seconds: float, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._longest_seconds = longest_seconds
        self._sleep = sleep
        self._times = 0
        self._reported = ""

    def reset(self) -> None:
        """Begin with short pauses again: it worked."""
        self._times = 0
        self._reported = ""

    async def pause(self, reason: str) -> None:
        """Wait; the next pause without a `reset` is twice as long."""
        # Once for each reason: an outage of a night is one line and not thousands.
        if reason != self._reported:
            _log.warning("message queue does not answer, trying again", reason=reason)
            self._reported = reason
        seconds = doubled(_FIRST_SECONDS, self._times, self._longest_seconds)
        self._times += 1
        await self._sleep(seconds)

    async def reconnecting(
        self, take: Callable[[], AsyncGenerator[_Item, None]], lost: Callable[[str], object]
    ) -> AsyncGenerator[_Item, None]:
        """Yield what is taken until closed, taking anew behind a pause whenever it fails.

        Args:
            take: Begins to yield, over one connection; raises `BrokerError` when that is lost.
            lost: Told why, before the pause.
        """
        while True:
            try:
                async with aclosing(take()) as items:
                    async for item in items:
                        self.reset()
                        yield item
            except BrokerError as error:
                lost(str(error))
                await self.pause(str(error))
