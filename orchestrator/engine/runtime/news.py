"""What subscribers were told of groups, read from the status events: the same for every replica and after a restart."""

import asyncio
from collections.abc import Mapping
from typing import Final

from orchestrator.engine.ports.records import EventRecord
from orchestrator.engine.runtime.isolation import contained
from orchestrator.membership.news.group_news import NEWS_TYPES, GroupNews, after_event

PAGE: Final = 1_000
_TYPES: Final = tuple(kind.value for kind in NEWS_TYPES)


class NewsReader:
    """Keeps what was told of groups, and reads on each time that it is asked.

    Args:
        events: The outbox.
    """

    def __init__(self, events: EventRecord) -> None:
        self._events = events
        self._known: dict[str, GroupNews] = {}
        self._position = 0
        self._reading = asyncio.Lock()

    async def groups(self) -> Mapping[str, GroupNews]:
        """Return what is known, by group; a group that nothing is to be said of is not there.

        Raises:
            StoreError: The store does not answer.
        """
        async with self._reading:
            while True:
                page = await self._events.after(self._position, limit=PAGE, types=_TYPES)
                for told in page:
                    with contained("told event", position=told.position):
                        self._known = after_event(self._known, told.event, told.at)
                    self._position = told.position
                if len(page) < PAGE:
                    return self._known
