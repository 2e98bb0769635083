"""With many changes that are over, reading and sweeping look at few rows, on both databases."""

import re
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.engine.audit.auditor import TYPES
from orchestrator.engine.ports.records import ChangeFilter
from orchestrator.engine.runtime.news import NewsReader
from orchestrator.membership.model import ENDED, State
from orchestrator.membership.news.status import EventType
from orchestrator.store import Database, SqlChangeStore, SqlOutbox
from orchestrator.store.database.connections import engine_for, normalised
from orchestrator.store.stores.archive_store import SqlEndedChanges
from tests.capacity.filled_store import StoreShape, fill, fill_changes, group_named
from tests.contract.store.test_long_queues import plans_of
from tests.fakes.clock import START, JumpingClock

SHAPE = StoreShape(groups=400, changes=6_000, parked_each=300, waiting=40, diverged_each=100)
ONE = "01J10000003000"
AT_WORK = tuple(state for state in State if state not in ENDED and state is not State.PARKED)
LARGE = "changes|attempts|history|outbox"
SORTED = 1_500
"""Rows that a plan may sort: what is at work or wants a person, and no more."""


@pytest.fixture
def large_url(store_url: str) -> str:
    """A store in which thousands of changes are over."""
    engine = engine_for(normalised(store_url))
    with engine.begin() as connection:
        fill(connection, SHAPE)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(sa.text("ANALYZE"))
    engine.dispose()
    return store_url


async def test_no_large_table_is_read_through(large_url: str) -> None:
    """One change, pages of them, what needs a person, groups' news, retention and the archive go by an index."""
    clock = JumpingClock(START + timedelta(seconds=SHAPE.changes * SHAPE.seconds_apart + 100))
    async with Database(large_url) as database:
        plans: dict[str, list[str]] = {}

        def explain(connection: sa.Connection, _: object, statement: str, parameters: Any, *__: object) -> None:
            if statement.split(maxsplit=1)[0] in {"SELECT", "DELETE"} and "pg_" not in statement:
                plans[statement] = plans_of(connection, statement, parameters)

        for engine in (database._writing, database._reading):
            sa.event.listen(engine, "before_cursor_execute", explain)
        store, outbox = SqlChangeStore(database, clock), SqlOutbox(database)
        assert await store.change(ONE) is not None
        assert len(await store.history(ONE)) == 10
        assert len(await store.attempts(ONE)) == 2
        assert len(await store.locks(group_named(7))) == 8
        page = await store.changes(limit=101)
        assert len(await store.changes(limit=101, before=page[-1].change_id)) == 101
        assert [change.change_id for change in await store.changes(ChangeFilter(prefix=ONE))] == [ONE]
        assert len(await store.changes(ChangeFilter(privacy_group_id=group_named(7)))) == 15
        assert len(await store.changes(ChangeFilter(states=(State.PARKED,)))) == 19
        at_work = await store.changes(ChangeFilter(states=AT_WORK))
        assert [change.state for change in at_work] == [State.QUEUED] * SHAPE.waiting
        ended = await store.changes(ChangeFilter(states=tuple(sorted(ENDED))), limit=50)
        assert len({change.change_id for change in ended}) == 50
        assert len(await outbox.after(0, limit=100, types=TYPES)) == 8
        assert await NewsReader(outbox).groups() == {}
        now, last = clock.now(), await outbox.last_position()
        for types in ([EventType.CHANGE_PROGRESSED.value], []):
            swept = await outbox.delete_published(
                before=START + timedelta(seconds=100), now=now, after=0, through_position=last, types=types, limit=500
            )
            assert swept.deleted > 30
        assert (await SqlEndedChanges(database).ended(before=now, after=0, limit=100)).through == 100
        await store.next_due()
        assert len(plans) >= 18
        for statement, plan in plans.items():
            text = f"{statement}\n" + "\n".join(plan)
            read_through = rf"^\d+ \d+ \d+ SCAN ({LARGE})\b(?!.* USING)|Seq Scan on ({LARGE})\b"
            # What is asked for in the order of the table, without a condition, ends with its limit.
            ends = "WHERE" not in statement and "LIMIT" in statement
            assert ends or not re.search(read_through, "\n".join(plan), re.MULTILINE), text
            through_index = rf"Index Scan( Backward)? using \w+ on ({LARGE})\b[^\n]*\n(?! *Index Cond)"
            assert "LIMIT" in statement or not re.search(through_index, "\n".join(plan)), text
            sorts = [int(rows) for rows in re.findall(r"Sort .*rows=(\d+)", "\n".join(plan))]
            assert max(sorts, default=0) <= SORTED, text
            if "state IN" in statement and "UNION" not in statement:
                assert "USE TEMP B-TREE FOR ORDER BY" not in text, text


async def test_no_group_is_left_out(store_url: str) -> None:
    """Whoever looks after all groups is told of all, however many there are."""
    engine = engine_for(normalised(store_url))
    with engine.begin() as connection:
        fill_changes(connection, StoreShape(groups=20_000, changes=20_000, waiting=1))
    engine.dispose()
    async with Database(store_url) as database:
        found = await SqlChangeStore(database, JumpingClock()).groups()
    assert len(found) == 20_000 - 20, "but those whose only change is parked or waits"
