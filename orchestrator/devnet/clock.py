"""Time as the devnet sees it: the real one, or one that only moves when somebody waits for it."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What the devnet needs of time; a simulation brings its own."""

    def now(self) -> float:
        """Seconds since some fixed moment; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Come back when that much time has passed."""


class LoopClock:
    """Real time."""

    def now(self) -> float:
        """Seconds of the machine's monotonic clock."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait in real time."""
        await asyncio.sleep(seconds)


class VirtualClock:
    """Time that stands still until it is moved; waiting moves it, and takes no time."""

    def __init__(self) -> None:
        self._now = 0.0

    def now(self) -> float:
        """Seconds that were moved so far."""
        return self._now

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self._now += seconds

    async def sleep(self, seconds: float) -> None:
        """Let time pass, and others have their turn."""
        self._now += seconds
        await asyncio.sleep(0)
