"""Looking at RabbitMQ's dead letters without using them up.

AMQP 0.9.1 shows a message only by delivering it, and a quorum queue counts each delivery that comes back: at a limit
(20 where RabbitMQ 4 sets it) the message is dropped. So a letter that came back some times is replaced by a copy that
never did. And one reader looks at a time, since another does not see what the first one holds.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue
from aiormq.exceptions import ChannelAccessRefused, ChannelLockedResource

from orchestrator.broker.rabbitmq.link import Session

RENEWED_AT: Final = 5
"""A letter that came back so often is replaced by a copy; a queue whose limit is lower loses letters."""

COUNT_HEADER: Final = "x-delivery-count"
DEATHS_HEADER: Final = "x-death"
_LOOK_SECONDS: Final = 0.05


@asynccontextmanager
async def reading_alone(session: Session, dead: str) -> AsyncIterator[None]:
    """Wait until nobody else looks at the dead letters; where the lock may not be made there is no waiting.

    The lock is a queue that belongs to one connection: RabbitMQ deletes it with the connection, however that ends.
    """
    lock = await _lock(session, f"{dead}.reader")
    try:
        yield
    finally:
        if lock is not None:
            await lock.delete(if_unused=False, if_empty=False)
            await lock.channel.close()


async def _lock(session: Session, name: str) -> AbstractQueue | None:
    while True:
        channel = await session.connection.channel()  # one that was refused something is closed
        try:
            return await channel.declare_queue(name, exclusive=True)
        except ChannelLockedResource:
            await asyncio.sleep(_LOOK_SECONDS)
        except ChannelAccessRefused:
            return None


async def letters(session: Session, dead: str, limit: int) -> AsyncGenerator[AbstractIncomingMessage, None]:
    """Yield the oldest dead letters, within `reading_alone`; each goes back at the end unless it was acknowledged."""
    async with session.connection.channel() as channel:
        queue = await channel.get_queue(dead)
        for _ in range(limit):
            message = await queue.get(no_ack=False, fail=False)
            if message is None:
                return
            yield message
            if deliveries_before(message) >= RENEWED_AT and not message.processed:
                # In this order a crash in between leaves two of the same id, of which one is shown.
                async with session.publishing.channel() as publishing:
                    await publishing.default_exchange.publish(_copy_of(message), dead)
                await message.ack()


def deliveries_before(message: AbstractIncomingMessage) -> int:
    """Return how often a message came back to a quorum queue; 0 where the queue does not count."""
    # What does not count leaves a sender's own header there: below zero, pauses could not be reckoned from it.
    before = message.headers.get(COUNT_HEADER)
    return max(0, before) if isinstance(before, int) else 0


def buried_from(message: AbstractIncomingMessage) -> str | None:
    """Return the queue out of which RabbitMQ itself buried a message (it expired, or came back too often); None else.

    A sender may write any header, our own and those of RabbitMQ, and they stay on what RabbitMQ buries. Its newest word
    is always the first of the list, and in what we bury there is no list.
    """
    match message.headers.get(DEATHS_HEADER):
        case [{"queue": str(queue)}, *_]:
            return queue
    return None


def letter_id_of(message: AbstractIncomingMessage) -> str:
    """Return the id by which a dead letter is replayed."""
    return message.message_id or hashlib.sha256(message.body).hexdigest()


def _copy_of(message: AbstractIncomingMessage) -> Message:
    return Message(
        message.body,
        headers={name: value for name, value in message.headers.items() if name != COUNT_HEADER},
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        delivery_mode=DeliveryMode.PERSISTENT,
        message_id=letter_id_of(message),
    )
