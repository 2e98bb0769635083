"""Time, as the engine needs it."""

from collections.abc import Awaitable
from datetime import datetime
from typing import Protocol, TypeVar

T = TypeVar("T")


class Clock(Protocol):
    """Time, passed in."""

    def now(self) -> datetime:
        """Return the present time, timezone-aware UTC."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def wait_for(self, awaitable: Awaitable[T], seconds: float) -> T:
        """Wait for something, at most so long; raises TimeoutError."""
