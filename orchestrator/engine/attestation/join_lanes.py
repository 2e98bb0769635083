"""Looking at many groups on several nodes: what waits for one node holds up only what is about that node, too."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Final

PATIENCE_SECONDS: Final = 2.0
"""How long one look waits for all lanes; those that are not through by then go on beside the next looks."""

Lane = frozenset[str]
"""Names of the nodes that a piece of work asks."""


class JoinLanes:
    """Work by lanes, each lane's in its own task."""

    def __init__(self) -> None:
        self._busy: dict[Lane, asyncio.Task[None]] = {}

    @property
    def busy_nodes(self) -> frozenset[str]:
        """Names of the nodes that some lane is still at work about."""
        return frozenset(name for lane in self._busy for name in lane)

    async def run(self, work: Mapping[Lane, Callable[[], Coroutine[None, None, None]]]) -> None:
        """Begin the work of the lanes that are free, and wait for a while; a lane at work is passed over.

        Raises whatever a lane that is through by now raised.
        """
        for lane, do in work.items():
            if lane not in self._busy:
                self._busy[lane] = asyncio.create_task(do())
        if self._busy:
            await asyncio.wait(self._busy.values(), timeout=PATIENCE_SECONDS)
        done = [self._busy.pop(lane) for lane, task in list(self._busy.items()) if task.done()]
        for error in [task.exception() for task in done]:
            if error is not None:
                raise error

    async def close(self) -> None:
        """End what is at work."""
        tasks = list(self._busy.values())
        self._busy.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
