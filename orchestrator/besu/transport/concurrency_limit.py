"""How many HTTP requests a node gets at a time: more while it answers quickly, half as many when it does not.

Additive increase, multiplicative decrease, as congestion control has it. Who waits is served in the order of asking, so
that no lane overtakes another.
"""

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

FIRST: Final = 16
LEAST: Final = 2
SLOW_SECONDS: Final = 0.5
SLOW_TIMES: Final = 4.0
DRIFT: Final = 1.02
"""The quickest answer is forgotten by so much with each one, since a node that moved farther away is not busy."""


class ConcurrencyLimit:
    """Lets a bounded number in, which adapts.

    Args:
        most: Never more than this at a time.
        by_latency: Whether slow answers are a reason for less; sends are slow by what they do, not by being many.
    """

    def __init__(self, most: int, *, by_latency: bool) -> None:
        self._most = most
        self._by_latency = by_latency
        self._limit = float(min(FIRST, most))
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._quickest = math.inf
        self._cut_at = -math.inf

    @property
    def limit(self) -> int:
        """How many may be under way now."""
        return int(self._limit)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a slot and take it; how long it takes, and whether it fails, changes the limit."""
        await self._enter()
        loop = asyncio.get_running_loop()
        full, began = self._running >= self.limit, loop.time()
        try:
            yield
        except asyncio.CancelledError:
            raise
        except Exception:
            self._cut(loop.time())
            raise
        else:
            self._note(loop.time() - began, loop.time(), full=full)
        finally:
            self._leave()

    async def _enter(self) -> None:
        if self._running < self.limit and not self._waiting:
            self._running += 1
            return
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave()  # the slot came in the moment in which it was given up
            raise

    def _leave(self) -> None:
        self._running -= 1
        while self._waiting and self._running < self.limit:
            place = self._waiting.popleft()
            if not place.done():
                self._running += 1
                place.set_result(None)

    def _note(self, seconds: float, now: float, *, full: bool) -> None:
        slow = seconds > max(SLOW_SECONDS, SLOW_TIMES * self._quickest)
        self._quickest = min(self._quickest * DRIFT, seconds)
        if slow and self._by_latency:
            self._cut(now)
        elif full:
            self._limit = min(float(self._most), self._limit + 1 / self._limit)

    def _cut(self, now: float) -> None:
        # What was under way at the same time is slow for the same reason: it counts once.
        if now - self._cut_at >= SLOW_SECONDS:
            self._cut_at = now
            self._limit = max(float(min(LEAST, self._most)), self._limit / 2)
