"""Pulling messages from a durable JetStream consumer, one bounded request at a time.

Written against the server's pull protocol rather than the client library's ``fetch``, which holds the first message of
a batch back until the batch is full or its time is over.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from itertools import count
from typing import Final

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from orchestrator.broker.library_errors import LIBRARY_ERRORS, as_broker_errors
from orchestrator.broker.nats.link import QUEUE, Session
from orchestrator.engine.ports.queues import BrokerError

_EXPIRES_SECONDS: Final = 30
_HEARTBEAT_SECONDS: Final = 0.5
_LOST_AFTER_SECONDS: Final = 1.5
_MAX_BYTES: Final = 16 * 1024 * 1024
_NANO: Final = 1_000_000_000
_HEARTBEAT: Final = "100"
_NOTHING_MORE: Final = frozenset({"404", "408"})
_SERVED: Final = ("batch completed", "message size exceeds")


class InFlight:
    """Counts messages that were given out and are not settled; lets the puller wait for room.

    Attributes:
        limit: How many may be out.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._count = 0
        self._changed = asyncio.Event()

    @property
    def count(self) -> int:
        """How many are out."""
        return self._count

    def given(self) -> None:
        """Count one more."""
        self._count += 1

    def settled(self) -> None:
        """Count one less."""
        self._count -= 1
        self._changed.set()

    async def room(self) -> int:
        """Wait until a good part of the limit is free and return how much."""
        # Not for each free place: a request for one message costs the server as much as one for many.
        while self.limit - self._count < max(1, self.limit // 4):
            self._changed.clear()
            await self._changed.wait()
        return self.limit - self._count


async def pull(
    session: Session, stream: str, consumer: str, in_flight: InFlight, hears: Callable[[], None]
) -> AsyncGenerator[Msg, None]:
    """Yield messages while the connection lasts.

    Args:
        session: The connection.
        stream: Name of the stream.
        consumer: Name of the durable consumer.
        in_flight: Counts what was given out; the caller counts what is settled.
        hears: Called whenever the server answers, be it that there is nothing.

    Raises:
        BrokerError: The connection, the stream or the consumer was lost.
    """
    client = session.client
    arrived: asyncio.Queue[Msg] = asyncio.Queue(maxsize=in_flight.limit)
    inbox = client.new_inbox()
    with as_broker_errors(QUEUE, "subscribing"):
        subscription = await client.subscribe(f"{inbox}.*", cb=arrived.put)
    try:
        for number in count():
            wanted = await in_flight.room()
            # Each request has its own inbox: a late word about an earlier one must not end this one.
            await _ask(session, stream, consumer, f"{inbox}.{number}", wanted)
            while wanted:
                message = await _next(arrived)
                hears()
                status = _status_of(message)
                if status is None:
                    wanted -= 1
                    in_flight.given()
                    yield message
                # Of an earlier request: its messages are taken like all others, its status is over.
                elif status == _HEARTBEAT or message.subject != f"{inbox}.{number}":
                    continue
                elif _is_over(status, message):
                    break
                else:
                    said = (message.headers or {}).get("Description", "")
                    raise BrokerError(f"NATS: the consumer {consumer} answers {status} {said}".rstrip())
    finally:
        await _give_back(subscription, arrived)


async def _ask(session: Session, stream: str, consumer: str, inbox: str, batch: int) -> None:
    if not session.client.is_connected:
        raise BrokerError("NATS: the connection was lost")
    ask = {
        "batch": batch,
        # A message larger than this would never come: the server would answer its size instead, each time.
        "max_bytes": max(_MAX_BYTES, 2 * session.client.max_payload),
        "expires": _EXPIRES_SECONDS * _NANO,
        "idle_heartbeat": int(_HEARTBEAT_SECONDS * _NANO),
    }
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
    with as_broker_errors(QUEUE, "asking for messages"):
        await session.client.publish(subject, json.dumps(ask).encode(), inbox)


async def _next(arrived: asyncio.Queue[Msg]) -> Msg:
    try:
        return arrived.get_nowait()
    except asyncio.QueueEmpty:
        with as_broker_errors(QUEUE, "waiting for messages"):
            # Heartbeats come more often: silence means that connection or consumer are gone, which TCP tells much
            # later.
            async with asyncio.timeout(_LOST_AFTER_SECONDS):
                return await arrived.get()


def _status_of(message: Msg) -> str | None:
    # A status has no reply address: there is nothing to acknowledge.
    return None if message.reply or not message.headers else message.headers.get("Status")


def _is_over(status: str, message: Msg) -> bool:
    said = (message.headers or {}).get("Description", "").lower()
    return status in _NOTHING_MORE or said.startswith(_SERVED)


async def _give_back(subscription: Subscription, arrived: asyncio.Queue[Msg]) -> None:
    """Let others have at once what was delivered to us and not taken."""
    with suppress(*LIBRARY_ERRORS):
        await subscription.unsubscribe()
        while not arrived.empty():
            message = arrived.get_nowait()
            if message.reply:
                await message.nak()
