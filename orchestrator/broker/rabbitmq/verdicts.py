"""Verdicts of other organisations' daemons on RabbitMQ: an exchange, and a queue of its own for each reader.

The queue lives as long as its connection: what is published while a daemon is away does not reach it.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Final

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue, ExchangeType, FieldValue

from orchestrator.broker.library_errors import LIBRARY_ERRORS, as_broker_errors
from orchestrator.broker.rabbitmq.link import QUEUE, RabbitMQLink, Session, declare_exchange
from orchestrator.engine.ports.queues import BrokerError

MOST_WAITING: Final = 1_000
BINDING_SECONDS: Final = 15.0
"""How long nothing may come until the exchange is looked at again."""

_PREFETCH: Final = 64
_BOUNDS: Final[dict[str, FieldValue]] = {
    "x-max-length": MOST_WAITING,
    "x-max-length-bytes": 64 << 20,
    "x-message-ttl": 3_600_000,
}


async def publish(session: Session, name: str, message_id: str, body: bytes, seconds: float) -> None:
    """Publish a verdict to whoever reads them now.

    Raises:
        BrokerError: RabbitMQ did not take it in time.
    """
    message = Message(
        body,
        content_type="application/cloudevents+json",
        # The queues of readers end with their connections: there is nothing to keep on a disk.
        delivery_mode=DeliveryMode.NOT_PERSISTENT,
        message_id=message_id,
    )
    with as_broker_errors(QUEUE, f"publishing to {name}"):
        async with asyncio.timeout(seconds):
            await declare_exchange(session.connection, name, ExchangeType.FANOUT)
            async with session.publishing.channel() as channel:
                exchange = await channel.get_exchange(name, ensure=False)
                await exchange.publish(message, "", mandatory=False)


async def read(link: RabbitMQLink, name: str, seconds: float) -> AsyncGenerator[bytes, None]:
    """Yield what is published from now on, while the connection lasts.

    Args:
        link: Connects.
        name: Name of the exchange.
        seconds: Bound of each exchange with RabbitMQ.

    Raises:
        BrokerError: There is no connection, or it was lost.
    """
    session = await link.session()
    arrived: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue(_PREFETCH + 2)

    def over(*_: object) -> None:
        with suppress(asyncio.QueueFull):
            arrived.put_nowait(None)

    with as_broker_errors(QUEUE, f"subscribing to {name}"):
        async with asyncio.timeout(seconds):
            channel = await session.connection.channel()
            await channel.set_qos(prefetch_count=_PREFETCH)
            queue = await channel.declare_queue(exclusive=True, auto_delete=True, arguments=_BOUNDS)
            await _bind(session, channel, queue, name)
            underlay = await channel.get_underlay_channel()
            underlay.on_consumer_cancel_callbacks.add(over)
            channel.close_callbacks.add(over)
            await queue.consume(arrived.put)
    try:
        while True:
            try:
                async with asyncio.timeout(BINDING_SECONDS):
                    message = await arrived.get()
            except TimeoutError:
                # An exchange that was deleted took the binding along, and whoever publishes makes it anew without it.
                with as_broker_errors(QUEUE, f"binding to {name}"):
                    async with asyncio.timeout(seconds):
                        await _bind(session, channel, queue, name)
                continue
            if message is None:
                break
            # Before it is looked at: verdicts are said again, and one that ends the daemon must not come for ever.
            with as_broker_errors(QUEUE, "acknowledging a verdict"):
                await message.ack()
            yield message.body
    finally:
        with suppress(*LIBRARY_ERRORS):
            async with asyncio.timeout(seconds):
                await channel.close()
    raise BrokerError("RabbitMQ: the subscription to verdicts was cancelled or the connection was lost")


async def _bind(session: Session, channel: AbstractChannel, queue: AbstractQueue, name: str) -> None:
    await declare_exchange(session.connection, name, ExchangeType.FANOUT)
    await queue.bind(await channel.get_exchange(name, ensure=False))
