"""What becomes of a store whose transactions were sent by markers that the nodes signed, on both databases."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from orchestrator.membership.attempt import AttemptStatus
from orchestrator.membership.model import State
from orchestrator.store import Database, SqlChangeStore, migrate, schema_version
from orchestrator.store import migrations as scripts
from orchestrator.store.database.connections import engine_for, normalised
from orchestrator.store.errors import SchemaVersionError
from tests.fakes.clock import JumpingClock

HASHES = ["0x" + digit * 64 for digit in "12"]
Rows = Callable[..., None]


@pytest.fixture
async def put(database_url: str) -> Rows:
    """Puts a change, and an attempt of it, into a store as the first release made it."""
    engine = engine_for(normalised(database_url))
    tables = sa.MetaData()

    def prepare() -> None:
        with engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", scripts.__path__[0])
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")
            tables.reflect(connection)

    await asyncio.to_thread(prepare)

    def insert(
        name: str, state: State, status: str, hashes: list[str], *, sent: bool = True, attempts: int = 1
    ) -> None:
        change: dict[str, Any] = {
            "change_id": name, "request_id": name, "body_hash": "", "kind": "add_members", "privacy_group_id": name,
            "members": "[]", "account": "0x", "created_at": 0, "state": state.value,
            "lead_id": None if state is State.QUEUED else name, "batch_limit": 20, "batch": 1, "tries": 0,
            "attempt_id": f"{name} 0", "failures": 0, "undo_lock": False, "progress": "[]", "revision": 1,
            "ready_at": 0,
        }  # fmt: skip # a row with many columns, which reads as one
        attempt: dict[str, Any] = {
            "change_id": name, "action": "lock", "members": "[]", "node": "a", "private_nonce": 1, "raw": b"signed",
            "since_block": 10, "sent_block": 11 if sent else None, "pmt_hashes": json.dumps(hashes), "status": status,
        }  # fmt: skip # a row with many columns, which reads as one
        with engine.begin() as connection:
            connection.execute(tables.tables["changes"].insert(), change)
            for number in range(attempts):
                connection.execute(tables.tables["attempts"].insert(), attempt | {"attempt_id": f"{name} {number}"})
        engine.dispose()

    return insert


async def test_decided_attempts_keep_their_hashes(put: Rows, database_url: str) -> None:
    """All hashes under which a transaction was sent are still shown, however many attempts there are."""
    await asyncio.to_thread(put, "done", State.SUCCEEDED, "effective", HASHES)
    await asyncio.to_thread(put, "refused", State.FAILED, "void", [], sent=False)
    await asyncio.to_thread(put, "often", State.FAILED, "void", HASHES[:1], attempts=1_201)
    await asyncio.to_thread(migrate, database_url)
    async with Database(database_url) as database:
        store = SqlChangeStore(database, JumpingClock())
        (done,) = await store.attempts("done")
        assert (done.pmt_hashes, done.status, done.raw) == (tuple(HASHES), AttemptStatus.EFFECTIVE, b"signed")
        (refused,) = await store.attempts("refused")
        assert (refused.renewed, refused.marker.pmt_hash, refused.status) == ((), "", AttemptStatus.VOID)
        assert {attempt.pmt_hashes for attempt in await store.attempts("often")} == {(HASHES[0],)}
        changes = {change.change_id: change for change in await store.changes(limit=10)}
        assert {name: change.transacted for name, change in changes.items()} == {
            "done": True,
            "refused": False,
            "often": True,
        }
        assert not any(change.giving_up or change.waits_for for change in changes.values())


@pytest.mark.parametrize("status", ["signed", "sent"])
async def test_a_transaction_on_its_way_stops_the_migration(put: Rows, database_url: str, status: str) -> None:
    """Nobody could take it back any more: the release that sent it has to see it mined, and nothing is altered."""
    await asyncio.to_thread(put, "going on", State.ADDING, status, HASHES)
    with pytest.raises(SchemaVersionError, match=r"1 transactions .* not decided yet.*run that release until"):
        await asyncio.to_thread(migrate, database_url)
    assert await asyncio.to_thread(schema_version, database_url) == "0001"


async def test_what_rests_stops_no_migration(put: Rows, database_url: str) -> None:
    """The first release took up nothing of a change at rest: what it left undecided there is void."""
    for state in (State.QUEUED, State.PARKED, State.CANCELLED):
        await asyncio.to_thread(put, state.value, state, "sent", HASHES)
    await asyncio.to_thread(migrate, database_url)
    async with Database(database_url) as database:
        store = SqlChangeStore(database, JumpingClock())
        for state in (State.QUEUED, State.PARKED, State.CANCELLED):
            (attempt,) = await store.attempts(state.value)
            assert (attempt.status, attempt.pmt_hashes) == (AttemptStatus.VOID, tuple(HASHES))
