"""Several subjects or queues where requests come in: each is known by itself, and dead letters go back to theirs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aio_pika
import nats
import pytest
from confluent_kafka import Producer

from orchestrator.broker.connection import connect
from orchestrator.broker.letters import REASON_HEADER, SOURCE_HEADER, inlet_of
from orchestrator.broker.names import Names
from orchestrator.broker.port import Broker
from orchestrator.engine.ports.queues import UnfitMessageError
from tests.contract.broker.conftest import NAMES
from tests.patience import patient, within

if TYPE_CHECKING:
    from tests.contract.broker.conftest import QueueUnderTest


def sources_of(names: Names) -> Names:
    return replace(names, sources=(f"{names.requests}.org1", f"{names.requests}.org2"))


async def publish(url: str, subject: str, body: bytes) -> None:
    """Publish as a sender does who knows nothing of us."""
    if url.startswith("amqp"):
        connection = await aio_pika.connect(url)
        async with connection, connection.channel() as channel:
            await channel.default_exchange.publish(aio_pika.Message(body), subject)
        return
    if url.startswith("kafka"):
        producer = Producer({"bootstrap.servers": urlsplit(url).netloc, "log_level": 2})
        producer.produce(subject, body)
        if await asyncio.to_thread(producer.flush, 10):
            raise TimeoutError
        return
    client = await nats.connect(url)
    try:
        await client.jetstream().publish(subject, body)
    finally:
        await client.close()


@asynccontextmanager
async def opened(queue: "QueueUnderTest", names: Names | None = None) -> AsyncIterator[Broker]:
    names = sources_of(queue.names) if names is None else names
    async with connect(queue.url, directory=Path("/unused"), names=names) as broker:
        yield broker


async def test_each_inlet_yields_its_own_messages(queue: "QueueUnderTest") -> None:
    """A message comes out of the inlet that it was published to, and says which one that is."""
    async with opened(queue) as broker:
        await broker.check()
        inlets = sources_of(queue.names).inlets
        sources = [broker.triggers(name) for name in inlets]
        waiting = [asyncio.ensure_future(anext(source)) for source in sources]
        await asyncio.sleep(0)
        async with asyncio.timeout(patient(30)):
            for name in reversed(inlets):
                while True:
                    try:
                        await publish(queue.url, name, name.encode())
                        break
                    except Exception:  # noqa: BLE001 - the stream is made when its inlet is first opened
                        await asyncio.sleep(0.05)
            triggers = [await found for found in waiting]
        assert [(trigger.inlet, trigger.body.decode()) for trigger in triggers] == [(name, name) for name in inlets]
        for trigger in triggers:
            await trigger.acknowledge()
        for source in sources:
            await source.aclose()


async def test_a_dead_letter_goes_back_where_it_came_in(queue: "QueueUnderTest") -> None:
    """Replayed by whoever may, it is still taken for its sender's; where that is none any more, it stays."""
    inlet = sources_of(queue.names).sources[1]
    async with opened(queue) as broker:
        source = broker.triggers(inlet)
        waiting = asyncio.ensure_future(anext(source))
        async with asyncio.timeout(patient(30)):
            while not waiting.done():
                try:
                    await publish(queue.url, inlet, b"no request")
                    await asyncio.wait([waiting], timeout=5)
                except Exception:  # noqa: BLE001 - the stream is made when its inlet is first opened
                    await asyncio.sleep(0.05)
        await (await waiting).bury("it is none")
        await source.aclose()
        async with asyncio.timeout(patient(20)):
            letters = await broker.dead_letters()
        async with opened(queue, queue.names) as without:
            with pytest.raises(UnfitMessageError, match=r"none of broker\.sources now"):
                await without.replay(letters[0].letter_id)
        await broker.replay(letters[0].letter_id)
        again = broker.triggers(inlet)
        async with asyncio.timeout(patient(20)):
            found = await anext(again)
        assert (found.inlet, found.body) == (inlet, b"no request")
        await found.acknowledge()
        await again.aclose()


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, "t.requests"),
        ({SOURCE_HEADER: "t.requests.org1"}, "t.requests.org1"),
        ({SOURCE_HEADER: "t.requests.org9"}, None),
        ({SOURCE_HEADER: "t.requests.*"}, None),
    ],
)
def test_where_a_letter_goes_is_read_off_what_we_wrote(headers: dict[str, str], expected: str | None) -> None:
    """Our own word first, then the common way in; another place is none."""
    if expected is not None:
        assert inlet_of(headers, sources_of(NAMES).inlets) == expected
        return
    with pytest.raises(UnfitMessageError):
        inlet_of(headers, sources_of(NAMES).inlets)


@pytest.mark.parametrize("forged", [SOURCE_HEADER, "x-first-death-queue", "x-death"])
async def test_what_rabbitmq_buries_goes_back_where_it_was(rabbitmq_url: str, forged: str) -> None:
    """A message that RabbitMQ itself buries, since it expired, goes back to its queue, whatever its sender wrote."""
    names = sources_of(NAMES)
    mine, others = names.sources
    death: aio_pika.abc.FieldValue = [{"queue": others, "reason": "expired", "count": 1}]
    written: dict[str, aio_pika.abc.FieldValue] = {
        forged: death if forged == "x-death" else others,
        REASON_HEADER: "nothing is wrong",
    }
    async with connect(rabbitmq_url, directory=Path("/unused"), names=names) as broker:
        await broker.request(b"makes the queues")
        connection = await aio_pika.connect(rabbitmq_url)
        async with connection, connection.channel() as channel, asyncio.timeout(patient(30)):
            message = aio_pika.Message(b"mine", headers=written, expiration=0.001)
            await channel.default_exchange.publish(message, mine)
            for _ in within(30):
                if letters := await broker.dead_letters():
                    break
                await asyncio.sleep(0.05)
            assert letters[0].reason.startswith("buried by RabbitMQ")
            await broker.replay(letters[0].letter_id)
            found = await (await channel.get_queue(mine)).get(no_ack=True)
    assert found is not None
    assert found.body == b"mine"
