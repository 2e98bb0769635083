"""While old rows leave a PostgreSQL store, nobody who works on it waits: not even for a deletion that does not end."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from orchestrator.access.audit import Action, entry_by
from orchestrator.access.callers import Door, anyone
from orchestrator.instants import micros
from orchestrator.membership.news.status import announce
from orchestrator.store import Database, SqlChangeStore, SqlOutbox
from orchestrator.store.commits import audit_rows
from orchestrator.store.commits.schema_version import migrate
from orchestrator.store.commits.transaction import Transaction
from orchestrator.store.database.connections import engine_for, normalised
from orchestrator.store.stores.audit_store import SqlAuditLog
from orchestrator.store.units import archive, outbox
from tests.capacity.filled_store import StoreShape, fill
from tests.fakes.changes import a_change, a_step, led
from tests.fakes.clock import START, JumpingClock

SHAPE = StoreShape(groups=20, changes=400, waiting=10)
NOW = START + timedelta(days=40)
ENTRY = entry_by(anyone(Door.HTTP), Action.ASK, micros(START))


@pytest.fixture
async def old_url(postgresql_url: str) -> str:
    """A store whose changes, events and audit log are old."""

    def prepare() -> None:
        migrate(postgresql_url)
        engine = engine_for(normalised(postgresql_url))
        with engine.begin() as connection:
            fill(connection, SHAPE)
            audit_rows.append(connection, [ENTRY] * 50)
            (entry,) = audit_rows.behind(connection, after=39, limit=1)
            audit_rows.cut(connection, number=entry.number, entry_hash=entry.entry_hash, at=0)
        engine.dispose()

    await asyncio.to_thread(prepare)
    return postgresql_url


def _events(transaction: Transaction) -> int:
    positions, _ = outbox.deletable(
        transaction.connection,
        before=micros(NOW),
        now=micros(NOW),
        after=0,
        through_position=10**6,
        types=(),
        limit=500,
    )
    return outbox.delete(transaction, positions=positions, thinning=False)


def _changes(transaction: Transaction) -> int:
    transaction.connection.execute(sa.text("DELETE FROM outbox"))
    batch = archive.ended(transaction.connection, before=micros(NOW), after=0, limit=100)
    return archive.delete(transaction, change_ids=batch.change_ids, before=micros(NOW))


@asynccontextmanager
async def unended(url: str, sweep: Callable[[Transaction], int]) -> AsyncIterator[int]:
    """Rows that are deleted by a transaction that stands still before its commit; how many."""
    engine = engine_for(normalised(url))
    connection = await asyncio.to_thread(engine.connect)
    try:
        transaction = connection.begin()
        yield await asyncio.to_thread(sweep, Transaction(connection))
        transaction.rollback()
    finally:
        connection.close()
        engine.dispose()


def _audit_log(transaction: Transaction) -> int:
    return audit_rows.delete_cut(transaction.connection, 500)


@pytest.mark.parametrize(("sweep", "rows"), [(_events, 500), (_changes, 100), (_audit_log, 40)])
async def test_nobody_waits(old_url: str, sweep: Callable[[Transaction], int], rows: int) -> None:
    """Accepting, claiming, stepping, publishing and the audit log go on beside a deletion that has not ended."""
    clock = JumpingClock(NOW)
    async with Database(old_url) as database, unended(old_url, sweep) as deleted:
        assert deleted == rows
        for engine in (database._writing, database._reading):  # who would have to wait is refused at once
            sa.event.listen(engine, "begin", _impatient)
        store, events = SqlChangeStore(database, clock), SqlOutbox(database)
        change = a_change("new", "a new group", at=3_000_000)
        assert not (await store.accept(change, "hash", announce(None, change), audit=ENTRY)).duplicate
        lanes = await store.claim(holder="one", lease=timedelta(seconds=10), limit=100, now=NOW)
        assert len(lanes) == SHAPE.waiting
        for lane in lanes:
            await store.record(lane, a_step(lane.queued[0], led(lane.queued[0])))
            await store.release(lane, now=NOW)
        pending = await events.pending(100)
        assert len(pending) == 1 + SHAPE.waiting
        await events.mark_published([event.position for event in pending], at=NOW)
        await store.renew(holder="one", lease=timedelta(seconds=10), now=NOW)
        await SqlAuditLog(database).record(replace(ENTRY, at=micros(NOW)))


def _impatient(connection: sa.Connection) -> None:
    connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
