"""A connection to NATS that is made when first needed, and the streams on it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import NotFoundError

from orchestrator.broker.letters import HEADER_ROOM_BYTES
from orchestrator.broker.library_errors import as_broker_errors, close_quietly, reason_of
from orchestrator.broker.names import Access, Limits, Names
from orchestrator.broker.nats.client import SturdyClient
from orchestrator.broker.nats.credentials import Credentials
from orchestrator.engine.ports.queues import BrokerError
from orchestrator.membership.news.status import EventType
from orchestrator.outside_text import presentable

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
    Those of status events are looked for when they are needed: trouble with them stops no request.
    """

    def __init__(self, url: str, names: Names, limits: Limits, access: Access) -> None:
        self._url = url
        self._names = names
        self._limits = limits
        self._access = access
        self._lock = asyncio.Lock()
        self._events_lock = asyncio.Lock()
        self._settled = asyncio.Event()  # either connected or closed, not in between
        self._client: Client | None = None
        self._session: Session | None = None
        self._events_in: Session | None = None
        self._events_tried_by: Client | None = None
        self._refusal = ""
        self._refusals = 0

    async def session(self) -> Session:
        """Return the present session; connects and prepares first when there is none.

        Raises:
            BrokerError: NATS does not answer, refuses us, or has no JetStream.
        """
        async with self._lock:
            # Each reconnection is a new session: streams may be gone, and pulled messages were lost with the
            # connection.
            if self._session is not None and self._session.client.is_connected:
                return self._session
            with self.explained("connecting"):
                client = await self._connected()
            try:
                with self.explained("preparing streams"):
                    self._session = session = await self._prepare(client)
            except BrokerError:
                # A connection that is up and brings no answers may never bring any again: the next try makes another.
                await self._drop(client)
                raise
        if self._events_tried_by is not client:
            # Subscribers look for the stream before the first event; what is wrong with it is told where events go out.
            self._events_tried_by = client
            with suppress(BrokerError):
                await self.prepare_events(session)
        return session

    @contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        """Raise `BrokerError` for what the library raises, with what the server refused meanwhile.

        To a request that the user has no right to make the server gives no answer, only a word beside it.
        """
        before = self._refusals
        try:
            with as_broker_errors(QUEUE, doing):
                yield
        except BrokerError as error:
            # Only what was refused meanwhile: an older refusal may have been of something else.
            if self._refusals > before and error.passing:
                raise BrokerError(f"{error}; the server said: {self._refusal}") from error
            raise

    async def prepare_events(self, session: Session) -> None:
        """Have a stream of status events made when no type of them has one; looked for once for each connection.

        Raises:
            BrokerError: NATS does not answer, or refuses it.
        """
        async with self._events_lock:
            if self._events_in is not session:
                await self._lacking(session)
                self._events_in = session

    async def check_events(self, session: Session) -> None:
        """Make sure that streams take all types of status events.

        Raises:
            BrokerError: NATS does not answer, or no stream has some subjects; the message names one of them.
        """
        lacking = await self._lacking(session)
        if lacking:
            raise BrokerError(
                f"{QUEUE}: {len(lacking)} of {len(EventType)} types of status events have no stream, such as "
                f"{lacking[0]}: have {self._names.events}.> added to the subjects of their stream"
            )

    async def _lacking(self, session: Session) -> list[str]:
        """Return the subjects of status events that no stream has; one is made when none has any."""
        subjects = [self._names.event_subject(kind.value) for kind in EventType]
        with self.explained("looking for the stream of status events"):
            lacking = [subject for subject in subjects if await self._stream_of(session.jetstream, subject) is None]
            # Where some types have a stream an administrator made it; a second one with all subjects would be refused
            # as overlapping.
            if len(lacking) < len(subjects):
                return lacking
            everything = f"{self._names.events}.>"
            config = StreamConfig(max_age=self._limits.keep_events.total_seconds())
            await self._stream(session.jetstream, everything, config)
        return []

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
        with self.explained(f"preparing the stream of {subject}"):
            return await self._stream(session.jetstream, subject, config)

    async def close(self) -> None:
        """Close the connection."""
        client, self._client, self._session = self._client, None, None
        if client is not None:
            await _close(client)

    async def _connected(self) -> Client:
        if self._client is not None and not self._client.is_closed:
            async with asyncio.timeout(self._limits.call_seconds):
                # The library reconnects by itself: another connection beside it would pull the same requests.
                while not self._client.is_connected and not self._client.is_closed:
                    self._settled.clear()
                    await self._settled.wait()
            if self._client.is_connected:
                return self._client
        client = SturdyClient()
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
        path = self._access.credentials_file
        credentials = None if path is None else Credentials(path)
        seed = None if credentials is None else credentials.bare_seed()
        with_jwt = credentials if seed is None else None
        await client.connect(
            servers=self._url.split(","),
            name=self._names.consumer,
            tls=self._access.tls_context() if self._access.names_certificates else None,
            token=self._access.token,
            user=self._access.user,
            password=self._access.password,
            user_jwt_cb=None if with_jwt is None else with_jwt.jwt,
            signature_cb=None if with_jwt is None else with_jwt.signature,
            nkeys_seed_str=seed,
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
        requests = await self._inlet(client, jetstream, names.requests)
        dead = await self._stream(jetstream, names.dead, StreamConfig())
        return Session(client, jetstream, requests, dead, asyncio.Event())

    async def inlet(self, session: Session, subject: str) -> str:
        """Return the name of the stream of a subject where triggers come in; stream and consumer are made when missing.

        Raises:
            BrokerError: NATS does not answer, or refuses it.
        """
        with self.explained(f"preparing the stream of {subject}"):
            return await self._inlet(session.client, session.jetstream, subject)

    async def _inlet(self, client: Client, jetstream: JetStreamContext, subject: str) -> str:
        stream = await self._stream(
            jetstream,
            subject,
            StreamConfig(
                # An acknowledged request is gone: a stream that kept it would give it to the next consumer of another
                # name.
                retention=RetentionPolicy.WORK_QUEUE,
                # A dead letter is the message and two headers: what is taken must fit when it is buried.
                max_msg_size=client.max_payload - HEADER_ROOM_BYTES,
            ),
        )
        await self._consumer(jetstream, stream, subject)
        return stream

    async def _stream(self, jetstream: JetStreamContext, subject: str, config: StreamConfig) -> str:
        known = await self._stream_of(jetstream, subject)
        if known is not None:
            return known
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

    async def _stream_of(self, jetstream: JetStreamContext, subject: str) -> str | None:
        try:
            return await jetstream.find_stream_name_by_subject(subject)
        except NotFoundError:
            return None

    async def _consumer(self, jetstream: JetStreamContext, stream: str, subject: str) -> None:
        durable = self._names.consumer_of(subject)
        config = ConsumerConfig(
            durable_name=durable,
            filter_subject=subject,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._limits.ack_wait.total_seconds(),
            # Of all replicas together: with one replica's limit the others would get nothing.
            max_ack_pending=max(_LEAST_ACK_PENDING, self._limits.in_flight),
            # Never given up by the server: it would drop a request that nobody has buried. `Intake` counts and buries.
            max_deliver=-1,
        )
        try:
            known = (await jetstream.consumer_info(stream, durable)).config
        except NotFoundError:
            await jetstream.add_consumer(stream, config)
            return
        if known.filter_subject not in (None, "", subject):
            raise BrokerError(
                f"{QUEUE}: the consumer {durable} is there for {known.filter_subject}, not for "
                f"{subject}: delete it, or give another name in broker.names"
            )
        if (known.ack_wait, known.max_ack_pending) != (config.ack_wait, config.max_ack_pending):
            try:
                await jetstream.add_consumer(stream, config)
            except (NatsError, TimeoutError) as error:
                # Made by an administrator, whose settings are good enough.
                _log.info("the consumer is used as it is", consumer=durable, reason=reason_of(error))

    async def _on_error(self, error: Exception) -> None:
        said = presentable(str(error)) or type(error).__name__
        # Other words beside the answers pass; this one explains why an answer does not come.
        if "permissions violation" in said.lower():
            self._refusal = said
            self._refusals += 1
        _log.debug("NATS", error=said)

    async def _on_closed(self) -> None:
        self._settled.set()

    async def _on_disconnected(self) -> None:
        self._settled.clear()
        self._end_session()
        if self._client is not None:  # else it is we who close it
            _log.warning("message queue is away, reconnecting", queue="NATS")

    async def _on_reconnected(self) -> None:
        self._settled.set()
        self.forget()
        _log.info("message queue is back", queue="NATS")


async def _close(client: Client) -> None:
    await close_quietly(asyncio.create_task(client.close()), _CLOSE_SECONDS)
