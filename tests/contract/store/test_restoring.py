"""What is done to a restored store, on both databases."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.engine.attempts.restored import CHECKPOINT, restoration_of
from orchestrator.engine.ports.queues import FeedClosedError
from orchestrator.engine.ports.store import StoreError
from orchestrator.events.feed import EventFeed
from orchestrator.membership.attempt import AttemptStatus
from orchestrator.membership.news.status import EventType, StatusEvent
from orchestrator.store import Database, SqlChangeStore, SqlOutbox, migrate
from orchestrator.store.copies.backup import by_other_tools
from orchestrator.store.copies.restored_database import prepare
from tests.fakes.changes import a_change, a_step, an_attempt, led
from tests.fakes.clock import START, JumpingClock
from tests.servers import programs

LATER = START + timedelta(days=1)


def said(group: str) -> StatusEvent:
    return StatusEvent(type=EventType.GROUP_JOINING, privacy_group_id=group, data={"member": "m"})


async def test_places_and_counts_go_on_beyond_all_that_were_given_out(
    store_url: str, database: Database, store: SqlChangeStore, outbox: SqlOutbox, clock: JumpingClock
) -> None:
    """After a restoration events get places and counts that no event of after the backup had; a second restoration,
    of the same backup too, goes beyond the first. Their ids differ, and those of before keep theirs.
    """
    await store.announce([said("g"), said("g"), said("h")])
    first = await outbox.after(0, limit=10)
    seen = [(stored.position, stored.sequence) for stored in first if stored.event.privacy_group_id == "g"]
    for day in (1, 2):
        clock.time = START + timedelta(days=day)
        await asyncio.to_thread(prepare, store_url, clock.now(), alone=True)
        await store.announce([said("g")])
        (*_, newest) = await outbox.after(0, limit=10)
        assert newest.position > seen[-1][0] + 86_000_000_000 * (day - 1)
        assert newest.sequence > seen[-1][1]
        assert newest.position < 2**53, "JavaScript can't count so far"
        seen.append((newest.position, newest.sequence))
    assert (await outbox.after(0, limit=3)) == first
    assert len({stored.event_id for stored in await outbox.after(0, limit=10)}) == 5


async def test_who_resumes_behind_an_event_of_before_is_told(
    store_url: str, database: Database, store: SqlChangeStore, outbox: SqlOutbox, clock: JumpingClock
) -> None:
    """Behind an event that was lost, or that the backup has, others may be missing: the reader is sent to the oldest.

    That holds although later events have places beyond the one that it names.
    """
    await store.announce([said("g")])
    await asyncio.to_thread(prepare, store_url, clock.now(), alone=True)
    await store.announce([said("g")])
    feed = EventFeed(outbox, clock)
    for resume_id in ("1", "3"):
        with pytest.raises(FeedClosedError, match="resume from 0") as refused:
            await anext(feed.subscribe(resume_id=resume_id))
        assert refused.value.resume_id == "0"
    assert len(await outbox.after(0, limit=10)) == 2


async def test_what_was_held_is_free(
    store_url: str, database: Database, store: SqlChangeStore, outbox: SqlOutbox, clock: JumpingClock
) -> None:
    """Lanes and works of those that ran at the backup are free at once, and the restoration is remembered with the
    newest block that the store knew.
    """
    change = a_change("1")
    await store.accept(change, "hash", ())
    (lane,) = await store.claim(holder="one", lease=timedelta(hours=1), limit=1, now=START + timedelta(seconds=1))
    attempt = an_attempt("1", AttemptStatus.SENT, sent_block=41, seen_block=44)
    await store.record(lane, a_step(change, led(change, attempt=attempt), attempt))
    await outbox.acquire_lease("relay", holder="one", lease=timedelta(hours=1), now=START)
    assert restoration_of(await outbox.checkpoint(CHECKPOINT)) is None
    block = await asyncio.to_thread(prepare, store_url, START + timedelta(seconds=2), alone=True)
    found = restoration_of(await outbox.checkpoint(CHECKPOINT))
    assert found is not None
    assert (block, found.block, found.at) == (44, 44, START + timedelta(seconds=2))
    (taken,) = await store.claim(holder="two", lease=timedelta(hours=1), limit=1, now=START + timedelta(seconds=2))
    assert taken.active == (led(change, attempt=attempt),)
    assert await outbox.acquire_lease("relay", holder="two", lease=timedelta(hours=1), now=START)


async def test_a_store_that_is_worked_on_is_refused(store_url: str, database: Database, store: SqlChangeStore) -> None:
    """A database that is prepared in place must not have a daemon on it, and an idle one is one, too."""
    await store.accept(a_change("1"), "hash", ())
    await store.claim(holder="one", lease=timedelta(seconds=8), limit=1, now=START + timedelta(seconds=1))
    with pytest.raises(StoreError, match="stop all of them"):
        await asyncio.to_thread(prepare, store_url, START + timedelta(seconds=5), alone=False)
    with pytest.raises(StoreError, match="stop all of them"):
        await asyncio.to_thread(prepare, store_url, START + timedelta(seconds=10), alone=False)
    await asyncio.to_thread(prepare, store_url, START + timedelta(seconds=14), alone=False)


def test_postgresql_is_left_to_its_own_tools() -> None:
    """The command that is named has the database's address, and no password."""
    url = "postgresql://orchestrator:secret@db.internal:5433/membership?sslmode=verify-full"
    for restoring, tool in ((False, "pg_dump --format=custom"), (True, "pg_restore --clean")):
        command = by_other_tools(url, Path("store.dump"), restoring=restoring)
        assert command is not None
        assert command.startswith(tool)
        assert '"postgresql://orchestrator@db.internal:5433/membership?sslmode=verify-full"' in command
        assert "secret" not in command
    assert by_other_tools("sqlite:///store.db", Path("x"), restoring=False) is None


async def test_the_commands_for_postgresql_do_it(postgresql_url: str, tmp_path: Path) -> None:
    """What `backup` and `restore` name for PostgreSQL dumps a store and puts it back, and the rest prepares it."""
    await asyncio.to_thread(migrate, postgresql_url)
    async with Database(postgresql_url) as database:
        await SqlChangeStore(database, JumpingClock()).accept(a_change("1"), "hash", [said("g")])
    await by_shell(by_other_tools(postgresql_url, tmp_path / "store.dump", restoring=False))
    async with Database(postgresql_url) as database:
        await SqlChangeStore(database, JumpingClock()).accept(a_change("2"), "hash", [said("g")])
    await by_shell(by_other_tools(postgresql_url, tmp_path / "store.dump", restoring=True))
    await asyncio.to_thread(prepare, postgresql_url, LATER, alone=False)
    async with Database(postgresql_url) as database:
        store = SqlChangeStore(database, JumpingClock(LATER))
        assert [change.change_id for change in await store.changes()] == ["change-1"]
        await store.announce([said("g")])
        (before, after) = await SqlOutbox(database).after(0, limit=10)
    assert (before.position, before.sequence) == (1, 1)
    assert after.position > LATER.timestamp() * 1e6
    assert after.sequence > LATER.timestamp()


async def by_shell(command: str | None) -> None:
    """Run a command as a person would, with PostgreSQL's programs on the path."""
    assert command is not None
    folder = str(Path(programs.postgresql("pg_dump")).parent)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    shell = await asyncio.create_subprocess_shell(command, env=environment, stderr=asyncio.subprocess.PIPE)
    _, said_by_it = await asyncio.wait_for(shell.communicate(), 60)
    assert shell.returncode == 0, said_by_it.decode()
