"""The audit log on both databases: one chain, in the same transaction as what it tells of, and nothing changes it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.access.audit import Action, AuditEntry, Outcome, entry_by, first_break
from orchestrator.access.callers import Door, anyone
from orchestrator.engine.ports.store import Record
from orchestrator.membership.errors import ConflictingRequestError
from orchestrator.membership.news.status import announce
from orchestrator.store import Database, SqlChangeStore
from orchestrator.store.errors import StoreUnavailableError
from orchestrator.store.stores.audit_store import SqlAuditLog
from tests.fakes.changes import a_change
from tests.fakes.clock import JumpingClock

ENTRY = entry_by(anyone(Door.HTTP), Action.ASK, 1_700_000_000_000_001, about="add_members")


@pytest.fixture
def log(database: Database) -> SqlAuditLog:
    return SqlAuditLog(database)


async def test_what_is_read_is_what_was_written(log: SqlAuditLog) -> None:
    """Also texts that no column can hold: they are made fit before they are hashed."""
    awkward = replace(ENTRY, caller="a\x00b\ud800", reason="line\nbreak \u202e", outcome=Outcome.REFUSED)
    for entry in (ENTRY, awkward):
        await log.record(entry)
    found = await log.behind(0, 10)
    assert first_break(found) is None
    assert found[0].entry == ENTRY
    assert found[1].entry.outcome is Outcome.REFUSED
    assert await log.behind(1, 10) == found[1:]
    assert await log.behind(0, 1) == found[:1]


async def test_accepting_and_its_entry_are_one(store: SqlChangeStore, log: SqlAuditLog) -> None:
    """A new change has its entry, one that was known has none, one that is refused has none either."""
    await store.accept(a_change("1", request_id="r"), "hash", (), audit=ENTRY)
    await store.accept(a_change("2", request_id="r"), "hash", (), audit=ENTRY)
    with pytest.raises(ConflictingRequestError):
        await store.accept(a_change("3", request_id="r"), "other", (), audit=ENTRY)
    assert [found.entry for found in await log.behind(0, 10)] == [ENTRY]


async def test_amending_and_its_entry_are_one(store: SqlChangeStore, log: SqlAuditLog) -> None:
    """What an operator did is there with its change, and what failed is not."""
    change = a_change("1")
    await store.accept(change, "hash", ())
    retry = replace(ENTRY, action=Action.RETRY, reason="the node is back")
    await store.amend("change-1", lambda found: Record(changes=(replace(found, revision=found.revision + 1),)), retry)

    def refuse(found: Any) -> Record:
        raise ValueError(found)

    with pytest.raises(ValueError, match="change-1"):
        await store.amend("change-1", refuse, retry)
    (found,) = await log.behind(0, 10)
    assert found.entry.change_id == "change-1"
    assert found.entry.privacy_group_id == change.privacy_group_id
    assert found.entry.reason == "the node is back"


async def test_replicas_write_one_chain(store_url: str, clock: JumpingClock) -> None:
    """Two processes that accept at the same time leave one unbroken chain with everything in it."""
    async with Database(store_url) as one, Database(store_url) as other:
        stores = [SqlChangeStore(database, clock) for database in (one, other)]

        async def accept(number: int) -> None:
            change = a_change(str(number), f"group-{number % 7}")
            entry = replace(ENTRY, change_id=change.change_id)
            await stores[number % 2].accept(change, "hash", announce(None, change), audit=entry)

        await asyncio.gather(*(accept(number) for number in range(200)))
        found = await SqlAuditLog(one).behind(0, 1_000)
    assert first_break(found) is None
    assert {entry.entry.change_id for entry in found} == {f"change-{number}" for number in range(200)}
    assert len(found) == 200


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET reason = 'x'", "DELETE FROM audit_log"])
async def test_the_database_refuses_to_change_an_entry(database: Database, log: SqlAuditLog, statement: str) -> None:
    """By a program's mistake nothing of it is lost: triggers say no."""
    await log.record(ENTRY)

    def change(transaction: Any) -> None:
        transaction.connection.execute(sa.text(statement))

    with pytest.raises((StoreUnavailableError, Exception), match="stay as they are"):
        await database.write(change)
    assert [found.entry for found in await log.behind(0, 10)] == [ENTRY]


async def test_the_tampered_log_is_found_out(database: Database, log: SqlAuditLog) -> None:
    """Who gets around the triggers, as the database's owner can, is found out by the chain."""
    entries = [replace(ENTRY, change_id=str(number)) for number in range(3)]
    for entry in entries:
        await log.record(entry)

    def tamper(transaction: Any) -> None:
        if transaction.connection.dialect.name == "postgresql":
            transaction.connection.execute(sa.text("ALTER TABLE audit_log DISABLE TRIGGER ALL"))
        else:
            transaction.connection.execute(sa.text("DROP TRIGGER audit_log_stays_update"))
        transaction.connection.execute(sa.text("UPDATE audit_log SET caller = 'x' WHERE number = 2"))

    await database.write(tamper)
    trouble = first_break(await log.behind(0, 10))
    assert trouble is not None
    assert "entry 2" in trouble


def test_entries_name_all_fields() -> None:
    """What an entry says is hashed: a field that is added to it has to be put into the hash, too."""
    assert len(AuditEntry.__dataclass_fields__) == 11
