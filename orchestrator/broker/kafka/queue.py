"""Kafka as the message queue: topics for triggers, dead letters, status events and verdicts, keyed by privacy group."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Final, TypeVar

import structlog
from confluent_kafka import Message

from orchestrator.broker.kafka import letters as kafka_letters
from orchestrator.broker.kafka.client import MAX_MESSAGE_BYTES, Client
from orchestrator.broker.kafka.intake import Taken, take
from orchestrator.broker.kafka.producer import Sender
from orchestrator.broker.kafka.reader import Reader, follow
from orchestrator.broker.kafka.records import CLOUD_EVENT, CONTENT_TYPE, Headers, encoded, event_headers, key_of
from orchestrator.broker.kafka.topics import Topics
from orchestrator.broker.letters import buried, inlet_of, original_headers
from orchestrator.broker.names import Access, Limits, Names
from orchestrator.broker.pauses import Pauses
from orchestrator.broker.port import DeadLetter
from orchestrator.engine.messages.cloud_events import KAFKA
from orchestrator.engine.ports.queues import BrokerError, Trigger, UnfitMessageError

_LETTER_BYTES: Final = (MAX_MESSAGE_BYTES // 2, 900_000, 60_000, 8_000)
"""What a dead letter may have: it is cut when its topic takes no more, which is told only by trying."""

_Found = TypeVar("_Found")

_log = structlog.get_logger(__name__)


class KafkaBroker:
    """See `orchestrator.broker.port.Broker`.

    Kafka keeps an order within a partition, and a key leads to one: requests and status events have their privacy
    group's id as the key. It drops no duplicates of different connections: a subscriber has to, by ``ce_id``.
    """

    def __init__(self, url: str, *, names: Names, limits: Limits, access: Access) -> None:
        self._names = names
        self._limits = limits
        self._client = Client(url, names, limits, access)
        self._topics = Topics(self._client, names, limits)
        self._sender = Sender(self._client, limits)
        self._reader: Reader | None = None
        self._reading = asyncio.Lock()
        self._intake_trouble: dict[str, str] = {}

    async def check(self) -> None:
        """See `Broker.check`."""
        await self._topics.look((*self._names.inlets, self._names.dead))
        with suppress(BrokerError):  # what is wrong with it is told where events go out
            await self._topics.partitions(self._names.events)
        for trouble in self._intake_trouble.values():
            raise BrokerError(trouble)

    async def check_events(self) -> None:
        """See `Broker.check_events`."""
        await self._topics.check_events()

    async def check_rights(self) -> None:
        """See `Broker.check_rights`; Kafka tells what a user may do, so nothing has to be taken for a try."""
        await self._topics.check_rights()

    async def largest_message(self) -> int | None:
        """See `Broker.largest_message`; only where we have the right to ask for it."""
        return await self._topics.largest_message(self._names.events)

    async def close(self) -> None:
        """Close the connections."""
        await self._sender.close()
        self._topics.close()
        async with self._reading:
            reader, self._reader = self._reader, None
            if reader is not None:
                await asyncio.to_thread(reader.close)

    def triggers(self, inlet: str | None = None) -> AsyncGenerator[Trigger, None]:
        """See `Broker.triggers`."""
        name = inlet or self._names.requests
        pauses = Pauses(self._limits.reconnect_seconds)

        def hears() -> None:
            self._intake_trouble.pop(name, None)
            pauses.reset()

        def lost(reason: str) -> None:
            self._intake_trouble[name] = reason
            self._topics.forget(name)

        return pauses.reconnecting(partial(self._take, name, hears), lost)

    async def _take(self, inlet: str, hears: Callable[[], None]) -> AsyncGenerator[Trigger, None]:
        await self._topics.partitions(inlet)
        await self._topics.partitions(self._names.dead)
        async with aclosing(take(self._client, inlet, self._limits, hears)) as messages:
            async for taken in messages:
                yield self._trigger(taken, inlet)

    async def publish(self, event_type: str, event_id: str, body: bytes) -> None:
        """See `Broker.publish`."""
        await self._send(self._names.events, body, key_of(body), event_headers(event_type, event_id))

    async def newest_event(self) -> bytes | None:
        """See `Broker.newest_event`."""
        topic = self._names.events
        partitions = await self._topics.partitions(topic)

        def newest(reader: Reader) -> Message | None:
            bounds = {number: reader.bounds(topic, number) for number in partitions}
            last = {number: high - 1 for number, (low, high) in bounds.items() if low < high}
            return max(reader.records(topic, last), key=lambda record: record.timestamp()[1], default=None)

        record = await self._read("reading the newest event", newest)
        return None if record is None else record.value()

    async def request(self, body: bytes) -> None:
        """See `Broker.request`."""
        await self._send(self._names.requests, body, key_of(body), [(CONTENT_TYPE, CLOUD_EVENT)])

    async def publish_verdict(self, body: bytes) -> None:
        """See `Broker.publish_verdict`."""
        await self._send(self._names.verdicts, body, key_of(body), [(CONTENT_TYPE, CLOUD_EVENT)])

    def verdicts(self) -> AsyncGenerator[bytes, None]:
        """See `Broker.verdicts`."""
        topic = self._names.verdicts
        take = partial(follow, self._client, topic, partial(self._topics.partitions, topic), self._limits)
        return Pauses(self._limits.reconnect_seconds).reconnecting(take, lambda _: self._topics.forget(topic))

    async def dead_letters(self, limit: int = 100) -> tuple[DeadLetter, ...]:
        """See `Broker.dead_letters`."""
        dead = self._names.dead
        partitions = await self._topics.partitions(dead)
        return await self._read(
            "reading dead letters", lambda reader: kafka_letters.listed(reader, dead, partitions, limit)
        )

    async def replay(self, letter_id: str) -> None:
        """See `Broker.replay`."""
        dead = self._names.dead
        partitions = await self._topics.partitions(dead)
        record = await self._read(
            "reading a dead letter", lambda reader: kafka_letters.found(reader, dead, partitions, letter_id)
        )
        came_with = kafka_letters.headers_of(record)
        body = record.value() or b""
        inlet = inlet_of(came_with, self._names.inlets)
        await self._send(inlet, body, key_of(body), encoded(original_headers(came_with)))
        struck = kafka_letters.key_of(record)
        # In this order a crash leaves the letter in place; replayed again it is known by its id.
        await self._sender.send(dead, None, key=struck, headers=[], partition=record.partition() or 0)

    async def _send(self, topic: str, body: bytes, key: bytes | None, headers: Headers) -> None:
        await self._topics.partitions(topic)
        try:
            await self._sender.send(topic, body, key=key, headers=headers)
        except BrokerError as error:
            if error.passing:
                self._topics.forget(topic)
            raise

    async def _read(self, doing: str, look: Callable[[Reader], _Found]) -> _Found:
        """Look into topics with the one connection for it; one that failed is not used again."""
        async with self._reading:
            with self._client.explained(doing):
                return await asyncio.to_thread(self._looked, look)

    def _looked(self, look: Callable[[Reader], _Found]) -> _Found:
        # All of it in the thread, which goes on when the one who asked does not wait any more.
        reader = self._reader or Reader(self._client, self._limits.call_seconds)
        self._reader = None
        try:
            seen = look(reader)
        except KeyError:
            self._reader = reader
            raise
        except BaseException:
            reader.close()
            raise
        self._reader = reader
        return seen

    def _trigger(self, taken: Taken, inlet: str) -> Trigger:
        message = taken.message
        body, headers = message.value() or b"", taken.headers

        async def acknowledge() -> None:
            taken.settle()

        async def postpone(seconds: float) -> None:
            # Held here, where it counts against the limit of those in flight: Kafka takes nothing back.
            taken.again(seconds)

        async def bury(reason: str) -> None:
            try:
                await self._bury(taken, body, headers, reason=reason, inlet=inlet)
            except BrokerError as error:
                _log.warning("a trigger will be given out again", reason=str(error))
                taken.strike()
            else:
                taken.settle()

        return Trigger(
            body=body,
            headers=headers,
            acknowledge=acknowledge,
            postpone=postpone,
            bury=bury,
            delivery=taken.delivery,
            binding=KAFKA,
            inlet=inlet,
        )

    async def _bury(self, taken: Taken, body: bytes, headers: dict[str, str], *, reason: str, inlet: str) -> None:
        dead, key = self._names.dead, kafka_letters.letter_key(taken.message)
        await self._topics.partitions(dead)
        for most_bytes in _LETTER_BYTES:
            # Cut shorter each time: better a part of it than a message that comes for ever.
            letter, ours = buried(body, headers, reason=reason, source=inlet, most_bytes=most_bytes)
            with suppress(UnfitMessageError):
                await self._sender.send(dead, letter, key=key, headers=encoded(ours))
                return
        raise BrokerError(
            f"the topic {dead} takes no letters of {_LETTER_BYTES[-1]} bytes: raise its max.message.bytes"
        )
