"""A connection to NATS that is made when first needed, and the streams on it."""

import asyncio
from dataclasses import dataclass
from typing import Final

import structlog
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError, NotFoundError

from orchestrator.broker.letters import HEADER_ROOM_BYTES
from orchestrator.broker.library_errors import as_broker_errors, close_quietly
from orchestrator.broker.names import Access, Limits, Names
from orchestrator.engine.ports import BrokerError

QUEUE: Final = "NATS"

_DUPLICATE_WINDOW_SECONDS: Final = 600.0
_LEAST_ACK_PENDING: Final = 1000
_RECONNECT_SECONDS: Final = 0.2
_CLOSE_SECONDS: Final = 2.0

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Session:
    """What is there while connected.

    Attributes:
        client: The connection.
        jetstream: Its JetStream.
        requests: Name of the stream of triggers.
        dead: Name of the stream of dead letters.
        ended: Set when the connection was lost: what was asked before is not answered any more.
    """

    client: Client
    jetstream: JetStreamContext
    requests: str
    dead: str
    ended: asyncio.Event


class NatsLink:
    """Connects, reconnects and sees to it that streams and consumer are there.

    Streams that exist already are used as they are: whoever runs the servers may have made them with other limits.
    """

    def __init__(self, url: str, names: Names, limits: Limits, access: Access) -> None:
        self._url = url
        self._names = names
        self._limits = limits
        self._access = access
        self._lock = asyncio.Lock()
        self._settled = asyncio.Event()  # either connected or closed, not in between
        self._client: Client | None = None
        self._session: Session | None = None

    async def session(self) -> Session:
        """Return the present session; connects and prepares first when there is none.

        Raises:
            BrokerError: NATS does not answer, refuses us, or has no JetStream.
        """
        async with self._lock:
            if self._session is not None and self._session.client.is_connected:
                return self._session
            with as_broker_errors(QUEUE, "connecting"):
                client = await self._connected()
            try:
                with as_broker_errors(QUEUE, "preparing streams"):
                    self._session = await self._prepare(client)
            except BrokerError:
                # A connection that is up and brings no answers may never bring any again: the next try makes another.
                await self._drop(client)
                raise
            return self._session

    def forget(self) -> None:
        """Have streams and consumer looked for again before the next use."""
        self._session = None

    async def suspect(self, session: Session) -> None:
        """Make a new connection before the next use: this one is up, and brings no answers."""
        async with self._lock:
            if self._session is session:
                await self._drop(session.client)

    async def _drop(self, client: Client) -> None:
        self._end_session()
        if self._client is client:
            self._client = None
        await _close(client)

    def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.ended.set()

    async def stream(self, session: Session, subject: str, config: StreamConfig) -> str:
        """Return the name of the stream of a subject that only some use; it is made first when there is none.

        Raises:
            BrokerError: NATS does not answer, or refuses it.
        """
        with as_broker_errors(QUEUE, f"preparing the stream of {subject}"):
            return await self._stream(session.jetstream, subject, config)

    async def close(self) -> None:
        """Close the connection."""
        client, self._client, self._session = self._client, None, None
        if client is not None:
            await _close(client)

    async def _connected(self) -> Client:
        if self._client is not None and not self._client.is_closed:
            async with asyncio.timeout(self._limits.call_seconds):
                while not self._client.is_connected and not self._client.is_closed:
                    self._settled.clear()
                    await self._settled.wait()
            if self._client.is_connected:
                return self._client
        client = Client()
        try:
            async with asyncio.timeout(self._limits.connect_seconds):
                await self._connect(client)
        except BaseException:
            await _close(client)
            raise
        self._client = client
        self._settled.set()
        return client

    async def _connect(self, client: Client) -> None:
        await client.connect(
            servers=self._url.split(","),
            name=self._names.consumer,
            tls=self._access.tls_context() if self._access.names_certificates else None,
            token=self._access.token,
            user=self._access.user,
            password=self._access.password,
            user_credentials=_text_or_none(self._access.credentials_file),
            connect_timeout=self._limits.connect_seconds,  # type: ignore[arg-type] # it only waits for so long
            allow_reconnect=False,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_RECONNECT_SECONDS,  # type: ignore[arg-type] # it only sleeps for so long
            ping_interval=5,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
        )
        # The first attempt tells what is wrong (a password, a certificate) instead of trying for ever.
        client.options["allow_reconnect"] = True

    async def _prepare(self, client: Client) -> Session:
        jetstream = client.jetstream(timeout=self._limits.call_seconds)
        names = self._names
        requests = await self._stream(
            jetstream,
            names.requests,
            StreamConfig(
                retention=RetentionPolicy.WORK_QUEUE,
                # A dead letter is the message and two headers: what is taken must fit when it is buried.
                max_msg_size=client.max_payload - HEADER_ROOM_BYTES,
            ),
        )
        dead = await self._stream(jetstream, names.dead, StreamConfig())
        await self._stream(
            jetstream, f"{names.events}.>", StreamConfig(max_age=self._limits.keep_events.total_seconds())
        )
        await self._consumer(jetstream, requests)
        return Session(client, jetstream, requests, dead, asyncio.Event())

    async def _stream(self, jetstream: JetStreamContext, subject: str, config: StreamConfig) -> str:
        try:
            return await jetstream.find_stream_name_by_subject(subject)
        except NotFoundError:
            name = subject.removesuffix(".>").replace(".", "-")
            made = await jetstream.add_stream(
                config.evolve(
                    name=name,
                    subjects=[subject],
                    storage=StorageType.FILE,
                    num_replicas=self._limits.replicas,
                    duplicate_window=_DUPLICATE_WINDOW_SECONDS,
                )
            )
            return made.config.name or name

    async def _consumer(self, jetstream: JetStreamContext, stream: str) -> None:
        config = ConsumerConfig(
            durable_name=self._names.consumer,
            filter_subject=self._names.requests,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._limits.ack_wait.total_seconds(),
            max_ack_pending=max(_LEAST_ACK_PENDING, self._limits.in_flight),
            max_deliver=-1,
        )
        try:
            await jetstream.add_consumer(stream, config)
        except BadRequestError:
            # It exists with settings that can't be changed: it is good enough if it consumes our subject.
            known = await jetstream.consumer_info(stream, self._names.consumer)
            if known.config.filter_subject not in (None, "", self._names.requests):
                raise

    async def _on_error(self, error: Exception) -> None:
        _log.debug("NATS", error=str(error) or type(error).__name__)

    async def _on_closed(self) -> None:
        self._settled.set()

    async def _on_disconnected(self) -> None:
        self._settled.clear()
        self._end_session()
        _log.warning("message queue is away, reconnecting", queue="NATS")

    async def _on_reconnected(self) -> None:
        self._settled.set()
        self.forget()
        _log.info("message queue is back", queue="NATS")


async def _close(client: Client) -> None:
    await close_quietly(asyncio.create_task(client.close()), _CLOSE_SECONDS)


def _text_or_none(path: object) -> str | None:
    return None if path is None else str(path)
