"""Verdicts between organisations, on each message queue."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from orchestrator.broker.nats import verdicts as nats_verdicts
from orchestrator.broker.port import Broker
from orchestrator.broker.rabbitmq import verdicts as rabbitmq_verdicts
from orchestrator.engine.ports.queues import BrokerError
from tests.patience import patient

if TYPE_CHECKING:
    from tests.contract.broker.conftest import QueueUnderTest

SECONDS = 60.0
"""Several calls may each wait out their time-out of 5 s for an answer that went down with the server."""


@asynccontextmanager
async def reading(broker: Broker) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    async with aclosing(broker.verdicts()) as bodies:
        yield bodies


async def read_until(bodies: AsyncGenerator[bytes, None], wanted: bytes, publishing: Broker) -> list[bytes]:
    """Publish until it was read, for a reader who may not be there yet, or a queue that may be away."""
    read: list[bytes] = []

    async def publish() -> None:
        while True:
            with suppress(BrokerError):
                await publishing.publish_verdict(wanted)
            await asyncio.sleep(0.2)

    async with asyncio.timeout(patient(SECONDS)):
        task = asyncio.create_task(publish())
        try:
            while wanted not in read:
                read.append(await anext(bodies))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    return read


async def test_every_daemon_reads_every_verdict(queue: "QueueUnderTest") -> None:
    """A verdict reaches each of two organisations' daemons, as it was published."""
    async with queue.open() as one, queue.open() as other, reading(one) as first, reading(other) as second:
        assert (await read_until(first, b'{"a": 1}', other))[-1] == b'{"a": 1}'
        assert b'{"a": 2}' in await read_until(second, b'{"a": 2}', one)


async def test_verdicts_go_on_after_the_server_was_killed(queue: "QueueUnderTest") -> None:
    """A reader who was there before the message queue was killed reads what is published after it."""
    async with queue.open() as broker, reading(broker) as bodies:
        await read_until(bodies, b"before", broker)
        await queue.bounce()
        await read_until(bodies, b"after", broker)


async def test_verdicts_go_on_after_an_administrator_deleted_what_they_come_by(
    queue: "QueueUnderTest", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader who was there before stream, exchange or topic was deleted reads what is published after it."""
    monkeypatch.setattr(nats_verdicts, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(rabbitmq_verdicts, "BINDING_SECONDS", 0.2)
    async with queue.open() as broker, reading(broker) as bodies:
        await read_until(bodies, b"before", broker)
        await queue.delete(queue.names.verdicts)
        await read_until(bodies, b"after", broker)


async def test_verdicts_are_no_requests_and_no_events(queue: "QueueUnderTest") -> None:
    """A verdict comes neither as a trigger nor as a status event."""
    async with queue.open() as broker, reading(broker) as bodies:
        await broker.check()
        async with queue.subscribe() as events, aclosing(broker.triggers()) as triggers:
            await read_until(bodies, b"verdict", broker)
            await broker.request(b"request")
            async with asyncio.timeout(patient(SECONDS)):
                trigger = await anext(triggers)
            assert trigger.body == b"request"
            await trigger.acknowledge()
            assert events.empty()
