"""A replica that is stopped while PostgreSQL waits for the rest of what it sends."""

import asyncio
import select
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TypeVar

import psycopg
import pytest

from orchestrator.store import Database, SqlChangeStore, migrate
from orchestrator.store.database import stuck_sessions
from orchestrator.store.database.postgresql import IDLE_SECONDS
from orchestrator.store.database.stuck_sessions import end_stuck
from tests.fakes.changes import a_change
from tests.fakes.clock import START, JumpingClock
from tests.patience import patient

LEASE = timedelta(seconds=8)
AT_ONCE = timedelta(milliseconds=50)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Client' AND state = 'active'"
WAITING += " AND datname = current_database()"

T = TypeVar("T")


@contextmanager
def amid_a_pipeline(url: str, name: str, *, synced: bool = False) -> Iterator[None]:
    """A session that has locked all lanes and of which the server awaits more, as when a replica is stopped there.

    Args:
        url: The database.
        name: The application's.
        synced: Whether all that was sent so far is answered; PostgreSQL then says that the session is idle.
    """
    limits = f"-c idle_in_transaction_session_timeout={IDLE_SECONDS * 1000} -c statement_timeout=1000"
    connection = psycopg.connect(url, application_name=name, options=limits)
    try:
        connection.pgconn.exec_(b"BEGIN")
        connection.pgconn.enter_pipeline_mode()
        connection.pgconn.send_query_params(b"UPDATE lanes SET last_sequence = last_sequence", None)
        if synced:
            connection.pgconn.pipeline_sync()
        connection.pgconn.send_flush_request()
        connection.pgconn.flush()
        while connection.pgconn.is_busy():  # a server that is slow has not locked anything yet
            select.select([connection.pgconn.socket], [], [], 1.0)
            connection.pgconn.consume_input()
        yield
    finally:
        connection.close()


async def until(reached: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(patient(30)):
        while not (found := await reached()):  # noqa: ASYNC110 - what changes it is PostgreSQL
            await asyncio.sleep(0.02)
    return found


@pytest.mark.parametrize("synced", [False, True])
async def test_a_replica_that_is_stopped_amid_a_pipeline_holds_nothing(
    postgresql_url: str, clock: JumpingClock, monkeypatch: pytest.MonkeyPatch, *, synced: bool
) -> None:
    """The locks of a session that waits for its client inside a transaction are free again when it is ended."""
    monkeypatch.setattr(stuck_sessions, "LOOK_SECONDS", 3600.0)  # or they are free before it is seen that they are not
    await asyncio.to_thread(migrate, postgresql_url)
    async with Database(postgresql_url) as database:
        store = SqlChangeStore(database, clock)
        await store.accept(a_change("1"), "hash", ())
        with amid_a_pipeline(postgresql_url, "besu-membership-orchestrator", synced=synced):
            assert await store.claim(holder="one", lease=LEASE, limit=1, now=START) == ()
            await until(lambda: database.read(partial(end_stuck, after=AT_ONCE)))
            lanes = await until(lambda: store.claim(holder="one", lease=LEASE, limit=1, now=START))
        assert [lane.privacy_group_id for lane in lanes] == [a_change("1").privacy_group_id]


async def test_who_holds_others_up_is_ended_in_whatever_state(postgresql_url: str, clock: JumpingClock) -> None:
    """A session that others wait for, and that has begun nothing new for long, is ended amid a statement, too."""
    await asyncio.to_thread(migrate, postgresql_url)
    async with Database(postgresql_url) as database:
        store = SqlChangeStore(database, clock)
        await store.accept(a_change("1"), "hash", ())
        holding = await psycopg.AsyncConnection.connect(postgresql_url, application_name="besu-membership-orchestrator")
        await holding.execute("UPDATE lanes SET last_sequence = last_sequence")
        sleeping = asyncio.create_task(holding.execute("SELECT pg_sleep(60)"))
        accepting = asyncio.create_task(store.accept(a_change("2"), "hash", ()))
        await until(lambda: database.read(partial(end_stuck, after=AT_ONCE)))
        await accepting
        with pytest.raises(psycopg.Error):
            await sleeping
        await holding.close()


async def test_sessions_of_others_are_let_alone(postgresql_url: str) -> None:
    """A session of another application is not ended, whatever it waits for."""
    await asyncio.to_thread(migrate, postgresql_url)
    async with Database(postgresql_url) as database:
        with amid_a_pipeline(postgresql_url, "somebody-else"):
            async with await psycopg.AsyncConnection.connect(postgresql_url, autocommit=True) as looking:

                async def seen() -> bool:
                    return bool((await (await looking.execute(WAITING)).fetchone()) == (1,))

                await until(seen)
            assert await database.read(partial(end_stuck, after=timedelta())) == 0


async def test_a_database_looks_for_such_sessions_by_itself(postgresql_url: str, clock: JumpingClock) -> None:
    """Without anybody's doing the lanes of a replica that is stopped amid a pipeline can be claimed again."""
    await asyncio.to_thread(migrate, postgresql_url)
    async with Database(postgresql_url) as database:
        store = SqlChangeStore(database, clock)
        await store.accept(a_change("1"), "hash", ())
        with amid_a_pipeline(postgresql_url, "besu-membership-orchestrator"):
            await until(lambda: store.claim(holder="one", lease=LEASE, limit=1, now=START))
