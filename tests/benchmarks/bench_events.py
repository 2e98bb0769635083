"""How fast requests become durable, and how soon a subscriber hears of what was committed: NATS and SQLite.

``python -m tests.benchmarks.bench_events`` prints it. Every commit waits for the disk, as in production.
"""

import asyncio
import base64
import json
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import nats
from nats.aio.msg import Msg
from nats.js.api import DeliverPolicy

from orchestrator.broker.connection import connect
from orchestrator.broker.port import Broker
from orchestrator.engine.intake.intake import Intake
from orchestrator.engine.intake.requests import REQUEST_TYPE
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.engine.runtime.ids import new_ids
from orchestrator.events.feed import EventFeed
from orchestrator.events.relay import Relay
from orchestrator.log import configure_logging
from orchestrator.membership.news.status import EventType, StatusEvent
from orchestrator.store import Database, SqlChangeStore, SqlOutbox, migrate
from tests.benchmarks.figures import percentile
from tests.fakes.network import FakeSigners
from tests.servers.nats_server import NatsServer

OWNER = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"
PATIENCE_SECONDS = 120
GROUPS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFigures:
    """What was measured.

    Attributes:
        intake_per_second: Requests taken from NATS, stored and acknowledged, while as many wait in the queue.
        queue_milliseconds_p50: From a commit to a NATS subscriber that has the event; the middle one.
        queue_milliseconds_p99: The same; all but one in a hundred.
        feed_milliseconds_p99: From a commit to a subscriber of the feed behind server-sent events.
        relay_per_second: Events published when many wait.
        events_per_second: The rate of the events whose way was measured.
    """

    intake_per_second: float
    queue_milliseconds_p50: float
    queue_milliseconds_p99: float
    feed_milliseconds_p99: float
    relay_per_second: float
    events_per_second: float


@dataclass(frozen=True, slots=True)
class _Harness:
    url: str
    broker: Broker
    store: SqlChangeStore
    outbox: SqlOutbox
    clock: SystemClock


def measure(*, requests: int = 6000, events: int = 2000, events_per_second: float = 200.0) -> EventFigures:
    """Measure on a server and a store of its own.

    Args:
        requests: How many requests wait in the queue when the intake starts.
        events: How many events' ways are measured.
        events_per_second: At this rate they are committed.
    """
    return asyncio.run(_measure(requests, events, events_per_second))


async def _measure(requests: int, events: int, rate: float) -> EventFigures:
    async with _harness() as harness:
        intake_per_second = await _intake_rate(harness, requests)
        relay_per_second = await _relay_rate(harness)
        queue, feed = await _ways(harness, events, rate)
    return EventFigures(
        intake_per_second=intake_per_second,
        queue_milliseconds_p50=percentile(queue, 50),
        queue_milliseconds_p99=percentile(queue, 99),
        feed_milliseconds_p99=percentile(feed, 99),
        relay_per_second=relay_per_second,
        events_per_second=rate,
    )


@asynccontextmanager
async def _harness() -> AsyncIterator[_Harness]:
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # As in production: one JSON line for each request, to a file.
        configure_logging("info", "json", stack.enter_context((folder / "log").open("w")))
        server = stack.enter_context(NatsServer())
        url = f"sqlite:///{folder}/store.db"
        await asyncio.to_thread(migrate, url)
        database = await stack.enter_async_context(Database(url))
        broker = await stack.enter_async_context(connect(server.url, directory=folder))
        yield _Harness(server.url, broker, SqlChangeStore(database, clock), SqlOutbox(database), clock)


async def _intake_rate(harness: _Harness, requests: int) -> float:
    async with asyncio.TaskGroup() as tasks:
        for worker in range(32):
            tasks.create_task(_publish(harness.broker, range(worker, requests, 32)))
    intake = Intake(harness.store, Fleet([]), FakeSigners(OWNER), harness.clock, new_ids(harness.clock.now))
    began = time.perf_counter()
    taking = asyncio.create_task(intake.run(harness.broker))
    async with asyncio.timeout(PATIENCE_SECONDS):
        position = 0
        while position < requests:
            await harness.outbox.wait_for_events(position, 1.0)
            position = await harness.outbox.last_position()
    seconds = time.perf_counter() - began
    taking.cancel()
    await asyncio.wait({taking})
    return requests / seconds


async def _publish(broker: Broker, numbers: Sequence[int]) -> None:
    for number in numbers:
        group = base64.b64encode(number.to_bytes(32, "big")).decode()
        data = {"kind": "create_group", "privacy_group_id": group, "members": [group]}
        event = {"specversion": "1.0", "id": f"r-{number}", "source": "/bench", "type": REQUEST_TYPE, "data": data}
        await broker.request(json.dumps(event).encode())


async def _relay_rate(harness: _Harness) -> float:
    waiting = await harness.outbox.last_position()
    began = time.perf_counter()
    await Relay(harness.outbox, harness.broker, harness.clock, "bench").drain(PATIENCE_SECONDS)
    return waiting / (time.perf_counter() - began)


async def _ways(harness: _Harness, events: int, rate: float) -> tuple[list[float], list[float]]:
    committed: dict[str, float] = {}
    by_queue: dict[str, float] = {}
    by_feed: dict[str, float] = {}
    heard = asyncio.Event()

    async def on_message(message: Msg) -> None:
        by_queue[json.loads(message.data)["data"]["mark"]] = time.perf_counter()
        heard.set()

    async def follow(feed: EventFeed) -> None:
        async for item in feed.subscribe(resume_id=None):
            by_feed[json.loads(item.text)["data"]["mark"]] = time.perf_counter()
            heard.set()

    client = await nats.connect(harness.url)
    await client.jetstream().subscribe("membership.events.>", cb=on_message, deliver_policy=DeliverPolicy.NEW)
    feed = EventFeed(harness.outbox, harness.clock)
    relay = Relay(harness.outbox, harness.broker, harness.clock, "bench")
    tasks = [asyncio.create_task(work) for work in (feed.run(), relay.run(), follow(feed))]
    await asyncio.sleep(0.5)
    await _commit(harness.store, events, rate, committed)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while min(len(by_queue), len(by_feed)) < events:
            heard.clear()
            await heard.wait()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await client.close()
    queue, stream = (
        [1000 * max(0.0, seen[mark] - at) for mark, at in committed.items()] for seen in (by_queue, by_feed)
    )
    return queue, stream


async def _commit(store: SqlChangeStore, events: int, rate: float, committed: dict[str, float]) -> None:
    began = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(events):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            mark = str(number)
            event = StatusEvent(
                type=EventType.CHANGE_PROGRESSED,
                privacy_group_id=f"g{number % GROUPS}",
                change_id=mark,
                request_id=mark,
                data={"mark": mark},
            )
            tasks.create_task(_commit_one(store, event, mark, committed))


async def _commit_one(store: SqlChangeStore, event: StatusEvent, mark: str, committed: dict[str, float]) -> None:
    await store.announce([event])
    committed[mark] = time.perf_counter()


if __name__ == "__main__":
    for name, value in asdict(measure()).items():
        print(f"{name:28} {value:10.1f}")  # noqa: T201 - this is what it is for
