"""Requests pour in while daemon and message queue are killed: every request ends once, every event arrives."""

import asyncio
import base64
import contextlib
import json
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aio_pika
import nats
import pytest
from aio_pika.abc import AbstractIncomingMessage, ExchangeType
from confluent_kafka import Consumer

from orchestrator.broker.connection import connect
from orchestrator.broker.names import Names
from orchestrator.broker.port import Broker, DeadLetter
from orchestrator.engine.intake.requests import REQUEST_TYPE
from orchestrator.engine.ports.queues import BrokerError
from tests.patience import patient
from tests.servers.kafka_server import KafkaServer
from tests.servers.nats_server import NatsServer
from tests.servers.rabbitmq_server import RabbitMQServer

if TYPE_CHECKING:
    from tests.integration.events.conftest import Daemon

INVALID_EVERY = 25
GROUPS = 500
PATIENCE_SECONDS = 240
ENDED = {f"membership.change.{end}.v1" for end in ("succeeded", "failed", "cancelled")}


def group_of(number: int) -> str:
    return base64.b64encode((number % GROUPS).to_bytes(32, "big")).decode()


def request_of(number: int) -> bytes:
    """A request that fails in a second, because there is no node; now and then one that can't be accepted."""
    kind = "create_group" if number % INVALID_EVERY else "explode"
    data = {"kind": kind, "privacy_group_id": group_of(number), "members": [group_of(number)], "deadline_seconds": 1}
    return json.dumps(
        {"specversion": "1.0", "id": f"r-{number}", "source": "/test", "type": REQUEST_TYPE, "data": data}
    ).encode()


@dataclass
class Heard:
    """What a subscriber on the message queue has got."""

    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, body: bytes) -> None:
        document = json.loads(body)
        known = self.documents.setdefault(document["id"], document)
        assert known == document, "an event that comes again is the same"
        if known is document:
            self.order.append(document["id"])
            if document["type"] in ENDED:
                self.ended.add(document["data"]["change_id"])
        self.moved.set()

    async def until_ended(self, changes: int) -> None:
        """Wait for the ends of so many changes."""
        async with asyncio.timeout(patient(PATIENCE_SECONDS)):
            while len(self.ended) < changes:
                self.moved.clear()
                await self.moved.wait()


@asynccontextmanager
async def nats_subscriber(url: str) -> AsyncIterator[Heard]:
    """Read the events' stream with a durable consumer, over the server's restarts."""
    heard = Heard()
    client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1, error_cb=silent)

    async def read() -> None:
        pulling = await client.jetstream().pull_subscribe("membership.events.>", durable="test")
        while True:
            try:
                messages = await pulling.fetch(500, timeout=1)
            except (nats.errors.Error, TimeoutError):
                await asyncio.sleep(0.05)
                continue
            for message in messages:
                heard.take(message.data)
                await message.ack()

    try:
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(read())
            yield heard
            reading.cancel()
    finally:
        await client.close()


@asynccontextmanager
async def rabbitmq_subscriber(url: str) -> AsyncIterator[Heard]:
    """Read a durable queue of our own, over the server's restarts."""
    heard = Heard()

    async def take(message: AbstractIncomingMessage) -> None:
        heard.take(message.body)
        await message.ack()

    connection = await aio_pika.connect_robust(url, reconnect_interval=0.2)
    channel = await connection.channel()
    exchange = await channel.declare_exchange("membership.events", ExchangeType.TOPIC, durable=True)
    queue = await channel.declare_queue("test", durable=True, arguments={"x-queue-type": "quorum"})
    await queue.bind(exchange, "#")
    await queue.consume(take)
    try:
        yield heard
    finally:
        await connection.close()


def kafka_subscriber(topic: str) -> Callable[[str], AbstractAsyncContextManager[Heard]]:
    """Make what reads the events' topic from its beginning, over the daemon's lives."""

    @asynccontextmanager
    async def subscriber(url: str) -> AsyncIterator[Heard]:
        heard = Heard()
        settings = {"bootstrap.servers": url.removeprefix("kafka://"), "group.id": f"{topic}.test", "log_level": 2}
        consumer = Consumer({**settings, "auto.offset.reset": "earliest"})
        consumer.subscribe([topic])
        done = asyncio.Event()

        async def read() -> None:
            while not done.is_set():
                for message in await asyncio.to_thread(consumer.consume, 500, 0.2):
                    if message.error() is None:
                        heard.take(message.value() or b"")

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(read())
            yield heard
            done.set()  # not cancelled: its thread would go on with a consumer that is closed
        await asyncio.to_thread(consumer.close)

    return subscriber


async def silent(_: Exception) -> None: ...


@dataclass(frozen=True)
class Middle:
    """A message queue that can be killed, and how many requests it gets, a burst at a time."""

    url: str
    requests: int
    burst: int
    drops_duplicates: bool
    dies: bool
    kill: Callable[[], None]
    start: Callable[[], None]
    subscriber: Callable[[str], AbstractAsyncContextManager[Heard]]
    names: Names = field(default_factory=Names)

    @property
    def settings(self) -> str:
        """The names, as a daemon is configured with them."""
        names = {name: getattr(self.names, name) for name in ("requests", "dead", "events", "consumer", "verdicts")}
        return "".join(["[broker.names]\n", *(f'{name} = "{value}"\n' for name, value in names.items())])


@pytest.fixture(params=["nats", "rabbitmq", "kafka"])
def middle(request: pytest.FixtureRequest) -> Middle:
    if request.param == "nats":
        nats_server: NatsServer = request.getfixturevalue("nats_server")
        return Middle(nats_server.url, 900, 150, True, True, nats_server.kill, nats_server.start, nats_subscriber)
    if request.param == "kafka":
        kafka: KafkaServer = request.getfixturevalue("kafka_server")
        prefix: str = request.getfixturevalue("kafka_prefix")
        names = Names(
            requests=f"{prefix}.requests",
            dead=f"{prefix}.dead",
            events=f"{prefix}.events",
            verdicts=f"{prefix}.verdicts",
            consumer=f"{prefix}.orchestrator",
        )
        return Middle(kafka.url, 160, 80, False, False, kafka.kill, kafka.start, kafka_subscriber(names.events), names)
    url: str = request.getfixturevalue("rabbitmq_url")
    server: RabbitMQServer = request.getfixturevalue("rabbitmq_server")

    def kill() -> None:
        server.write_tables()
        server.kill()

    return Middle(url, 400, 100, False, True, kill, server.start, rabbitmq_subscriber)


async def publish(broker: Broker, numbers: range, heard: Heard, burst: int) -> None:
    """Publish requests, each as soon as another one is through that was so many before it: the blows, which wait for
    ends, too, fall when a burst is on its way in and another one's events on theirs out.
    """
    for number in numbers:
        await heard.until_ended(number - number // INVALID_EVERY - 1 - burst)
        while True:
            try:
                await broker.request(request_of(number))
            except BrokerError:
                await asyncio.sleep(0.05)
            else:
                break


@asynccontextmanager
async def prepared(middle: Middle, folder: Path) -> AsyncIterator[Broker]:
    """A queue whose streams are there."""
    async with connect(middle.url, directory=folder, names=middle.names) as broker:
        await broker.check()
        yield broker


@pytest.mark.timeout(PATIENCE_SECONDS + 120)
async def test_nothing_is_lost_or_done_twice(
    middle: Middle, run_daemon: Callable[..., "Daemon"], tmp_path: Path
) -> None:
    """SIGKILL of daemon, queue and both while requests pour in: each is one change or one dead letter.

    Kafka, whose start is the dearest, only loses the daemon; what its own death does is in `tests/contract/broker`.
    """
    total = middle.requests
    daemon = run_daemon(middle.url, extra=middle.settings)
    async with (
        prepared(middle, tmp_path) as broker,
        middle.subscriber(middle.url) as heard,
        asyncio.TaskGroup() as tasks,
    ):
        for first in range(16):
            tasks.create_task(publish(broker, range(first, total, 16), heard, middle.burst))

        async def strike() -> None:
            await heard.until_ended(total // 8)
            await asyncio.to_thread(daemon.kill)
            daemon.start()
            if not middle.dies:
                return
            await heard.until_ended(total // 4)
            await asyncio.to_thread(middle.kill)
            await asyncio.to_thread(middle.start)
            await heard.until_ended(total // 2)
            await asyncio.gather(asyncio.to_thread(daemon.kill), asyncio.to_thread(middle.kill))
            await asyncio.to_thread(middle.start)
            daemon.start()

        tasks.create_task(strike())
        invalid = {f"r-{number}" for number in range(0, total, INVALID_EVERY)}
        await heard.until_ended(total - len(invalid))
        letters = await until_buried(broker, invalid)
        assert await asyncio.to_thread(daemon.stop) == 0

    check_events(heard)
    accepted = Counter(document["data"]["request_id"] for document in heard.documents.values() if is_accepted(document))
    assert accepted == Counter({f"r-{number}" for number in range(total)} - invalid), "each valid request is one change"
    buried = Counter(json.loads(letter.body)["id"] for letter in letters)
    assert set(buried) == invalid, "each other one is a dead letter"
    if middle.drops_duplicates:
        assert set(buried.values()) == {1}
    assert all("data.kind must be one of" in letter.reason for letter in letters)


async def until_buried(broker: Broker, ids: set[str]) -> tuple[DeadLetter, ...]:
    async with asyncio.timeout(patient(PATIENCE_SECONDS)):
        while True:
            with contextlib.suppress(BrokerError):
                letters = await broker.dead_letters(limit=2 * len(ids))
                if {json.loads(letter.body)["id"] for letter in letters} >= ids:
                    return letters
            await asyncio.sleep(0.5)


def is_accepted(document: dict[str, Any]) -> bool:
    return bool(document["type"] == "membership.change.accepted.v1")


def check_events(heard: Heard) -> None:
    """Each group's events came in order and without a gap."""
    sequences: defaultdict[str, list[int]] = defaultdict(list)
    for event_id in heard.order:
        data = heard.documents[event_id]["data"]
        sequences[data["privacy_group_id"] or ""].append(data["sequence"])
    for group, found in sequences.items():
        assert found == list(range(1, len(found) + 1)), group
