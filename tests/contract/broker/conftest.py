"""Message queues under test: each real server behind the same few words."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import nats
import pytest
from aio_pika.abc import ExchangeType
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from nats.aio.msg import Msg

from orchestrator.broker.connection import connect
from orchestrator.broker.kafka.letters import headers_of
from orchestrator.broker.names import Limits, Names
from orchestrator.broker.nats.embedded import EmbeddedServer, embedded_server
from orchestrator.broker.port import Broker
from tests.servers.kafka_server import KafkaServer
from tests.servers.nats_server import NatsServer
from tests.servers.rabbitmq_server import RabbitMQServer

NAMES = Names(requests="t.requests", dead="t.requests.dead", events="t.events", consumer="tested")


@dataclass(frozen=True)
class Received:
    """An event as a subscriber sees it."""

    subject: str
    message_id: str
    body: bytes


Subscription = asyncio.Queue[Received]


@dataclass(frozen=True)
class QueueUnderTest:
    """A running server."""

    url: str
    drops_duplicates: bool
    kill: Callable[[], object]
    start: Callable[[], object]
    subscribe: Callable[[], AbstractAsyncContextManager[Subscription]]
    pause: Callable[[], object]
    resume: Callable[[], object]
    delete: Callable[[str], Awaitable[object]]
    names: Names = NAMES

    @asynccontextmanager
    async def open(
        self, in_flight: int = 64, call_seconds: float = 5.0, ack_wait: timedelta = timedelta(seconds=2)
    ) -> AsyncIterator[Broker]:
        """Connect as a daemon does."""
        limits = Limits(
            in_flight=in_flight,
            ack_wait=ack_wait,
            call_seconds=call_seconds,
            connect_seconds=call_seconds,
            reconnect_seconds=0.5,
        )
        async with connect(self.url, directory=Path("/unused"), names=self.names, limits=limits) as broker:
            yield broker

    async def bounce(self) -> None:
        """Kill the server and start it again."""
        await asyncio.to_thread(self.kill)
        await asyncio.to_thread(self.start)


def _nats_subscriber(url: str) -> Callable[[], AbstractAsyncContextManager[Subscription]]:
    @asynccontextmanager
    async def subscribe() -> AsyncIterator[Subscription]:
        client = await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.1)
        received: Subscription = asyncio.Queue()

        async def take(message: Msg) -> None:
            headers = message.headers or {}
            received.put_nowait(Received(message.subject, headers["Nats-Msg-Id"], message.data))
            await message.ack()

        await client.jetstream().subscribe(f"{NAMES.events}.>", cb=take, manual_ack=True)
        yield received
        await client.close()

    return subscribe


def _rabbitmq_subscriber(url: str) -> Callable[[], AbstractAsyncContextManager[Subscription]]:
    @asynccontextmanager
    async def subscribe() -> AsyncIterator[Subscription]:
        connection = await aio_pika.connect(url)
        received: Subscription = asyncio.Queue()

        async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            received.put_nowait(Received(message.routing_key or "", message.message_id or "", message.body))
            await message.ack()

        channel = await connection.channel()
        exchange = await channel.declare_exchange(NAMES.events, ExchangeType.TOPIC, durable=True)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, f"{NAMES.events}.#")
        await queue.consume(take)
        yield received
        await connection.close()

    return subscribe


def _of_nats(server: NatsServer) -> QueueUnderTest:
    return QueueUnderTest(
        server.url,
        True,
        server.kill,
        server.start,
        _nats_subscriber(server.url),
        server.pause,
        server.resume,
        lambda name: _delete_stream(server.url, name),
    )


async def _delete_stream(url: str, subject: str) -> None:
    client = await nats.connect(url)
    jetstream = client.jetstream()
    await jetstream.delete_stream(await jetstream.find_stream_name_by_subject(subject))
    await client.close()


def _of_rabbitmq(server: RabbitMQServer, url: str) -> QueueUnderTest:
    def kill() -> None:
        server.write_tables()
        server.kill()

    async def delete(name: str) -> None:
        async with await aio_pika.connect(url) as connection, connection.channel() as channel:
            await (channel.exchange_delete(name) if name == NAMES.verdicts else channel.queue_delete(name))

    subscriber = _rabbitmq_subscriber(url)
    return QueueUnderTest(url, False, kill, server.start, subscriber, server.pause, server.resume, delete)


def _kafka_subscriber(url: str, topic: str) -> Callable[[], AbstractAsyncContextManager[Subscription]]:
    @asynccontextmanager
    async def subscribe() -> AsyncIterator[Subscription]:
        received: Subscription = asyncio.Queue()
        settings = {"bootstrap.servers": urlsplit(url).netloc, "group.id": "subscriber", "log_level": 2}
        consumer = Consumer({**settings, "auto.offset.reset": "earliest"})
        consumer.subscribe([topic])

        async def read() -> None:
            while True:
                message = await asyncio.to_thread(consumer.poll, 0.1)
                if message is not None and message.error() is None:
                    headers = headers_of(message)
                    subject = f"{topic}.{headers['ce_type']}"
                    received.put_nowait(Received(subject, headers["ce_id"], message.value() or b""))

        reading = asyncio.create_task(read())
        yield received
        reading.cancel()
        await asyncio.wait({reading})
        await asyncio.to_thread(consumer.close)

    return subscribe


def _of_kafka(server: KafkaServer, prefix: str) -> QueueUnderTest:
    names = Names(
        requests=f"{prefix}.requests",
        dead=f"{prefix}.requests.dead",
        events=f"{prefix}.events",
        verdicts=f"{prefix}.verdicts",
        consumer=f"{prefix}.tested",
    )

    async def delete(topic: str) -> None:
        administrator = AdminClient({"bootstrap.servers": urlsplit(server.url).netloc, "log_level": 2})
        await asyncio.to_thread(administrator.delete_topics([topic])[topic].result, 30)

    subscriber = _kafka_subscriber(server.url, names.events)
    return QueueUnderTest(
        server.url, False, server.kill, server.start, subscriber, server.pause, server.resume, delete, names
    )


def _of_embedded(server: EmbeddedServer) -> QueueUnderTest:
    def send(number: signal.Signals) -> Callable[[], None]:
        return lambda: os.kill(server.process_id, number)

    return QueueUnderTest(
        server.url,
        True,
        send(signal.SIGKILL),
        lambda: None,  # it starts again by itself
        _nats_subscriber(server.url),
        send(signal.SIGSTOP),
        send(signal.SIGCONT),
        lambda name: _delete_stream(server.url, name),
    )


@pytest.fixture(params=["embedded", "nats", "rabbitmq", "kafka"])
async def queue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[QueueUnderTest]:
    """Each kind of message queue in turn, empty."""
    match request.param:
        case "embedded":
            async with embedded_server(tmp_path / "queue") as server:
                yield _of_embedded(server)
        case "nats":
            yield _of_nats(request.getfixturevalue("nats_server"))
        case "kafka":
            yield _of_kafka(request.getfixturevalue("kafka_server"), request.getfixturevalue("kafka_prefix"))
        case _:
            url = request.getfixturevalue("rabbitmq_url")
            yield _of_rabbitmq(request.getfixturevalue("rabbitmq_server"), url)
