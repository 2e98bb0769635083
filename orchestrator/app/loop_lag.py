"""How late the event loop is: what holds it up holds up every lane, lease and answer."""

import asyncio
import time
from collections import deque
from typing import Final

from orchestrator.engine.runtime.isolation import contained

LOOK_SECONDS: Final = 0.5
KEPT: Final = 120
"""Looks that are remembered: a minute of them."""


class LoopLag:
    """Measures by how much a short sleep takes longer than it should."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=KEPT)

    @property
    def seconds(self) -> float:
        """By how much the loop was late at the worst in the last minute."""
        return max(self._late, default=0.0)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            with contained("loop lag"):
                # The operating system's clock and not a `Clock`: how long the loop really took is what is measured.
                began = time.monotonic()
                await asyncio.sleep(LOOK_SECONDS)
                self._late.append(max(0.0, time.monotonic() - began - LOOK_SECONDS))
