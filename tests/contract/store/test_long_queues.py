"""With many changes waiting, claiming and accepting look at few rows, on both databases."""

import re
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.store import Database, SqlChangeStore
from orchestrator.store.database.connections import engine_for, normalised
from orchestrator.store.rows import change_values
from orchestrator.store.schema import changes, lanes
from orchestrator.store.units.leases import QUEUED_PER_LANE
from tests.fakes.changes import a_change, a_step, led
from tests.fakes.clock import START, JumpingClock

WAITING = 6_000


@pytest.fixture
def crowded_url(store_url: str) -> str:
    """A store in which half of the changes wait in one group and half in a group each."""
    engine = engine_for(normalised(store_url))
    waiting = [a_change(str(n), "busy" if n % 2 else f"g{n}", at=n / WAITING) for n in range(WAITING)]
    with engine.begin() as connection:
        rows = [change_values(change) | {"body_hash": "hash", "request_key": change.request_id} for change in waiting]
        connection.execute(changes.insert(), rows)
        groups = sorted({change.privacy_group_id for change in waiting})
        due = [
            {
                "privacy_group_id": group,
                "token": 0,
                "due_at": -(group == "busy"),
                "last_sequence": 0,
                "source": f"s{len(group) % 3}",
            }
            for group in groups
        ]
        connection.execute(lanes.insert(), due)
    engine.dispose()
    return store_url


def plans_of(connection: sa.Connection, statement: str, parameters: Any) -> list[str]:
    """The lines in which a database tells how it would run a statement."""
    explain = "EXPLAIN " if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
    cursor = connection.connection.cursor()
    cursor.execute(explain + statement, parameters)
    return [" ".join(map(str, row)) for row in cursor.fetchall()]


async def test_no_table_is_read_through(crowded_url: str, clock: JumpingClock) -> None:
    """The statements of accepting, claiming, stepping and giving back go by an index, and sort no queue."""
    async with Database(crowded_url) as database:
        plans: dict[str, list[str]] = {}

        def explain(connection: sa.Connection, _: object, statement: str, parameters: Any, *__: object) -> None:
            if statement.split(maxsplit=1)[0] in {"SELECT", "UPDATE", "DELETE"} and "pg_" not in statement:
                plans[statement] = plans_of(connection, statement, parameters)

        for engine in (database._writing, database._reading):
            with engine.begin() as connection:
                if connection.dialect.name == "postgresql":
                    connection.execute(sa.text("ANALYZE"))
            sa.event.listen(engine, "before_cursor_execute", explain)
        store = SqlChangeStore(database, clock)
        now = START + timedelta(seconds=10)
        await store.accept(a_change("new", "busy"), "hash", ())
        await store.accept(a_change("new", "busy"), "hash", ())
        found = await store.claim(holder="one", lease=timedelta(seconds=10), limit=20, now=now)
        lane = next(lane for lane in found if lane.privacy_group_id == "busy")
        assert len(lane.queued) == QUEUED_PER_LANE
        await store.record(lane, a_step(lane.queued[0], led(lane.queued[0])))
        await store.load(lane, now=now)
        await store.renew(holder="one", lease=timedelta(seconds=10), now=now)
        await store.release(lane, now=now)
        await store.forget(name="one")
        await store.next_due()
        assert len(plans) >= 12
        for statement, plan in plans.items():
            text = f"{statement}\n" + "\n".join(plan)
            # `leases` has one row for each work that is done alone.
            read_through = r"^\d+ \d+ \d+ SCAN (?!leases)|Seq Scan on (changes|lanes)"
            assert not re.search(read_through, "\n".join(plan), re.MULTILINE), text
            if connection.dialect.name == "sqlite":  # it knows nothing of how the values are distributed
                assert "state = 'queued'" not in statement or re.search(r"ix_changes_(queued|unlocks)", text), text
            assert "USE TEMP B-TREE FOR ORDER BY" not in text, text
