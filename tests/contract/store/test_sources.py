"""Requests belong to who sent them: ids are theirs, and lanes are claimed from each in turn. On both databases."""

import asyncio
from datetime import timedelta

import pytest
import sqlalchemy as sa

from orchestrator.membership.errors import ConflictingRequestError
from orchestrator.membership.model import State
from orchestrator.membership.news.status import announce
from orchestrator.store import Database, SqlChangeStore, migrate
from orchestrator.store.commits.transaction import _TAKE_POSITION_LOCK
from orchestrator.store.database.connections import engine_for, normalised
from orchestrator.store.database.postgresql import IDLE_SECONDS
from orchestrator.store.schema import changes
from tests.fakes.changes import ACCOUNT, a_change
from tests.fakes.clock import START, JumpingClock
from tests.patience import patient

LEASE = timedelta(seconds=10)


async def test_an_id_belongs_to_its_source(store: SqlChangeStore) -> None:
    """The same id of two sources is two requests; of one source it is one, or a conflict."""
    first, other = a_change("1"), a_change("2", request_id="request-1")
    await store.accept(first, "hash", (), source="/one")
    assert not (await store.accept(other, "other hash", (), source="/two")).duplicate
    assert (await store.accept(a_change("3", request_id="request-1"), "hash", (), source="/one")).change == first
    with pytest.raises(ConflictingRequestError, match="change-1"):
        await store.accept(a_change("4", request_id="request-1"), "other hash", (), source="/one")
    assert {change.request_id for change in await store.changes()} == {"request-1"}


async def test_a_request_from_before_sources_were_stored_is_recognised(store: SqlChangeStore, store_url: str) -> None:
    """A row whose source is not known is the same request when its body is; another body is another request."""
    old = a_change("1")
    await store.accept(old, "hash", ())
    engine = engine_for(normalised(store_url))
    with engine.begin() as connection:
        connection.execute(changes.update().values(request_key=changes.c.request_id))
    engine.dispose()
    again = await store.accept(a_change("2", request_id=old.request_id), "hash", (), source="/one")
    assert (again.change, again.duplicate) == (old, True)
    assert not (await store.accept(a_change("3", request_id=old.request_id), "another", (), source="/one")).duplicate


async def test_lanes_are_claimed_from_each_source_in_turn(store: SqlChangeStore) -> None:
    """A sender of many requests is not in front of one who sends a single one after all of them."""
    for number in range(30):
        await store.accept(a_change(f"many-{number}", f"g{number:02}", at=number), "hash", (), source="/many")
    await store.accept(a_change("single", "single", at=31), "hash", (), source="/single")
    await store.accept(a_change("third", "third", at=32), "hash", (), source="/third")
    now = START + timedelta(seconds=60)
    lanes = await store.claim(holder="one", lease=LEASE, limit=5, now=now)
    assert {lane.privacy_group_id for lane in lanes} == {"g00", "g01", "g02", "single", "third"}
    rest = await store.claim(holder="one", lease=LEASE, limit=100, now=now)
    assert len(rest) == 27


async def test_who_has_the_fewest_lanes_is_served_first(store: SqlChangeStore) -> None:
    """A source that has lanes waits until the others have as many; its lanes are named with it."""
    for number in range(10):
        await store.accept(a_change(f"a-{number}", f"a{number}", at=number), "hash", (), source="/a")
        await store.accept(a_change(f"b-{number}", f"b{number}", at=20 + number), "hash", (), source="/b")
    now = START + timedelta(seconds=60)
    lanes = await store.claim(holder="one", lease=LEASE, limit=5, now=now, held={"/a": 3})
    assert [(lane.privacy_group_id, lane.source) for lane in lanes] == [
        ("b0", "/b"),
        ("b1", "/b"),
        ("b2", "/b"),
        ("a0", "/a"),
        ("b3", "/b"),
    ]


async def test_a_source_gets_its_share_and_no_more(store: SqlChangeStore) -> None:
    """However many lanes are free, one source has a bounded number of them, alone as beside others; others go on."""
    for number in range(10):
        await store.accept(a_change(f"a-{number}", f"a{number}", at=number), "hash", (), source="/a")
    now = START + timedelta(seconds=60)
    alone = await store.claim(holder="one", lease=LEASE, limit=9, now=now, held={"/a": 2}, most_of_source=6)
    assert [lane.privacy_group_id for lane in alone] == ["a0", "a1", "a2", "a3"]
    await store.accept(a_change("b", "b", at=50), "hash", (), source="/b")
    beside = await store.claim(holder="one", lease=LEASE, limit=9, now=now, held={"/a": 6}, most_of_source=6)
    assert [lane.privacy_group_id for lane in beside] == ["b"]
    assert await store.claim(holder="one", lease=LEASE, limit=9, now=now, held={"/a": 9}, most_of_source=6) == ()


async def test_replicas_share_out_the_sources_each_for_itself(store_url: str, clock: JumpingClock) -> None:
    """Two replicas beside a flood each take the share of it that they have room for, and either serves the others."""
    async with Database(store_url) as one, Database(store_url) as other:
        replicas = {"one": SqlChangeStore(one, clock), "two": SqlChangeStore(other, clock)}
        for number in range(20):
            await replicas["one"].accept(a_change(f"a-{number}", f"a{number:02}", at=number), "hash", (), source="/a")
        now = START + timedelta(seconds=60)
        held = {"/a": 0}
        for holder, store in replicas.items():
            lanes = await store.claim(holder=holder, lease=LEASE, limit=9, now=now, held=held, most_of_source=6)
            assert [lane.source for lane in lanes] == ["/a"] * 6
        for number in range(2):
            await replicas["one"].accept(a_change(f"b-{number}", f"b{number}", at=50), "hash", (), source="/b")
        for holder, store in replicas.items():
            lanes = await store.claim(holder=holder, lease=LEASE, limit=1, now=now, held={"/a": 5}, most_of_source=6)
            assert [lane.source for lane in lanes] == ["/b"], holder


async def test_what_is_unfinished_is_counted(store: SqlChangeStore) -> None:
    """Changes that are neither ended nor parked are counted by source and account."""
    for number, state in enumerate((State.QUEUED, State.QUEUED, State.PARKED, State.SUCCEEDED)):
        await store.accept(a_change(str(number), f"g{number}", state=state), "hash", (), source="/one")
    await store.accept(a_change("x", "gx", account="0xother"), "hash", (), source="/two")
    assert await store.unfinished() == {("/one", ACCOUNT): 2, ("/two", "0xother"): 1}


async def test_a_replica_that_is_stopped_inside_a_transaction_holds_nobody_up_for_long(
    postgresql_url: str, clock: JumpingClock
) -> None:
    """While another connection rests inside a transaction with the lock of positions, a write waits some seconds."""
    await asyncio.to_thread(migrate, postgresql_url)
    engine = engine_for(normalised(postgresql_url))
    stopped = await asyncio.to_thread(engine.connect)
    await asyncio.to_thread(stopped.execute, _TAKE_POSITION_LOCK)
    async with Database(postgresql_url) as database:
        store = SqlChangeStore(database, clock)
        change = a_change("1")
        began = asyncio.get_running_loop().time()
        await store.accept(change, "hash", announce(None, change))
        assert asyncio.get_running_loop().time() - began < patient(IDLE_SECONDS + 2)
    with pytest.raises(sa.exc.DBAPIError):
        await asyncio.to_thread(stopped.execute, sa.text("SELECT 1"))
    stopped.invalidate()
    engine.dispose()
