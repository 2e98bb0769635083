"""The outbox as the relay and the subscribers use it, on both databases."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import psycopg

from orchestrator.membership.news.status import EventType, StatusEvent, announce
from orchestrator.store import Database, SqlChangeStore, SqlOutbox, migrate
from orchestrator.store.units.outbox import StoredEvent
from tests.fakes.changes import a_change
from tests.fakes.clock import START, JumpingClock
from tests.patience import patient


def an_event(name: str, group: str = "g", kind: EventType = EventType.CHANGE_PROGRESSED) -> StatusEvent:
    return StatusEvent(
        type=kind, privacy_group_id=group, change_id=name, request_id=name, data={"list": [1, None, "é"]}
    )


async def test_events_are_read_as_they_were_stored(
    store: SqlChangeStore, outbox: SqlOutbox, clock: JumpingClock
) -> None:
    """An event keeps everything; its id is unique and the same whenever it is read."""
    events = [an_event("1"), an_event("2"), an_event("1", "other")]
    await store.announce(events)
    stored = await outbox.pending(10)
    assert [entry.event for entry in stored] == events
    assert {entry.at for entry in stored} == {clock.now()}
    assert len({entry.event_id for entry in stored}) == 3
    assert await outbox.after(0, limit=10) == stored
    assert [entry.position for entry in stored] == sorted(entry.position for entry in stored)


async def test_published_events_are_pending_no_more(store: SqlChangeStore, outbox: SqlOutbox) -> None:
    """What is marked is not handed out again, and marking again does no harm."""
    await store.announce([an_event(str(number)) for number in range(5)])
    first, second, third, *_ = await outbox.pending(3)
    await outbox.mark_published([second.position, first.position], at=START)
    await outbox.mark_published([first.position], at=START + timedelta(seconds=5))
    await outbox.mark_published([], at=START)
    assert (await outbox.pending(1))[0] == third
    assert len(await outbox.pending(10)) == 3


async def test_readers_go_on_behind_a_position(store: SqlChangeStore, outbox: SqlOutbox) -> None:
    """Events are read on behind a position, of one group, change or type, published or not."""
    await store.announce([an_event(str(number), f"g{number % 2}") for number in range(8)])
    await store.announce([an_event("x", "g1", EventType.GROUP_LOCKED)])
    everything = await outbox.after(0, limit=100)
    assert await outbox.after(everything[2].position, limit=3) == everything[3:6]
    of_group = await outbox.after(everything[2].position, limit=100, privacy_group_id="g1")
    assert of_group == tuple(entry for entry in everything[3:] if entry.event.privacy_group_id == "g1")
    assert [entry.event.change_id for entry in await outbox.after(0, limit=9, change_id="3")] == ["3"]
    locked = await outbox.after(0, limit=9, types=[EventType.GROUP_LOCKED, EventType.GROUP_UNLOCKED])
    assert [entry.event.change_id for entry in locked] == ["x"]
    assert await outbox.after(everything[-1].position, limit=9) == ()


async def test_the_last_position_survives_deletion(store: SqlChangeStore, outbox: SqlOutbox) -> None:
    """Retention deletes published events that are old enough, tells how far, and positions are never given twice."""
    assert (await outbox.last_position(), await outbox.deleted_through()) == (0, 0)
    await store.announce([an_event(str(number)) for number in range(4)])
    entries = await outbox.pending(10)
    last = entries[-1].position
    later = START + timedelta(days=1)

    async def delete(before: datetime, through: int, limit: int = 1_000) -> int:
        swept = await outbox.delete_published(before=before, now=later, after=0, through_position=through, limit=limit)
        return swept.deleted

    assert await delete(later, last) == 0
    await outbox.mark_published([entry.position for entry in entries], at=START)
    assert await delete(START, last) == 0
    assert await delete(later, entries[1].position, limit=1) == 1
    assert await outbox.deleted_through() == entries[0].position
    assert await delete(later, last) == 3
    assert await outbox.after(0, limit=10) == ()
    assert (await outbox.last_position(), await outbox.deleted_through()) == (last, last)
    await store.announce([an_event("new")])
    (new,) = await outbox.pending(10)
    assert (new.position > last, new.sequence) == (True, 5)


async def test_deletion_looks_no_further_than_it_must(
    database: Database, store: SqlChangeStore, outbox: SqlOutbox, clock: JumpingClock
) -> None:
    """It ends where all are too young, though not at events of a clock that was ahead, and thinning goes on later."""
    for seconds in (0, 9_999_999, 100, 200):  # the second is of another replica, whose clock is months ahead
        clock.time = START + timedelta(seconds=seconds)
        await store.announce([an_event(f"{seconds} {number}") for number in range(2)])
    entries = await outbox.after(0, limit=10)
    places = [entry.position for entry in entries]
    await outbox.mark_published(places, at=START)
    now = START + timedelta(seconds=300)

    async def sweep(seconds: float, after: int, types: Sequence[str] = ()) -> tuple[int, int | None]:
        before = START + timedelta(seconds=seconds)
        swept = await outbox.delete_published(
            before=before, now=now, after=after, through_position=places[-1], types=types, limit=2
        )
        return swept.deleted, swept.through

    progress = [EventType.CHANGE_PROGRESSED]
    assert await sweep(50, 0, progress) == (2, places[1])
    assert await sweep(50, places[1], progress) == (0, places[3]), "nobody knows when these were"
    assert await sweep(50, places[3], progress) == (0, None), "the last two are not even looked at"
    assert await sweep(150, 0, progress) == (0, places[3]), "it begins where it ended"
    assert await sweep(150, places[3], progress) == (2, places[5])
    assert await sweep(250, 0) == (0, places[3])
    assert await sweep(250, places[3]) == (2, places[7])


async def test_thinning_out_is_no_loss_to_tell(store: SqlChangeStore, outbox: SqlOutbox) -> None:
    """Deleting only some types leaves the others and does not count as deleted."""
    await store.announce([an_event("1", kind=EventType.CHANGE_ACCEPTED), an_event("2"), an_event("3")])
    entries = await outbox.pending(10)
    last = entries[-1].position
    await outbox.mark_published([entry.position for entry in entries], at=START)
    later = START + timedelta(days=1)
    swept = await outbox.delete_published(
        before=later, now=later, after=0, through_position=last, types=[EventType.CHANGE_PROGRESSED]
    )
    assert swept.deleted == 2
    assert [entry.event.change_id for entry in await outbox.after(0, limit=9)] == ["1"]
    assert (await outbox.last_position(), await outbox.deleted_through()) == (last, 0)


async def test_a_named_work_is_done_by_one(outbox: SqlOutbox) -> None:
    """A lease is one holder's until it is over or given back."""
    lease = timedelta(seconds=10)

    async def acquire(holder: str, seconds: float, name: str = "relay") -> bool:
        return await outbox.acquire_lease(name, holder=holder, lease=lease, now=START + timedelta(seconds=seconds))

    assert await acquire("one", 0)
    assert not await acquire("two", 9)
    assert await acquire("two", 9, "other work")
    assert await acquire("one", 9)
    assert not await acquire("two", 18)
    assert await acquire("two", 19)
    assert not await acquire("one", 20)
    await outbox.release_lease("relay", holder="one")
    assert not await acquire("one", 20)
    await outbox.release_lease("relay", holder="two")
    assert await acquire("one", 20)


async def test_a_checkpoint_is_kept(outbox: SqlOutbox) -> None:
    """A reader's checkpoint is what it saved last."""
    assert await outbox.checkpoint("hook") is None
    await outbox.save_checkpoint("hook", position=3)
    await outbox.save_checkpoint("hook", position=7, failures=2, paused_since=START, detail="refused\x00")
    found = await outbox.checkpoint("hook")
    assert found is not None
    assert (found.position, found.failures, found.paused_since) == (7, 2, START)
    assert found.detail == "refused\N{REPLACEMENT CHARACTER}"
    assert await outbox.checkpoint("other") is None


async def test_a_waiting_reader_is_woken(store: SqlChangeStore, outbox: SqlOutbox) -> None:
    """All who wait for events behind a position return when one is committed; without any, when the time is over."""
    await outbox.wait_for_events(0, 0.01)
    waiting = [asyncio.ensure_future(outbox.wait_for_events(0, 30)) for _ in range(3)]
    await asyncio.sleep(0)
    await store.announce([an_event("1")])
    await asyncio.wait_for(asyncio.gather(*waiting), 25)
    await asyncio.wait_for(outbox.wait_for_events(0, 30), 25)
    position = await outbox.last_position()
    await outbox.wait_for_events(position, 0.01)


async def test_positions_become_visible_in_order(store_url: str, clock: JumpingClock) -> None:
    """While two replicas commit events of many groups, a reader that has seen a position never meets a lower one."""
    async with Database(store_url) as one, Database(store_url) as other, Database(store_url) as third:
        stores = [SqlChangeStore(one, clock), SqlChangeStore(other, clock)]
        outbox = SqlOutbox(third)
        total = 240
        seen: list[StoredEvent] = []

        async def produce(number: int) -> None:
            for count in range(total // 8):
                change = a_change(f"{number}-{count}", f"g{(number + count) % 5}")
                await stores[number % 2].accept(change, "hash", announce(None, change))

        async with asyncio.timeout(patient(60)), asyncio.TaskGroup() as tasks:
            for number in range(8):
                tasks.create_task(produce(number))
            position = 0
            while len(seen) < total:
                for entry in await outbox.after(position, limit=50):
                    seen.append(entry)
                    position = entry.position
        # Nothing was skipped by reading on behind the newest position seen.
        assert len({entry.event.change_id for entry in seen}) == total
        for group in range(5):
            sequences = [entry.sequence for entry in seen if entry.event.privacy_group_id == f"g{group}"]
            assert sequences == list(range(1, len(sequences) + 1))


async def test_a_reopened_store_knows_the_newest_position(store_url: str, clock: JumpingClock) -> None:
    """Events that were there before the store was opened do not have to be waited for."""
    async with Database(store_url) as database:
        await SqlChangeStore(database, clock).announce([an_event("1")])
    async with Database(store_url) as database:
        await asyncio.wait_for(SqlOutbox(database).wait_for_events(0, 30), 25)


async def test_a_slow_commit_is_not_overtaken(postgresql_url: str, clock: JumpingClock) -> None:
    """An event whose commit takes long keeps those with higher positions from being seen before it."""
    await asyncio.to_thread(migrate, postgresql_url)
    with psycopg.connect(postgresql_url, autocommit=True) as connection:
        connection.execute(
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            " WHILE NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND classid = 4711)"
            " LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN NULL; END $$"
        )
        connection.execute(
            "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON outbox DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW WHEN (NEW.change_id = 'slow') EXECUTE FUNCTION wait()"
        )
        async with Database(postgresql_url) as one, Database(postgresql_url) as other:
            slow = asyncio.ensure_future(SqlChangeStore(one, clock).announce([an_event("slow", "g1")]))
            # Returns once the slow one has its position and is within its commit, where it stays until it is let go.
            await asyncio.to_thread(
                connection.execute,
                "DO $$ BEGIN WHILE NOT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
                " AND query = 'COMMIT' AND datname = current_database())"
                " LOOP PERFORM pg_stat_clear_snapshot(); END LOOP; END $$",
            )
            fast = asyncio.ensure_future(SqlChangeStore(other, clock).announce([an_event("fast", "g2")]))
            await asyncio.wait({fast}, timeout=0.5)
            before = await SqlOutbox(other).after(0, limit=10)
            await asyncio.to_thread(connection.execute, "SELECT pg_advisory_lock(4711, 1)")
            await asyncio.gather(slow, fast)
            names = [entry.event.change_id for entry in await SqlOutbox(other).after(0, limit=10)]
    assert not before
    assert names == ["slow", "fast"]
