"""Waiting for work, in one process and between replicas."""

import asyncio
from datetime import timedelta

import psycopg

from orchestrator.membership.model import State
from orchestrator.membership.news.status import announce
from orchestrator.store import Database, SqlChangeStore, SqlOutbox, migrate
from tests.fakes.changes import a_change, a_step, led, stepped
from tests.fakes.clock import START, JumpingClock

LEASE = timedelta(seconds=10)


async def test_an_idle_worker_is_woken_by_what_comes_due(store: SqlChangeStore) -> None:
    """Accepting, an operator's retry and giving a lane back wake whoever waits for work."""
    change = a_change("1")
    waiting = asyncio.ensure_future(store.wait_for_work(30))
    await asyncio.sleep(0)
    await store.accept(change, "hash", ())
    await asyncio.wait_for(waiting, 25)

    (lane,) = await store.claim(holder="one", lease=LEASE, limit=1, now=START)
    parked = led(change, State.PARKED)
    await store.record(lane, a_step(change, parked))
    await store.release(lane, now=START)
    await store.wait_for_work(0.01)
    waiting = asyncio.ensure_future(store.wait_for_work(30))
    await store.amend(change.change_id, lambda found: a_step(found, stepped(found, State.QUEUED)))
    await asyncio.wait_for(waiting, 25)


async def test_work_that_comes_while_claiming_is_not_missed(store: SqlChangeStore) -> None:
    """What came due after a claim began ends the next wait at once."""
    assert await store.claim(holder="one", lease=LEASE, limit=1, now=START) == ()
    await store.accept(a_change("1"), "hash", ())
    await asyncio.wait_for(store.wait_for_work(30), 25)


async def test_waiting_ends_when_the_time_is_over(store: SqlChangeStore) -> None:
    """Without work, waiting returns after the time it was given."""
    async with asyncio.timeout(25):
        await store.wait_for_work(0.05)
        await store.wait_for_work(0.05)


async def test_replicas_hear_of_each_other(postgresql_url: str, clock: JumpingClock) -> None:
    """On PostgreSQL a replica is woken by what another one accepts and announces."""
    await asyncio.to_thread(migrate, postgresql_url)
    async with Database(postgresql_url) as one, Database(postgresql_url) as other:
        here, there = SqlChangeStore(one, clock), SqlChangeStore(other, clock)
        work = asyncio.ensure_future(there.wait_for_work(30))
        await asyncio.wait_for(work, 25)  # everybody is woken once when listening begins
        work = asyncio.ensure_future(there.wait_for_work(30))
        events = asyncio.ensure_future(SqlOutbox(other).wait_for_events(0, 30))
        change = a_change("1")
        await here.accept(change, "hash", announce(None, change))
        await asyncio.wait_for(asyncio.gather(work, events), 25)


async def test_listening_goes_on_after_the_connection_was_lost(postgresql_url: str, clock: JumpingClock) -> None:
    """A replica whose connections the server ended listens again, and has missed nothing."""
    await asyncio.to_thread(migrate, postgresql_url)
    async with Database(postgresql_url) as one, Database(postgresql_url) as other:
        here, there = SqlChangeStore(one, clock), SqlChangeStore(other, clock)
        await asyncio.wait_for(there.wait_for_work(30), 25)
        with psycopg.connect(postgresql_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity"  # waits until they are gone
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        change = a_change("1")
        await here.accept(change, "hash", announce(None, change))
        await asyncio.wait_for(SqlOutbox(other).wait_for_events(0, 30), 25)
        await asyncio.wait_for(there.wait_for_work(30), 25)
