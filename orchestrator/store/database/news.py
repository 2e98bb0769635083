"""What was committed, told to those who wait for it on the event loop."""

import asyncio


class News:
    """Tells of work that came due and of status events, whoever committed them.

    Attributes:
        position: The newest position of a status event that was heard of.
    """

    def __init__(self) -> None:
        self.position = 0
        self._work: list[asyncio.Event] = []
        self._moved = asyncio.Event()

    def subscribe(self) -> asyncio.Event:
        """Return an event of the caller's own that is set whenever a lane may have come due."""
        event = asyncio.Event()
        self._work.append(event)
        return event

    def publish(self, work: bool, position: int) -> None:
        """Tell what was committed.

        Args:
            work: A lane may have come due.
            position: The newest position of the status events; 0 for none.
        """
        if work:
            for event in self._work:
                event.set()
        if position > self.position:
            self.position = position
            self._moved.set()
            self._moved = asyncio.Event()

    async def wait_behind(self, position: int) -> None:
        """Return once there is a status event behind a position."""
        while self.position <= position:
            await self._moved.wait()
