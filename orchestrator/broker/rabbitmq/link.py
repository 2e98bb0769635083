"""A connection to RabbitMQ that is made when first needed, and the queues on it."""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import aio_pika
from aio_pika.abc import AbstractConnection, ExchangeType, FieldValue
from aio_pika.exceptions import ChannelNotFoundEntity, ChannelPreconditionFailed
from aiormq.exceptions import ChannelAccessRefused
from yarl import URL

from orchestrator.broker.library_errors import as_broker_errors, close_quietly
from orchestrator.broker.names import Access, Limits, Names
from orchestrator.broker.rabbitmq.publish_channel import Publishing
from orchestrator.broker.rabbitmq.transport import SturdyConnection
from orchestrator.engine.ports.queues import BrokerError

QUEUE: Final = "RabbitMQ"

_CLOSE_SECONDS: Final = 2.0
_HEARTBEAT_SECONDS: Final = 10
_MANY_DELIVERIES: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Session:
    """What is there while connected.

    Attributes:
        connection: The connection.
        publishing: Gives the channel to publish on.
    """

    connection: AbstractConnection
    publishing: Publishing

    @property
    def alive(self) -> bool:
        """Whether it can still be used; a connection that was lost is not `is_closed` to the library."""
        return self.connection.connected.is_set()


class RabbitMQLink:
    """Connects, and sees to it that queues and exchange are there.

    What exists already is used as it is: whoever runs the servers may have declared it with other arguments, for a user
    who may declare nothing. The exchange of events is looked for when it is needed: trouble with it stops no request.
    """

    def __init__(self, url: str, names: Names, limits: Limits, access: Access) -> None:
        self._addresses = deque(_address(one, access) for one in url.split(","))
        self._names = names
        self._limits = limits
        self._access = access
        self._lock = asyncio.Lock()
        self._events_lock = asyncio.Lock()
        self._queues_lock = asyncio.Lock()
        self._session: Session | None = None
        self._events_in: Session | None = None
        self._queues_in: Session | None = None

    async def session(self) -> Session:
        """Return the present session; connects and declares first when there is none.

        Raises:
            BrokerError: RabbitMQ does not answer, or refuses us.
        """
        async with self._lock:
            if self._session is not None and self._session.alive:
                return self._session
            await self._drop()
            connection = await self._connected()
            try:
                await self._declare(connection)
                self._session = self._queues_in = Session(connection, Publishing(connection))
            except BaseException:
                self._addresses.rotate(-1)  # this server may be one that has lost the others of its cluster
                await _close(connection)
                raise
            # Subscribers look for it before the first event; what is wrong with it is told where events go out.
            with suppress(BrokerError):
                await self.look_for_events(self._session)
            return self._session

    async def _connected(self) -> AbstractConnection:
        """Connect to the server that was connected to last, else to the next of the cluster that answers."""
        # Once around: the pause between two rounds is the caller's.
        for left in reversed(range(len(self._addresses))):
            try:
                return await self._connect(self._addresses[0])
            except BrokerError:
                self._addresses.rotate(-1)
                if not left:
                    raise
        raise AssertionError("an address has at least one server")

    async def _connect(self, address: URL) -> AbstractConnection:
        with as_broker_errors(QUEUE, "connecting"):
            async with asyncio.timeout(self._limits.connect_seconds):
                return await aio_pika.connect(
                    address,
                    timeout=self._limits.connect_seconds,
                    ssl_context=self._access.tls_context() if address.scheme == "amqps" else None,
                    client_properties={"connection_name": self._names.consumer},
                    connection_class=SturdyConnection,
                )

    async def prepare_events(self, session: Session) -> None:
        """Have the topic exchange of status events declared when there is none; looked for once for each connection.

        Raises:
            BrokerError: RabbitMQ does not answer, there is none and we may not declare it, or it has another type.
        """
        async with self._events_lock:
            if self._events_in is not session:
                await self.look_for_events(session)
                self._events_in = session

    async def prepare_queues(self, session: Session) -> None:
        """Have the queues declared that are gone; looked for once for each connection, and after `forget_queues`.

        Raises:
            BrokerError: RabbitMQ does not answer, or one is not there and we may not declare it.
        """
        async with self._queues_lock:
            if self._queues_in is not session:
                await self._declare(session.connection)
                self._queues_in = session

    def forget_queues(self) -> None:
        """Have the queues looked for again before the next use: one may have been deleted while we are connected."""
        self._queues_in = None

    def forget_events(self) -> None:
        """Have the exchange of status events looked for again before the next use."""
        self._events_in = None

    async def look_for_events(self, session: Session) -> None:
        """Make sure that the exchange of status events is there, whatever was seen before.

        Raises:
            BrokerError: As `prepare_events` does.
        """
        with as_broker_errors(QUEUE, f"looking for the exchange {self._names.events}"):
            async with asyncio.timeout(self._limits.call_seconds):
                await declare_exchange(session.connection, self._names.events, ExchangeType.TOPIC)

    async def close(self) -> None:
        """Close the connection."""
        async with self._lock:
            await self._drop()

    async def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await _close(session.connection)

    async def _declare(self, connection: AbstractConnection) -> None:
        with as_broker_errors(QUEUE, "declaring queues"):
            async with asyncio.timeout(self._limits.call_seconds):
                await self._declare_each(connection)

    async def _declare_each(self, connection: AbstractConnection) -> None:
        # Looking at a dead letter is a delivery, and RabbitMQ 4 drops a message after 20 if nobody says otherwise.
        await self._queue(connection, self._names.dead, {"x-delivery-limit": _MANY_DELIVERIES})
        # A message that was returned very often is dead-lettered rather than dropped, which is RabbitMQ 4's default.
        # The strategy "at-least-once" would be safer still, but its supervisor does not come back in RabbitMQ 3.10 once
        # it has failed, and then the whole queue fails.
        never_dropped: dict[str, FieldValue] = {
            "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": self._names.dead,
            "x-delivery-limit": _MANY_DELIVERIES,
        }
        for inlet in self._names.inlets:
            await self._queue(connection, inlet, never_dropped)

    async def _queue(self, connection: AbstractConnection, name: str, arguments: dict[str, FieldValue]) -> None:
        # Looked for first: a user without the right to configure may use what others declared. What RabbitMQ refuses
        # closes the channel, so each question has its own.
        with suppress(ChannelNotFoundEntity):
            async with connection.channel() as channel:
                await channel.declare_queue(name, passive=True)
                return
        try:
            async with connection.channel() as channel:
                await channel.declare_queue(name, durable=True, arguments={"x-queue-type": "quorum", **arguments})
        except ChannelAccessRefused as error:
            raise BrokerError(_MISSING.format(what=f"queue {name}", said=error)) from error


def _address(url: str, access: Access) -> URL:
    address = URL(url)
    if address.user is None and access.user is not None:
        address = address.with_user(access.user).with_password(access.password)
    return address if "heartbeat" in address.query else address.update_query(heartbeat=_HEARTBEAT_SECONDS)


async def declare_exchange(connection: AbstractConnection, name: str, kind: ExchangeType) -> None:
    """See to it that an exchange is there and is of the type that is needed, as far as we may know.

    Raises:
        BrokerError: It is not there and we may not declare it, or it has another type.
    """
    there = True
    try:
        async with connection.channel() as channel:
            await channel.declare_exchange(name, kind, passive=True)
    except ChannelNotFoundEntity:
        there = False
    try:
        # Also of one that is there: only a declaration tells its type, and it is refused where the type is another.
        async with connection.channel() as channel:
            await channel.declare_exchange(name, kind, durable=True)
    except ChannelAccessRefused as error:
        if not there:
            raise BrokerError(_MISSING.format(what=f"{kind} exchange {name}", said=error)) from error
    except ChannelPreconditionFailed as error:
        # Other arguments may differ: only of another type would it route differently.
        if "'type'" in str(error):
            raise BrokerError(
                f"{QUEUE}: the exchange {name} is not of the type {kind.value} ({error}): delete it, or give another "
                "name in broker.names"
            ) from error


_MISSING: Final = (
    QUEUE + ": the {what} is not there, and this user may not declare it ({said}): grant the right to configure it, or "
    "have it declared (docs/servers.md)"
)


async def _close(connection: AbstractConnection) -> None:
    await close_quietly(asyncio.create_task(_closed(connection)), _CLOSE_SECONDS)


async def _closed(connection: AbstractConnection) -> None:
    await connection.close()
