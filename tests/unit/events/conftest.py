"""A real store on SQLite to relay from and subscribe to, and a clock whose seconds are short."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.membership.news.status import EventType, StatusEvent
from orchestrator.store import Database, SqlChangeStore, SqlOutbox, migrate
from tests.fakes.clock import FastClock


class Source:
    """Commits status events."""

    def __init__(self, store: SqlChangeStore, outbox: SqlOutbox) -> None:
        self._store = store
        self.outbox = outbox
        self._count = 0

    async def commit(
        self, count: int = 1, *, group: str = "g", change: str = "c", kind: EventType = EventType.CHANGE_PROGRESSED
    ) -> None:
        """Commit some events of one group, numbered over all."""
        events = []
        for _ in range(count):
            self._count += 1
            events.append(
                StatusEvent(
                    type=kind,
                    privacy_group_id=group,
                    change_id=change,
                    request_id="r",
                    data={"number": self._count},
                )
            )
        await self._store.announce(events)


@pytest.fixture
async def clock() -> FastClock:
    return FastClock()


@pytest.fixture
async def source(tmp_path: Path, clock: FastClock) -> AsyncIterator[Source]:
    """An empty store."""
    url = f"sqlite:///{tmp_path}/store.db"
    await asyncio.to_thread(migrate, url)
    async with Database(url) as database:
        yield Source(SqlChangeStore(database, clock), SqlOutbox(database))


@pytest.fixture
def outbox(source: Source) -> SqlOutbox:
    return source.outbox
