"""NATS JetStream as the message queue: one work-queue stream for triggers, one for dead letters, one for events."""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from functools import partial
from typing import Final

import structlog
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import Header, RawStreamMsg
from nats.js.errors import NotFoundError

from orchestrator.broker.header_names import lowered
from orchestrator.broker.letters import (
    HEADER_ROOM_BYTES,
    MOST_LISTED_BYTES,
    REASON_HEADER,
    buried,
    inlet_of,
    original_headers,
)
from orchestrator.broker.library_errors import as_broker_errors
from orchestrator.broker.names import Access, Limits, Names
from orchestrator.broker.nats.link import QUEUE, NatsLink
from orchestrator.broker.nats.pull import InFlight, pull
from orchestrator.broker.nats.verdicts import STREAM_SETTLES_SECONDS, VERDICT_STREAM, read
from orchestrator.broker.pauses import Pauses
from orchestrator.broker.port import DeadLetter
from orchestrator.engine.messages.cloud_events import NATS
from orchestrator.engine.ports.queues import BrokerError, Trigger
from orchestrator.membership.news.status import EventType
from orchestrator.outside_text import one_line

_ONE_NOW: Final = b'{"batch": 1, "no_wait": true}'
_LETTER_ID: Final = re.compile(r"[1-9][0-9]{0,18}\Z", re.ASCII)
"""A place in the stream, spelled as it is listed and in no other way: the server knows a replay by it."""

_CLOUD_EVENT: Final = {"content-type": "application/cloudevents+json"}

_log = structlog.get_logger(__name__)


class NatsBroker:
    """See `orchestrator.broker.port.Broker`.

    Args:
        url, names, limits, access: See `orchestrator.broker.connection.connect`.
        trouble: Says why a server of our own stores nothing now, which it does not tell itself; empty while it does.
    """

    def __init__(
        self, url: str, *, names: Names, limits: Limits, access: Access, trouble: Callable[[], str] = lambda: ""
    ) -> None:
        self._trouble = trouble
        self._names = names
        self._limits = limits
        self._link = NatsLink(url, names, limits, access)
        self._intake_trouble: dict[str, str] = {}

    async def check(self) -> None:
        """See `Broker.check`."""
        session = await self._link.session()
        with self._link.explained("asking for the stream and its consumer"):
            await session.jetstream.consumer_info(session.requests, self._names.consumer)
        for trouble in (*self._intake_trouble.values(), self._trouble()):
            if trouble:
                raise BrokerError(trouble)

    async def check_events(self) -> None:
        """See `Broker.check_events`."""
        await self._link.check_events(await self._link.session())

    async def check_rights(self) -> None:
        """See `Broker.check_rights`."""
        session = await self._link.session()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{session.requests}.{self._names.consumer}"
        inbox = session.client.new_inbox()
        with self._link.explained("taking a request for a try"):
            subscription = await session.client.subscribe(inbox)
            try:
                await session.client.publish(subject, _ONE_NOW, inbox)
                found = await subscription.next_msg(self._limits.call_seconds)
                # A status has none: there was no request to be taken, which shows the right to take one as well.
                if found.reply:
                    await found.nak()
            finally:
                await subscription.unsubscribe()

    async def largest_message(self) -> int | None:
        """See `Broker.largest_message`; the stream's limit only where we have the right to ask for it."""
        session = await self._link.session()
        most = session.client.max_payload
        with suppress(BrokerError), self._link.explained("asking for the stream of status events"):
            subject = self._names.event_subject(EventType.CHANGE_ACCEPTED.value)
            name = await session.jetstream.find_stream_name_by_subject(subject)
            of_stream = (await session.jetstream.stream_info(name)).config.max_msg_size
            most = min(most, of_stream) if of_stream is not None and of_stream > 0 else most
        return most

    async def close(self) -> None:
        """Close the connection."""
        await self._link.close()

    def triggers(self, inlet: str | None = None) -> AsyncGenerator[Trigger, None]:
        """See `Broker.triggers`."""
        name = inlet or self._names.requests
        # Counted by each reader anew: whatever an earlier one left unsettled comes again, and takes no place for ever.
        take = partial(self._take, name, InFlight(self._limits.in_flight))

        def lost(reason: str) -> None:
            self._intake_trouble[name] = reason
            self._link.forget()

        return Pauses(self._limits.reconnect_seconds).reconnecting(take, lost)

    async def _take(self, inlet: str, in_flight: InFlight) -> AsyncGenerator[Trigger, None]:
        def hears() -> None:
            self._intake_trouble.pop(inlet, None)

        session = await self._link.session()
        common = inlet == self._names.requests
        # A sender's own subject may be refused without holding up the common one.
        stream = session.requests if common else await self._link.inlet(session, inlet)
        consumer = self._names.consumer_of(inlet)
        with self._link.explained("taking requests"):
            async with aclosing(pull(session, stream, consumer, in_flight, hears)) as messages:
                async for message in messages:
                    yield self._trigger(message, in_flight)

    async def publish(self, event_type: str, event_id: str, body: bytes) -> None:
        """See `Broker.publish`."""
        await self._link.prepare_events(await self._link.session())
        await self._send(self._names.event_subject(event_type), event_id, body, _CLOUD_EVENT)

    async def newest_event(self) -> bytes | None:
        """See `Broker.newest_event`."""
        session = await self._link.session()
        subjects = f"{self._names.events}.>"
        with as_broker_errors(QUEUE, "reading the newest event"):
            try:
                stream = await session.jetstream.find_stream_name_by_subject(subjects)
                await asyncio.sleep(STREAM_SETTLES_SECONDS)
                found = await session.jetstream.get_last_msg(stream, subjects)
            except NotFoundError:
                return None
        return found.data

    async def request(self, body: bytes) -> None:
        """See `Broker.request`."""
        # Only the very same document is a duplicate: another one under the same request id must be seen to clash.
        await self._send(self._names.requests, hashlib.sha256(body).hexdigest(), body, _CLOUD_EVENT)

    async def publish_verdict(self, body: bytes) -> None:
        """See `Broker.publish_verdict`."""
        await self._link.stream(await self._link.session(), self._names.verdicts, VERDICT_STREAM)
        await self._send(self._names.verdicts, hashlib.sha256(body).hexdigest(), body, _CLOUD_EVENT)

    def verdicts(self) -> AsyncGenerator[bytes, None]:
        """See `Broker.verdicts`."""
        take = partial(read, self._link, self._names.verdicts)
        return Pauses(self._limits.reconnect_seconds).reconnecting(take, lambda _: self._link.forget())

    async def dead_letters(self, limit: int = 100) -> tuple[DeadLetter, ...]:
        """See `Broker.dead_letters`."""
        session = await self._link.session()
        letters: list[DeadLetter] = []
        after = size = 0
        with as_broker_errors(QUEUE, "reading dead letters"):
            while len(letters) < limit and size < MOST_LISTED_BYTES:
                try:
                    found = await session.jetstream.get_msg(
                        session.dead, seq=after + 1, subject=self._names.dead, next=True
                    )
                except NotFoundError:
                    break
                letters.append(_letter(found))
                size += len(letters[-1].body)
                after = found.seq or 0
        return tuple(letters)

    async def replay(self, letter_id: str) -> None:
        """See `Broker.replay`."""
        if not _LETTER_ID.match(letter_id):
            raise KeyError(letter_id)
        session = await self._link.session()
        with as_broker_errors(QUEUE, "reading a dead letter"):
            try:
                found = await session.jetstream.get_msg(session.dead, seq=int(letter_id))
            except NotFoundError:
                raise KeyError(letter_id) from None
        came_with = {name.lower(): value for name, value in _headers_of(found).items()}
        inlet, headers = inlet_of(came_with, self._names.inlets), original_headers(came_with)
        await self._send(inlet, f"{session.dead}-{letter_id}", found.data or b"", headers)
        with as_broker_errors(QUEUE, "deleting a replayed dead letter"):
            # In this order a crash leaves the letter: replayed again it has the same id, and is recognised.
            await session.jetstream.delete_msg(session.dead, int(letter_id))

    async def _send(self, subject: str, message_id: str, body: bytes, headers: Mapping[str, str]) -> None:
        session = await self._link.session()
        try:
            with self._link.explained(f"publishing on {subject}"):
                await session.jetstream.publish(
                    subject, body, timeout=self._limits.call_seconds, headers={**headers, Header.MSG_ID: message_id}
                )
        except BrokerError as error:
            if error.passing:
                self._link.forget()
            raise

    def _trigger(self, message: Msg, in_flight: InFlight) -> Trigger:
        async def acknowledge() -> None:
            # Not waited for: when it gets lost, the trigger comes again and is recognised by its id.
            with _settling("acknowledging", in_flight):
                await message.ack()

        async def postpone(seconds: float) -> None:
            with _settling("giving back", in_flight):
                await message.nak(seconds)

        async def bury(reason: str) -> None:
            with _settling("burying", in_flight):
                await self._bury(message, reason)

        return Trigger(
            body=message.data,
            headers=lowered((message.headers or {}).items()),
            acknowledge=acknowledge,
            postpone=postpone,
            bury=bury,
            delivery=_delivery_of(message),
            binding=NATS,
            # Not the name of the consumer: one that an administrator made may give out those of several subjects.
            inlet=message.subject,
        )

    async def _bury(self, message: Msg, reason: str) -> None:
        session = await self._link.session()
        body, headers = buried(
            message.data,
            message.headers or {},
            reason=reason,
            source=message.subject,
            most_bytes=session.client.max_payload - HEADER_ROOM_BYTES // 2,
        )
        metadata = message.metadata
        # The same for each try: buried twice, because the acknowledgement got lost, it is one letter to the stream.
        headers[Header.MSG_ID] = f"{metadata.stream}-{metadata.sequence.stream}-{metadata.timestamp.timestamp()}"
        await session.jetstream.publish(self._names.dead, body, timeout=self._limits.call_seconds, headers=headers)
        await message.ack()


@contextmanager
def _settling(doing: str, in_flight: InFlight) -> Iterator[None]:
    """Count a trigger as settled; one that could not be is delivered again, which is all there is to do."""
    try:
        with as_broker_errors(QUEUE, doing):
            yield
    except BrokerError as error:
        _log.warning("a trigger will be delivered again", reason=str(error))
    finally:
        in_flight.settled()


def _delivery_of(message: Msg) -> int:
    """Return how often a message was delivered; 1 where its reply address does not tell."""
    with suppress(NatsError, ValueError):
        return message.metadata.num_delivered or 1
    return 1


def _headers_of(found: RawStreamMsg) -> dict[str, str]:
    """Return a stored message's headers as texts: the library gives out what is no ASCII as something else."""
    return {one_line(str(name)): one_line(str(value)) for name, value in (found.headers or {}).items()}


def _letter(found: RawStreamMsg) -> DeadLetter:
    headers = _headers_of(found)
    lowered = {name.lower(): value for name, value in headers.items()}
    return DeadLetter(
        letter_id=str(found.seq),
        reason=lowered.get(REASON_HEADER, "not said"),
        body=found.data or b"",
        headers=original_headers(headers),
    )
