"""The relay, on a real outbox and a queue that fails when it is told to."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from orchestrator.engine.ports.queues import BrokerError, UnfitMessageError
from orchestrator.engine.runtime.isolation import contained_failures
from orchestrator.events.relay import BATCH, LEASE, LEASE_NAME, MOST_FAILURES, Relay
from orchestrator.membership.news.status import EventType
from orchestrator.store import SqlOutbox, schema
from tests.fakes.clock import FastClock, JumpingClock
from tests.patience import patient

if TYPE_CHECKING:
    from tests.unit.events.conftest import Source


class Queue:
    """A message queue that keeps what is published."""

    def __init__(self) -> None:
        self.numbers: defaultdict[str, list[int]] = defaultdict(list)
        self.ids: list[str] = []
        self.refuse: set[int] = set()
        self.never: set[int] = set()
        self.away = False
        self.published = asyncio.Condition()

    async def publish(self, event_type: str, event_id: str, body: bytes) -> None:
        await asyncio.sleep(0)
        document = json.loads(body)
        number = document["data"]["number"]
        if self.away or number in self.refuse:
            raise BrokerError("not now")
        if number in self.never:
            raise UnfitMessageError("too large")
        assert document["type"] == event_type
        assert document["id"] == event_id
        async with self.published:
            self.numbers[document["subject"]].append(number)
            self.ids.append(event_id)
            self.published.notify_all()

    async def until(self, count: int) -> None:
        """Wait until so many different events are published."""
        async with asyncio.timeout(patient(10)), self.published:
            await self.published.wait_for(lambda: len(set(self.ids)) >= count)


@pytest.fixture
def queue() -> Queue:
    return Queue()


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_events_are_published_in_order_per_group(source: "Source", queue: Queue, clock: FastClock) -> None:
    """What was committed before and what is committed while the relay runs is published, each group in its order."""
    for group in "abc":
        await source.commit(30, group=group)
    async with running(Relay(source.outbox, queue, clock, "one")):
        await queue.until(90)
        for group in "cab":
            await source.commit(10, group=group)
        await queue.until(120)
        await until_marked(source.outbox)
    assert {group: numbers == sorted(numbers) for group, numbers in queue.numbers.items()} == dict.fromkeys("abc", True)
    assert len(queue.ids) == 120


async def until_marked(outbox: SqlOutbox) -> None:
    async with asyncio.timeout(patient(10)):
        while await outbox.pending(1):  # noqa: ASYNC110 - nothing tells of marks
            await asyncio.sleep(0.001)


async def test_an_event_that_fails_holds_its_own_group_back_only(
    source: "Source", queue: Queue, clock: FastClock
) -> None:
    """No later event of the group overtakes the one that was refused; other groups go on."""
    await source.commit(3, group="a")
    await source.commit(3, group="b")
    queue.refuse = {2}
    async with running(Relay(source.outbox, queue, clock, "one")):
        await queue.until(4)
        assert queue.numbers == {"a": [1], "b": [4, 5, 6]}
        queue.refuse = set()
        await queue.until(6)
    assert queue.numbers["a"] == [1, 2, 3]


async def test_an_outage_only_delays(source: "Source", queue: Queue, clock: FastClock) -> None:
    """While the queue is away events wait; then all of them are published, once."""
    queue.away = True
    async with running(Relay(source.outbox, queue, clock, "one")):
        await source.commit(5)
        await clock.sleep(3)
        assert queue.ids == []
        queue.away = False
        await queue.until(5)
        await until_marked(source.outbox)
    assert queue.numbers["g"] == [1, 2, 3, 4, 5]


async def test_one_of_several_replicas_publishes(source: "Source", queue: Queue) -> None:
    """Two relays on one store publish each event once; when the one that does is gone, the other goes on."""
    clock = FastClock(factor=1)  # a lease of which a busy machine can't let a hundredth part run out
    first = Relay(source.outbox, queue, clock, "one")
    second = Relay(source.outbox, queue, clock, "two")
    async with running(first):
        await source.commit(3)
        await queue.until(3)
        async with running(second):
            await source.commit(20)
            await queue.until(23)
            await until_marked(source.outbox)
    assert len(queue.ids) == 23
    clock.skip(LEASE.total_seconds())
    async with running(second):
        await source.commit(1)
        await queue.until(24)


async def test_a_relay_without_the_lease_waits_quietly(source: "Source", queue: Queue, clock: FastClock) -> None:
    """While another replica relays, this one looks for its turn a few times in a lease, not all the time."""
    await source.outbox.acquire_lease(LEASE_NAME, holder="other", lease=timedelta(days=1), now=clock.now())
    await source.commit(3)
    asked = 0
    acquire = source.outbox.acquire_lease

    async def counted(*args: Any, **named: Any) -> bool:
        nonlocal asked
        asked += 1
        return await acquire(*args, **named)

    source.outbox.acquire_lease = counted  # type: ignore[method-assign] # counts, and does it as before
    async with running(Relay(source.outbox, queue, clock, "one")):
        await clock.sleep(LEASE.total_seconds())
    assert 1 <= asked <= 5
    assert queue.ids == []


async def test_draining_publishes_what_is_left_and_gives_the_lease_back(
    source: "Source", queue: Queue, clock: FastClock
) -> None:
    """An orderly stop leaves nothing behind, and another replica can begin at once."""
    await source.commit(700)
    await Relay(source.outbox, queue, clock, "one").drain(1000)
    assert len(queue.ids) == 700
    assert await source.outbox.pending(1) == ()
    assert await source.outbox.acquire_lease(LEASE_NAME, holder="two", lease=timedelta(seconds=1), now=clock.now())


async def test_draining_is_bounded(source: "Source", queue: Queue, clock: FastClock) -> None:
    """With the queue away an orderly stop ends all the same; the events stay for the next start."""
    await source.commit(2)
    queue.away = True
    async with asyncio.timeout(patient(5)):
        await Relay(source.outbox, queue, clock, "one").drain(1)
    assert len(await source.outbox.pending(10)) == 2


async def test_a_text_that_can_not_be_encoded_stops_nothing(source: "Source", queue: Queue, clock: FastClock) -> None:
    """An event with half a surrogate pair, as an earlier version stored it, is published without it."""
    await source.commit(2, group="a")
    stored = json.dumps({"number": 1, "detail": "\ud800"})
    await source.outbox._database.write(
        lambda transaction: transaction.connection.execute(
            schema.outbox.update().where(schema.outbox.c.position == 1).values(data=stored)
        )
    )
    async with running(Relay(source.outbox, queue, clock, "one")):
        await queue.until(2)
    assert queue.numbers == {"a": [1, 2]}


async def test_an_event_that_can_not_be_published_is_set_aside(
    source: "Source", queue: Queue, clock: FastClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event that fails each time, not because the queue is away, lets those behind it go on after some tries."""
    publish = queue.publish
    tries = []

    async def failing(event_type: str, event_id: str, body: bytes) -> None:
        if json.loads(body)["data"]["number"] == 2:
            tries.append(event_id)
            raise RuntimeError("a defect")
        await publish(event_type, event_id, body)

    monkeypatch.setattr(queue, "publish", failing)
    await source.commit(3, group="a")
    await source.commit(1, group="b")
    async with running(Relay(source.outbox, queue, clock, "one")):
        await queue.until(3)
        await until_marked(source.outbox)
    assert queue.numbers == {"a": [1, 3], "b": [4]}
    assert len(tries) == MOST_FAILURES


async def test_a_group_that_waits_hides_no_other(source: "Source", queue: Queue, clock: FastClock) -> None:
    """Behind more waiting events of one group than are read at a time, other groups' events are published all the same.

    What keeps the group waiting is told, and no more when its cause is gone.
    """
    queue.refuse = {1}
    await source.commit(2 * BATCH, group="a")
    relay = Relay(source.outbox, queue, clock, "one")
    async with running(relay):
        await source.commit(3, group="b")
        await queue.until(3)
        assert queue.numbers == {"b": [513, 514, 515]}
        async with asyncio.timeout(patient(10)):
            while relay.trouble != "not now":  # noqa: ASYNC110 - told when the round ends that published them
                await asyncio.sleep(0.001)
        queue.refuse = set()
        await queue.until(2 * BATCH + 3)
        await until_marked(source.outbox)
    assert queue.numbers["a"] == list(range(1, 2 * BATCH + 1))
    assert relay.trouble == ""


async def test_a_flood_of_one_group_delays_no_other(
    source: "Source", queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a thousand rejections in one group, others' events are published within a second of a slow queue's time.

    That holds for those that stand in the outbox behind all of them, and for those committed while they are published.
    """
    clock = JumpingClock()
    publish = queue.publish
    at: dict[str, list[datetime]] = defaultdict(list)

    async def slow(event_type: str, event_id: str, body: bytes) -> None:
        await publish(event_type, event_id, body)
        clock.time += timedelta(milliseconds=12)
        at[json.loads(body)["subject"]].append(clock.time)

    monkeypatch.setattr(queue, "publish", slow)
    await source.commit(1000, group="flood", kind=EventType.REQUEST_REJECTED)
    await source.commit(3, group="behind")
    began = clock.time
    async with running(Relay(source.outbox, queue, clock, "one")):
        await queue.until(100)
        later = clock.time
        await source.commit(3, group="beside")
        await queue.until(1006)
        await until_marked(source.outbox)
    assert at["behind"][-1] - began < timedelta(seconds=1)
    assert len(at["flood"]) == 1000
    assert at["flood"][-1] - began > timedelta(seconds=10)
    assert at["beside"][-1] - later < timedelta(seconds=1)
    assert queue.numbers["flood"] == list(range(1, 1001))
    assert len(queue.ids) == 1006


async def test_what_the_queue_will_never_take_is_set_aside(source: "Source", queue: Queue, clock: FastClock) -> None:
    """An event that is too large for the queue is set aside at once and counted; those behind it go on."""
    queue.never = {1}
    before = contained_failures["event set aside"]
    await source.commit(3, group="a")
    async with running(Relay(source.outbox, queue, clock, "one")):
        await queue.until(2)
        await until_marked(source.outbox)
    assert queue.numbers == {"a": [2, 3]}
    assert contained_failures["event set aside"] == before + 1


@pytest.mark.parametrize("broken", ["{", "[]", "type", "text"])
async def test_an_event_that_can_not_be_read_is_set_aside(
    source: "Source", queue: Queue, clock: FastClock, broken: str
) -> None:
    """A row of the outbox with damaged data, or of an unknown type, holds up neither the relay nor who reads on."""
    before = contained_failures["event set aside"]
    await source.commit(3, group="a")
    values: dict[str, Any] = {"data": broken}
    if broken == "type":
        values = {"type": "membership.change.unheard_of.v1"}
    elif broken == "text":  # no UTF-8, which the driver refuses for all rows of a query
        values = {"data": sa.text("CAST(x'7bff7d' AS TEXT)")}
    await source.outbox._database.write(
        lambda transaction: transaction.connection.execute(
            schema.outbox.update().where(schema.outbox.c.position == 2).values(**values)
        )
    )
    assert [stored.position for stored in await source.outbox.after(0, limit=2)] == [1, 3]
    assert await source.outbox.oldest_unpublished() is not None
    async with running(Relay(source.outbox, queue, clock, "one")):
        await queue.until(2)
        await until_marked(source.outbox)
    assert queue.numbers == {"a": [1, 3]}
    assert contained_failures["event set aside"] == before + 1
    assert await source.outbox.oldest_unpublished() is None
