"""A row that is no change keeps its own group waiting, and nobody else's; on both databases."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from orchestrator.engine.ports.store import Lane
from orchestrator.membership.model import State
from orchestrator.store import SqlChangeStore
from orchestrator.store.database.connections import engine_for, normalised
from orchestrator.store.errors import UnreadableChangeError
from orchestrator.store.schema import changes
from orchestrator.store.units.leases import UNREADABLE_MICROSECONDS
from tests.fakes.changes import a_change, a_step, led
from tests.fakes.clock import START

LEASE = timedelta(seconds=10)
AGAIN = timedelta(microseconds=UNREADABLE_MICROSECONDS)

DAMAGES: dict[str, dict[str, object]] = {
    "no JSON": {"members": "[\x01"},
    "another JSON": {"progress": '{"a": 1}'},
    "nested deeply": {"plan": "[" * 100_000},
    "of a newer version": {"kind": "merge_groups"},
    "impossible time": {"created_at": 1 << 62},
}


def damage(url: str, change_id: str, values: dict[str, object]) -> None:
    engine = engine_for(normalised(url))
    with engine.begin() as connection:
        connection.execute(changes.update().where(changes.c.change_id == change_id).values(values))
    engine.dispose()


@pytest.fixture(autouse=True)
def said() -> Iterator[list[Any]]:
    """What is logged."""
    with capture_logs() as entries:
        yield entries


async def claim(store: SqlChangeStore, seconds: float, *, limit: int = 10) -> tuple[Lane, ...]:
    return await store.claim(holder="one", lease=LEASE, limit=limit, now=START + timedelta(seconds=seconds))


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("active", [False, True], ids=["queued", "at work"])
async def test_other_groups_go_on(
    store: SqlChangeStore, store_url: str, how: str, active: bool, said: list[Any]
) -> None:
    """Its group is not worked on, is named, and is looked at again later; the others are claimed."""
    for number in range(3):
        await store.accept(a_change(str(number), f"g{number}"), "hash", ())
    change = a_change("1", "g1")
    if active:
        first, *_ = [lane for lane in await claim(store, 1) if lane.privacy_group_id == "g1"]
        await store.record(first, a_step(change, led(change)))
        await store.forget(name="one")
    damage(store_url, change.change_id, DAMAGES[how])
    assert {lane.privacy_group_id for lane in await claim(store, 2)} == {"g0", "g2"}
    (told,) = [entry for entry in said if entry.get("what") == "unreadable change"]
    assert "change change-1 of group g1 can't be read" in told["why"]
    assert await claim(store, 3) == ()
    assert await store.next_due() == min(START + timedelta(seconds=12), START + timedelta(seconds=2) + AGAIN)
    later = {lane.privacy_group_id for lane in await claim(store, 2 + AGAIN.total_seconds())}
    assert later == {"g0", "g2"}  # their leases are over by then; it still can't be read


async def test_a_change_that_can_be_read_again_is_worked_on(store: SqlChangeStore, store_url: str) -> None:
    """Once the row is mended, or the version that wrote it runs again, its group goes on by itself."""
    change = a_change("1")
    await store.accept(change, "hash", ())
    damage(store_url, change.change_id, {"kind": "merge_groups"})
    assert await claim(store, 1) == ()
    damage(store_url, change.change_id, {"kind": change.kind.value})
    (lane,) = await claim(store, 1 + AGAIN.total_seconds())
    assert lane.queued == (change,)


async def test_lists_leave_it_out_and_who_asks_for_it_is_told(store: SqlChangeStore, store_url: str) -> None:
    """A list has the other changes; the one by its id is an error that names it and says what to do."""
    for number in range(3):
        await store.accept(a_change(str(number), f"g{number}"), "hash", ())
    damage(store_url, "change-1", {"state": State.QUEUED.value, "members": "no list"})
    assert [change.change_id for change in await store.changes()] == ["change-2", "change-0"]
    with pytest.raises(UnreadableChangeError, match=r"change change-1 of group g1 can't be read .* restore the row"):
        await store.change("change-1")


async def test_text_that_is_no_text_stops_nobody(store: SqlChangeStore, store_url: str) -> None:
    """SQLite keeps whatever bytes it is given: a row that its driver can't decode is one that can't be read."""
    if not store_url.startswith("sqlite"):
        return
    for number in range(2):
        await store.accept(a_change(str(number), f"g{number}"), "hash", ())
    engine = engine_for(normalised(store_url))
    with engine.begin() as connection:
        broken = "UPDATE changes SET members = CAST(x'5b22ff225d' AS TEXT) WHERE change_id = 'change-1'"
        connection.execute(sa.text(broken))
    engine.dispose()
    assert [lane.privacy_group_id for lane in await claim(store, 1)] == ["g0"]
    assert await store.changes() is not None
