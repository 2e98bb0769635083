"""What was told of groups, read from a real store's events."""

from datetime import timedelta
from pathlib import Path

from orchestrator.engine.runtime.news import NewsReader
from orchestrator.membership.news.status import EventType, StatusEvent
from orchestrator.store.commits.database import Database
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.outbox_store import SqlOutbox
from tests.fakes.clock import START, JumpingClock
from tests.fakes.migrated_stores import migrated


async def test_news_are_read_on_and_by_a_new_reader_alike(tmp_path: Path) -> None:
    """A reader learns what comes later, and one that starts later knows the same."""
    url = migrated(tmp_path / "store.db")
    async with Database(url) as database:
        clock = JumpingClock()
        store = SqlChangeStore(database, clock)
        first = NewsReader(SqlOutbox(database))
        assert await first.groups() == {}
        await store.announce([StatusEvent(type=EventType.GROUP_DIVERGED, privacy_group_id="g", data={"a": 1})])
        known = await first.groups()
        assert set(known) == {"g"}
        diverged = known["g"].diverged
        assert diverged is not None
        assert abs(diverged.at - START) < timedelta(days=1)
        assert await NewsReader(SqlOutbox(database)).groups() == known
        await store.announce([StatusEvent(type=EventType.GROUP_CONVERGED, privacy_group_id="g")])
        assert await first.groups() == {}
