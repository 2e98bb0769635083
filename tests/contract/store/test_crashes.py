"""What is left when a process or the database dies in the midst of work."""

import asyncio
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from orchestrator.engine.ports.store import StoreError
from orchestrator.membership.model import Change, State
from orchestrator.membership.news.status import announce
from orchestrator.store import Database, SqlChangeStore, SqlOutbox, migrate
from orchestrator.store.errors import StoreUnavailableError
from tests.fakes.changes import a_change, a_step, led
from tests.fakes.clock import START, JumpingClock
from tests.patience import patient, within
from tests.servers.postgresql_server import PostgreSQLServer

ROOT = Path(__file__).parents[3]

_ACCEPT_WITHOUT_END = """
import asyncio, itertools, sys
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.membership.news.status import announce
from orchestrator.store import Database, SqlChangeStore
from tests.fakes.changes import a_change

async def main():
    numbers = itertools.count()
    async with Database(sys.argv[1]) as database:
        store = SqlChangeStore(database, SystemClock())
        async def accept():
            for number in numbers:
                change = a_change(str(number), f"g{number % 5}")
                await store.accept(change, "hash", announce(None, change))
                print(change.change_id, flush=True)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                tasks.create_task(accept())

asyncio.run(main())
"""


def _accepted_until_killed(url: str, count: int) -> list[str]:
    """Have a process accept changes, kill it after so many, and return all that it was told are accepted."""
    child = subprocess.Popen([sys.executable, "-c", _ACCEPT_WITHOUT_END, url], cwd=ROOT, stdout=subprocess.PIPE)
    assert child.stdout is not None
    accepted = [child.stdout.readline().decode().strip() for _ in range(count)]
    child.send_signal(signal.SIGKILL)
    rest, _ = child.communicate(timeout=patient(10))
    return [*accepted, *rest.decode().split("\n")[:-1]]


def _until_its_sessions_ended(url: str) -> None:
    """Wait for PostgreSQL: what a process sent before it was killed may be committed after that."""
    if url.startswith("sqlite"):
        return
    others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() LIMIT 1"
    with psycopg.connect(url, autocommit=True) as connection:
        for _ in within(30):
            if connection.execute(others).fetchone() is None:
                return
            time.sleep(0.02)
    raise AssertionError("the killed process still has sessions")


async def test_what_was_accepted_survives_a_kill(store_url: str, clock: JumpingClock) -> None:
    """After SIGKILL amid a stream of requests every acknowledged one is there, once, with its event."""
    accepted = await asyncio.to_thread(_accepted_until_killed, store_url, 300)
    assert all(accepted)
    await asyncio.to_thread(_until_its_sessions_ended, store_url)
    async with Database(store_url) as database:
        store, outbox = SqlChangeStore(database, clock), SqlOutbox(database)
        changes = {change.change_id: change for change in await store.changes(limit=10_000)}
        assert set(accepted) <= set(changes)
        events = await outbox.after(0, limit=10_000)
        assert sorted(str(entry.event.change_id) for entry in events) == sorted(changes)
        for group in range(5):
            sequences = [entry.sequence for entry in events if entry.event.privacy_group_id == f"g{group}"]
            assert sequences == list(range(1, len(sequences) + 1))
        lanes = await store.claim(holder="one", lease=timedelta(seconds=10), limit=10, now=START)
        assert {lane.privacy_group_id for lane in lanes} == {f"g{group}" for group in range(5)}


async def _until_stored(store: SqlChangeStore, change: Change) -> None:
    """Do what the intake does: try again until the store is there."""
    while True:
        try:
            await store.accept(change, "hash", announce(None, change))
        except StoreError:
            await asyncio.sleep(0.05)
        else:
            return


async def _until_read(store: SqlChangeStore, change_id: str) -> None:
    while True:
        try:
            await store.change(change_id)
        except StoreError:
            await asyncio.sleep(0.05)
        else:
            return


async def test_a_killed_postgresql_loses_nothing(
    postgresql_server: PostgreSQLServer, postgresql_url: str, clock: JumpingClock
) -> None:
    """While PostgreSQL is down every method raises `StoreError`; when it is back, work goes on, nothing doubled."""
    await asyncio.to_thread(migrate, postgresql_url)
    async with Database(postgresql_url) as database, asyncio.timeout(patient(60)):
        store, outbox = SqlChangeStore(database, clock), SqlOutbox(database)
        changes = [a_change(str(number), f"g{number % 3}") for number in range(400)]
        async with asyncio.TaskGroup() as tasks:
            for change in changes[:200]:
                tasks.create_task(_until_stored(store, change))
            await asyncio.to_thread(postgresql_server.kill)
            with pytest.raises(StoreUnavailableError, match="could not do it"):
                await store.change("change-1")
            with pytest.raises(StoreUnavailableError):
                await store.claim(holder="one", lease=timedelta(seconds=10), limit=1, now=START)
            for change in changes[200:]:
                tasks.create_task(_until_stored(store, change))
            await asyncio.to_thread(postgresql_server.start)
        assert len(await store.changes(limit=1000)) == 400
        for group in range(3):
            events = await outbox.after(0, limit=1000, privacy_group_id=f"g{group}")
            assert [entry.sequence for entry in events] == list(range(1, len(events) + 1))
        (lane, *_) = await store.claim(holder="one", lease=timedelta(seconds=10), limit=3, now=START)
        change = lane.queued[0]
        await store.record(lane, a_step(change, led(change, State.PREFLIGHT)))


async def test_a_frozen_postgresql_does_not_hold_a_stop_up(
    postgresql_server: PostgreSQLServer, postgresql_url: str, clock: JumpingClock
) -> None:
    """A server that keeps its connections open and answers nothing is given up after a bounded time."""
    await asyncio.to_thread(migrate, postgresql_url)
    async with asyncio.timeout(patient(30)), Database(postgresql_url, timedelta(seconds=0.3)) as database:
        store = SqlChangeStore(database, clock)
        # Until both have a connection that stays open: a busy server, too, may not answer in so little time.
        await _until_stored(store, a_change("1"))
        await _until_read(store, "change-1")
        postgresql_server.pause()
        try:
            with pytest.raises(StoreUnavailableError, match="did not answer within"):
                await store.accept(a_change("2"), "hash", ())
            with pytest.raises(StoreUnavailableError, match="did not answer within"):
                await store.change("change-1")
            await database.close()
        finally:
            postgresql_server.resume()
