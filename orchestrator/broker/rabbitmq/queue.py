"""RabbitMQ as the message queue: quorum queues for triggers and dead letters, a topic exchange for events."""

import asyncio
import hashlib
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from typing import Final

import structlog
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue
from aiormq.exceptions import ChannelLockedResource

from orchestrator.broker.header_names import lowered
from orchestrator.broker.letters import (
    MOST_LISTED_BYTES,
    REASON_HEADER,
    SOURCE_HEADER,
    buried,
    inlet_of,
    original_headers,
)
from orchestrator.broker.library_errors import LIBRARY_ERRORS, as_broker_errors
from orchestrator.broker.names import Access, Limits, Names
from orchestrator.broker.pauses import Pauses
from orchestrator.broker.port import DeadLetter
from orchestrator.broker.rabbitmq import verdicts as rabbitmq_verdicts
from orchestrator.broker.rabbitmq.letters import buried_from, deliveries_before, letter_id_of, letters, reading_alone
from orchestrator.broker.rabbitmq.link import QUEUE, RabbitMQLink, Session
from orchestrator.engine.messages.cloud_events import AMQP
from orchestrator.engine.ports.queues import BrokerError, Trigger

_CLOUD_EVENT: Final = "application/cloudevents+json"
_CONTENT_TYPE: Final = "content-type"
_MAX_MESSAGE_BYTES: Final = 16 * 1024 * 1024
_MOST_SEARCHED: Final = 10_000

_log = structlog.get_logger(__name__)


class RabbitMQBroker:
    """See `orchestrator.broker.port.Broker`.

    RabbitMQ does not drop duplicates: a subscriber has to, by the message id, which is the event's id.
    """

    def __init__(self, url: str, *, names: Names, limits: Limits, access: Access) -> None:
        self._names = names
        self._limits = limits
        self._link = RabbitMQLink(url, names, limits, access)
        # Within this process one look at a time as well: the lock at the server is one connection's, which all looks
        # share.
        self._looking = asyncio.Lock()
        self._sample: tuple[Session, AbstractQueue] | None = None
        self._intake_trouble: dict[str, str] = {}

    async def check(self) -> None:
        """See `Broker.check`."""
        session = await self._link.session()
        with as_broker_errors(QUEUE, "looking for the queue"):
            async with asyncio.timeout(self._limits.call_seconds), session.connection.channel() as channel:
                await channel.get_queue(self._names.requests)
        for trouble in self._intake_trouble.values():
            raise BrokerError(trouble)

    async def check_events(self) -> None:
        """See `Broker.check_events`."""
        await self._link.look_for_events(await self._link.session())

    async def check_rights(self) -> None:
        """See `Broker.check_rights`; closing the channel gives back what was taken. Tries dead letters, too."""
        session = await self._link.session()
        with as_broker_errors(QUEUE, "taking a request for a try"):
            async with asyncio.timeout(self._limits.call_seconds), session.connection.channel() as channel:
                with suppress(ChannelLockedResource):  # of a queue that one consumer has alone
                    await (await channel.get_queue(self._names.requests)).get(no_ack=False, fail=False)
        with as_broker_errors(QUEUE, "publishing on the default exchange, by which dead letters go"):
            async with asyncio.timeout(self._limits.call_seconds), session.connection.channel() as channel:
                nowhere = f"{self._names.consumer}-{uuid.uuid4()}"
                await channel.default_exchange.publish(Message(b""), nowhere, mandatory=False)

    async def largest_message(self) -> int | None:
        """See `Broker.largest_message`; AMQP does not tell."""
        return None

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()

    def triggers(self, inlet: str | None = None) -> AsyncGenerator[Trigger, None]:
        """See `Broker.triggers`."""
        name = inlet or self._names.requests

        def lost(reason: str) -> None:
            self._intake_trouble[name] = reason
            self._link.forget_queues()

        return Pauses(self._limits.reconnect_seconds).reconnecting(partial(self._take, name), lost)

    async def publish(self, event_type: str, event_id: str, body: bytes) -> None:
        """See `Broker.publish`."""
        session = await self._link.session()
        await self._link.prepare_events(session)
        message = _persistent(body, {_CONTENT_TYPE: _CLOUD_EVENT}, event_id)
        subject = self._names.event_subject(event_type)
        try:
            with as_broker_errors(QUEUE, f"publishing {subject}"):
                async with asyncio.timeout(self._limits.call_seconds), session.publishing.channel() as channel:
                    events = await channel.get_exchange(self._names.events, ensure=False)
                    # Without a subscriber's queue an event goes nowhere, which is as it should be.
                    await events.publish(message, subject, mandatory=False)
        except BrokerError:
            self._link.forget_events()
            raise

    async def newest_event(self) -> bytes | None:
        """See `Broker.newest_event`."""
        session = await self._link.session()
        with as_broker_errors(QUEUE, "reading the newest event"):
            async with asyncio.timeout(self._limits.call_seconds):
                if self._sample is None or self._sample[0] is not session:
                    channel = await session.connection.channel()
                    # A queue of one message: RabbitMQ keeps no events, so that the newest is what came since it was
                    # bound.
                    sampling = await channel.declare_queue(
                        exclusive=True, auto_delete=True, arguments={"x-max-length": 1}
                    )
                    await sampling.bind(self._names.events, f"{self._names.events}.#")
                    self._sample = (session, sampling)
                message = await self._sample[1].get(no_ack=True, fail=False)
        return None if message is None else message.body

    async def request(self, body: bytes) -> None:
        """See `Broker.request`."""
        message_id = hashlib.sha256(body).hexdigest()
        await self._send(self._names.requests, _persistent(body, {_CONTENT_TYPE: _CLOUD_EVENT}, message_id))

    async def publish_verdict(self, body: bytes) -> None:
        """See `Broker.publish_verdict`."""
        session = await self._link.session()
        message_id = hashlib.sha256(body).hexdigest()
        await rabbitmq_verdicts.publish(session, self._names.verdicts, message_id, body, self._limits.call_seconds)

    def verdicts(self) -> AsyncGenerator[bytes, None]:
        """See `Broker.verdicts`."""
        take = partial(rabbitmq_verdicts.read, self._link, self._names.verdicts, self._limits.call_seconds)
        return Pauses(self._limits.reconnect_seconds).reconnecting(take, lambda _: None)

    async def dead_letters(self, limit: int = 100) -> tuple[DeadLetter, ...]:
        """See `Broker.dead_letters`."""
        found: dict[str, DeadLetter] = {}
        size = 0
        async with self._letters(limit, "reading dead letters") as held:
            async for message in held:
                headers = _letter_headers_of(message)
                letter = DeadLetter(
                    letter_id=letter_id_of(message),
                    reason=headers.get(REASON_HEADER, "buried by RabbitMQ: it came back too often, or expired"),
                    body=message.body,
                    headers=original_headers(headers),
                )
                found.setdefault(letter.letter_id, letter)
                size += len(letter.body)
                if size >= MOST_LISTED_BYTES:
                    break
        return tuple(found.values())

    async def replay(self, letter_id: str) -> None:
        """See `Broker.replay`."""
        async with self._letters(_MOST_SEARCHED, "replaying a dead letter") as held:
            async for message in held:
                if letter_id_of(message) == letter_id:
                    headers = _letter_headers_of(message)
                    inlet, headers = inlet_of(headers, self._names.inlets), original_headers(headers)
                    await self._send(inlet, _persistent(message.body, headers, letter_id))
                    await message.ack()
                    return
        raise KeyError(letter_id)

    @asynccontextmanager
    async def _letters(self, limit: int, doing: str) -> AsyncIterator[AsyncIterator[AbstractIncomingMessage]]:
        session = await self._link.session()
        with as_broker_errors(QUEUE, doing):
            async with (
                asyncio.timeout(self._limits.call_seconds),
                self._looking,
                reading_alone(session, self._names.dead),
                aclosing(letters(session, self._names.dead, limit)) as held,
            ):
                yield held

    async def _send(self, queue_name: str, message: Message) -> None:
        session = await self._link.session()
        await self._link.prepare_queues(session)
        try:
            with as_broker_errors(QUEUE, f"publishing to {queue_name}"):
                async with asyncio.timeout(self._limits.call_seconds), session.publishing.channel() as channel:
                    await channel.default_exchange.publish(message, queue_name)
        except BrokerError:
            self._link.forget_queues()
            raise

    async def _take(self, inlet: str) -> AsyncGenerator[Trigger, None]:
        session = await self._link.session()
        await self._link.prepare_queues(session)
        # The prefetch limit bounds it; the two places more are for the word that it is over.
        arrived: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue(self._limits.in_flight + 2)

        def over(*_: object) -> None:
            with suppress(asyncio.QueueFull):
                arrived.put_nowait(None)

        with as_broker_errors(QUEUE, "consuming"):
            async with asyncio.timeout(self._limits.call_seconds):
                channel = await session.connection.channel()
                await channel.set_qos(prefetch_count=self._limits.in_flight)
                queue = await channel.get_queue(inlet)
                underlay = await channel.get_underlay_channel()
                # The server cancels a consumer whose queue was deleted or lost its leader, and the connection stays up.
                underlay.on_consumer_cancel_callbacks.add(over)
                channel.close_callbacks.add(over)
                tag = await queue.consume(arrived.put)
        self._intake_trouble.pop(inlet, None)
        try:
            while (message := await arrived.get()) is not None:
                yield self._trigger(message, inlet)
        finally:
            with suppress(*LIBRARY_ERRORS):
                async with asyncio.timeout(self._limits.call_seconds):
                    await queue.cancel(tag)
                    # Given back at once: else others wait for them until this connection ends.
                    while not arrived.empty():
                        if (left := arrived.get_nowait()) is not None:
                            await left.nack()
        raise BrokerError("RabbitMQ: the consumer was cancelled or the connection was lost")

    def _trigger(self, message: AbstractIncomingMessage, inlet: str) -> Trigger:
        async def acknowledge() -> None:
            async with _settling("acknowledging", message):
                await message.ack()

        async def postpone(seconds: float) -> None:
            # RabbitMQ delivers what is given back at once; held back here it also counts against the prefetch limit.
            await asyncio.sleep(seconds)
            async with _settling("giving back", message):
                await message.nack()

        async def bury(reason: str) -> None:
            async with _settling("burying", message):
                body, headers = buried(
                    message.body,
                    _headers_of(message),
                    reason=reason,
                    source=inlet,
                    most_bytes=_MAX_MESSAGE_BYTES,
                )
                # First sent, then acknowledged: a crash in between leaves it in both places, and none is lost.
                await self._send(self._names.dead, _persistent(body, headers, str(uuid.uuid4())))
                await message.ack()

        return Trigger(
            body=message.body,
            headers=_headers_of(message),
            acknowledge=acknowledge,
            postpone=postpone,
            bury=bury,
            delivery=deliveries_before(message) + 1,
            binding=AMQP,
            inlet=inlet,
        )


@asynccontextmanager
async def _settling(doing: str, message: AbstractIncomingMessage) -> AsyncIterator[None]:
    """Give back a trigger that could not be settled; if that fails too, its channel is closed and it comes again."""
    try:
        with as_broker_errors(QUEUE, doing):
            yield
    except BrokerError as error:
        _log.warning("a trigger will be delivered again", reason=str(error))
        with suppress(BrokerError), as_broker_errors(QUEUE, "giving back"):
            await message.nack()


def _headers_of(message: AbstractIncomingMessage) -> dict[str, str]:
    headers = lowered((name, _text_of(value)) for name, value in message.headers.items())
    if message.content_type:
        headers[_CONTENT_TYPE] = message.content_type
    return headers


def _letter_headers_of(message: AbstractIncomingMessage) -> dict[str, str]:
    """Return a dead letter's headers; of what RabbitMQ buried, where it came in is its word and the reason nobody's."""
    headers = _headers_of(message)
    if (origin := buried_from(message)) is not None:
        headers.pop(REASON_HEADER, None)
        headers[SOURCE_HEADER] = origin
    return headers


def _text_of(value: object) -> str:
    match value:
        case bytes():
            return value.decode("utf-8", "backslashreplace")
        case datetime():
            # An event's time may be a timestamp of AMQP, which has no zone.
            return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).isoformat()
        case _:
            return str(value)


def _persistent(body: bytes, headers: Mapping[str, str], message_id: str) -> Message:
    return Message(
        body,
        headers={name: value for name, value in headers.items() if name != _CONTENT_TYPE},
        content_type=headers.get(_CONTENT_TYPE),
        delivery_mode=DeliveryMode.PERSISTENT,
        message_id=message_id,
    )
