"""The real clock. Everything else takes a `ports.Clock`, so that tests and the simulator pass in another."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TypeVar

T = TypeVar("T")


class SystemClock:
    """Time as the operating system and the event loop tell it."""

    def now(self) -> datetime:
        """Return the present time, timezone-aware UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def wait_for(self, awaitable: Awaitable[T], seconds: float) -> T:
        """Wait for something, at most so long; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            return await awaitable
