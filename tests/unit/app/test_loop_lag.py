"""How late the event loop is."""

import asyncio
import time

from orchestrator.app.loop_lag import LoopLag
from tests.patience import patient


async def test_what_holds_the_loop_shows() -> None:
    """A piece of work that keeps the loop for a while is seen as lag, and a loop that is free is not."""
    lag = LoopLag()
    assert lag.seconds == 0.0
    running = asyncio.create_task(lag.run())
    try:
        await asyncio.sleep(0)
        time.sleep(0.8)  # noqa: ASYNC251 - what must not be done is what is measured
        async with asyncio.timeout(patient(5)):
            while lag.seconds == 0.0:  # noqa: ASYNC110 - it is told by nothing else
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
    assert lag.seconds >= 0.29
