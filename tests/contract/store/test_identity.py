"""What tells one store's status events from another's, on both databases."""

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory

from orchestrator.membership.news.status import EventType, StatusEvent
from orchestrator.store import Database, SqlChangeStore, SqlOutbox, migrate
from orchestrator.store.commits.schema_version import _config
from orchestrator.store.database.connections import engine_for, normalised
from orchestrator.store.units.outbox import FORMER_SOURCE, StoredEvent
from tests.fakes.clock import JumpingClock

JOINING = StatusEvent(type=EventType.GROUP_JOINING, privacy_group_id="g", data={"member": "m"})
"""An event that is about no change and no request: nothing in it is a store's own."""


@asynccontextmanager
async def opened(url: str, source: str | None = None) -> AsyncIterator[tuple[SqlChangeStore, SqlOutbox]]:
    async with Database(url) as database:
        yield SqlChangeStore(database, JumpingClock()), SqlOutbox(database, source)


async def announced(url: str, source: str | None = None) -> StoredEvent:
    async with opened(url, source) as (store, outbox):
        await store.announce([JOINING])
        return (await outbox.pending(100))[-1]


def made_anew(url: str) -> None:
    """Lose a store: all its tables, and then a new one in its place."""
    engine = engine_for(normalised(url))
    with engine.begin() as connection:
        found = sa.MetaData()
        found.reflect(connection)
        found.drop_all(connection)
    engine.dispose()
    migrate(url)


async def test_the_source_is_made_once_and_kept(store_url: str) -> None:
    """A store gets a name of its own at its first start: an absolute URI, the same whenever it is opened."""
    sources = set()
    for _ in range(2):
        async with opened(store_url) as (_, outbox):
            sources.add((await outbox.identity()).source)
    (source,) = sources
    assert uuid.UUID(source).urn == source
    assert (await announced(store_url)).source == source


async def test_a_configured_source_takes_its_place(store_url: str) -> None:
    """What an organisation calls itself is the source; the ids do not depend on it."""
    plain = await announced(store_url)
    async with opened(store_url, "https://org.example/membership") as (_, outbox):
        (again,) = await outbox.pending(1)
    assert (plain.event_id, again.source) == (again.event_id, "https://org.example/membership")


async def test_a_store_made_anew_gives_no_id_again(store_url: str) -> None:
    """The first event of a store that was lost and the first of the one in its place differ, whatever the source."""
    source = "https://org.example/membership"
    lost = await announced(store_url, source)
    await asyncio.to_thread(made_anew, store_url)
    found = await announced(store_url, source)
    assert (lost.position, lost.sequence, lost.at, lost.former_id) == (1, 1, found.at, found.former_id)
    assert lost.event_id != found.event_id


async def test_a_restored_store_gives_no_id_again(tmp_path: Path) -> None:
    """A store that was set back to a backup numbers on from there, and the ids differ from those of before."""
    url = f"sqlite:///{tmp_path}/store.db"
    await asyncio.to_thread(migrate, url)
    await asyncio.to_thread(shutil.copy, tmp_path / "store.db", tmp_path / "backup.db")
    before = await announced(url)
    await asyncio.to_thread(shutil.copy, tmp_path / "backup.db", tmp_path / "store.db")
    async with Database(url) as database:
        clock = JumpingClock()
        await clock.sleep(1e-6)
        await SqlChangeStore(database, clock).announce([JOINING])
        (after,) = await SqlOutbox(database).pending(9)
    assert (before.position, before.sequence) == (after.position, after.sequence)
    assert before.event_id != after.event_id


async def test_events_from_before_keep_their_id(store_url: str) -> None:
    """What is in a store when it gets its name goes out as it would have gone; what comes later has the new name."""

    def downgrade() -> None:
        engine = engine_for(normalised(store_url))
        with engine.begin() as connection:
            config = _config()
            config.attributes["connection"] = connection
            migrations = ScriptDirectory.from_config(config).walk_revisions()
            (before,) = [found.down_revision for found in migrations if found.path.endswith("_store_identity.py")]
            command.downgrade(config, str(before))
        engine.dispose()

    await announced(store_url)
    await asyncio.to_thread(downgrade)
    await asyncio.to_thread(migrate, store_url)
    later = await announced(store_url)
    async with opened(store_url) as (_, outbox):
        (former, new) = await outbox.pending(9)
    assert (former.source, former.event_id) == (FORMER_SOURCE, former.former_id)
    assert (new, new.source.partition(":")[0]) == (later, "urn")
    assert new.event_id != new.former_id
