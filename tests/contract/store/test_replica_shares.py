"""Due lanes are shared out among the replicas that are there, on both databases."""

import asyncio
from collections import Counter
from datetime import timedelta

import sqlalchemy as sa

from orchestrator.engine.ports.store import Lane
from orchestrator.store import Database, SqlChangeStore, SqlOutbox
from orchestrator.store.database.holder_names import claimed_name
from orchestrator.store.schema import leases
from tests.fakes.changes import a_change
from tests.fakes.clock import START, JumpingClock

LEASE = timedelta(seconds=8)
NAMES = ("one", "two", "three")


async def accepted(store: SqlChangeStore, number: int, *, at: float = 0, prefix: str = "g") -> None:
    for index in range(number):
        await store.accept(a_change(f"{prefix}{index}", f"{prefix}{index}", at=at), "hash", ())


async def claim(
    store: SqlChangeStore, holder: str, seconds: float, *, held: int = 0, able: bool = True
) -> tuple[Lane, ...]:
    now = START + timedelta(seconds=seconds)
    return await store.claim(holder=holder, lease=LEASE, limit=500, now=now, held={"": held}, able=able)


async def present(store: SqlChangeStore, *names: str) -> None:
    for name in names:
        assert await claim(store, name, 0) == ()


async def test_each_replica_takes_its_part(store: SqlChangeStore) -> None:
    """Of lanes that come due at once each replica takes a part, the first no more than the others."""
    await present(store, *NAMES)
    await accepted(store, 31, at=1)
    assert [len(await claim(store, name, 1)) for name in NAMES] == [11, 11, 9]


async def test_who_has_more_leaves_new_lanes_to_the_others(store: SqlChangeStore) -> None:
    """A replica that has its part already takes nothing that another one could; the one that has none takes it."""
    await present(store, "one")
    await accepted(store, 4, at=1)
    assert len(await claim(store, "one", 1)) == 4
    assert await claim(store, "two", 1) == ()
    await accepted(store, 2, at=2, prefix="new")
    assert await claim(store, "one", 2, held=4) == ()
    assert len(await claim(store, "two", 2)) == 2


async def test_what_nobody_takes_is_taken_by_anybody(store: SqlChangeStore) -> None:
    """A replica that stands still keeps its part from nobody for longer than half a second."""
    await present(store, *NAMES)
    await accepted(store, 9, at=1)
    assert len(await claim(store, "one", 1)) == 3
    assert await claim(store, "one", 1.4, held=3) == ()
    held = 3
    for _ in range(6):
        held += len(await claim(store, "one", 1.5, held=held))
    assert held == 9


async def test_a_dead_replicas_lanes_are_shared_out(store: SqlChangeStore) -> None:
    """When a lease is over the two that are left take about half of what the dead one had, who comes first no more."""
    await present(store, *NAMES)
    await accepted(store, 30, at=1)
    for name in NAMES:
        assert len(await claim(store, name, 1)) == 10
    for name in ("two", "three"):
        await store.renew(holder=name, lease=LEASE, now=START + timedelta(seconds=7))
    assert await claim(store, "one", 7, held=10) == ()  # its word lasts longer than its lanes
    for name in ("two", "three"):
        assert await claim(store, name, 7, held=10) == ()
    over = 1 + LEASE.total_seconds()
    assert [len(await claim(store, name, over, held=10)) for name in ("two", "three")] == [5, 5]


async def test_a_replica_without_nodes_leaves_lanes_to_others(store: SqlChangeStore) -> None:
    """One that can do nothing counts for nothing and takes only what nobody wanted for a whole lease."""
    await present(store, "one", "two")
    assert await claim(store, "two", 1, able=False) == ()
    await accepted(store, 5, at=1)
    assert await claim(store, "two", 8.9, able=False) == ()
    assert len(await claim(store, "one", 8.9)) == 5
    await store.renew(holder="one", lease=LEASE, now=START + timedelta(seconds=16))
    await accepted(store, 5, at=9, prefix="new")
    assert len(await claim(store, "two", 17, able=False)) == 5


async def test_a_replica_without_nodes_that_is_alone_goes_on(store: SqlChangeStore) -> None:
    """Where nobody else is, somebody has to tell what waits for which node."""
    await accepted(store, 3)
    assert len(await claim(store, "one", 1, able=False)) == 3


async def test_words_of_the_past_are_forgotten(store: SqlChangeStore, database: Database) -> None:
    """A replica that never came back counts for some seconds, and an hour later there is no trace of it."""
    await present(store, "one", "two")
    await accepted(store, 8, at=20)
    assert len(await claim(store, "two", 20)) == 8
    await claim(store, "two", 4000)

    def names(connection: sa.Connection) -> list[str]:
        return list(connection.execute(sa.select(leases.c.name)).scalars())

    assert await database.read(names) == ["replica two"]


async def test_a_clock_that_was_ahead_makes_nobody_present_for_ever(store: SqlChangeStore) -> None:
    """What a replica with a wrong clock said of itself counts no longer than what any other says."""
    await claim(store, "one", 3600)
    await accepted(store, 4)
    assert len(await claim(store, "two", 0)) == 4


async def test_a_dead_replica_whose_clock_was_ahead_holds_nothing_for_days(
    store: SqlChangeStore, outbox: SqlOutbox, database: Database
) -> None:
    """Lanes and works of one that is gone are free at once, and not before: it keeps what it has while it is there."""
    day = timedelta(days=1)
    await accepted(store, 4)
    async with claimed_name(database.url, "one", 1) as ours:
        assert ours
        assert len(await claim(store, "one#1", day.total_seconds())) == 4
        assert await outbox.acquire_lease("relay", holder="one#1", lease=LEASE, now=START + day)
        assert await claim(store, "two#1", 0) == ()
        assert not await outbox.acquire_lease("relay", holder="two#1", lease=LEASE, now=START)
    assert len(await claim(store, "two#1", 7)) == 4
    assert await outbox.acquire_lease("relay", holder="two#1", lease=LEASE, now=START)


async def test_replicas_at_the_same_moment_get_about_as_many(store_url: str, clock: JumpingClock) -> None:
    """Three processes that are woken by the same commit end with a third each."""
    async with Database(store_url) as one, Database(store_url) as two, Database(store_url) as three:
        stores = {name: SqlChangeStore(base, clock) for name, base in zip(NAMES, (one, two, three), strict=True)}
        for name, store in stores.items():
            await present(store, name)
        await accepted(stores["one"], 60, at=1)
        held = Counter[str]()

        async def work(name: str) -> None:
            for _ in range(20):
                held[name] += len(await claim(stores[name], name, 1, held=held[name]))

        await asyncio.gather(*map(work, NAMES))
        assert [held[name] for name in NAMES] == [20, 20, 20]
