"""Subscriptions over WebSocket that survive reconnections: heartbeats, back-off, re-subscription, gaps."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import count
from random import Random
from types import TracebackType
from typing import Any, Final, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from orchestrator.besu.codec.json_rpc import Answer, Call, Notification, decode_message, encode_request, result_of
from orchestrator.besu.errors import BesuError, ConnectionLostError, NodeTimeoutError, ProtocolError, UnauthorizedError
from orchestrator.besu.transport import subscriptions
from orchestrator.besu.transport.credential_use import has_others
from orchestrator.besu.transport.credentials import Credential
from orchestrator.besu.transport.subscriptions import Allowance, Inbox, Item, Subscriptions, Topic
from orchestrator.besu.transport.websocket_frames import BoundedConnection, ConnectHere, failure_of, is_unauthorized
from orchestrator.engine.runtime.isolation import contained
from orchestrator.outside_text import presentable

MAX_MESSAGE_BYTES: Final = 1 << 20
"""A head has about a kilobyte, a log as much as a transaction pays for."""

MAX_BYTES_PER_SECOND: Final = 2 << 20
"""More is left to the connection, which then fills and holds the node up: reading is work that nobody else can do."""

_OUTSIDE_ERRORS: Final = (OSError, ConnectionClosed, InvalidHandshake, InvalidURI, TimeoutError, BesuError)


class Subscription:
    """An endless asynchronous iterator over what one topic delivers.

    The first item is a ``Gap`` when the subscription becomes live; see ``GapReason`` for the others. When the node
    refuses the topic the iteration raises the node's ``RpcError``, and ends for good.
    """

    def __init__(self, socket: "NodeSocket", local_id: int, limit: int) -> None:
        self._socket = socket
        self._local_id = local_id
        self._inbox = Inbox(limit)
        self._arrived = asyncio.Event()
        self._refusal: BesuError | None = None
        self._closed = False

    @property
    def live(self) -> bool:
        """Whether the node delivers now; while it does not, poll."""
        return self._socket.is_live(self._local_id)

    def __aiter__(self) -> AsyncIterator[Item]:
        return self

    async def __anext__(self) -> Item:
        while True:
            item = self._inbox.take()
            if item is not None:
                return item
            if self._refusal is not None:
                refusal, self._refusal, self._closed = self._refusal, None, True
                raise refusal
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()

    async def close(self) -> None:
        """End the subscription, on the node too when it is connected; the iteration ends after what waits."""
        self._end()
        await self._socket.forget(self._local_id)

    def _deliver(self, item: Item) -> None:
        self._inbox.put(item)
        self._arrived.set()

    def _refuse(self, error: BesuError) -> None:
        self._refusal = error
        self._arrived.set()

    def _end(self) -> None:
        self._closed = True
        self._arrived.set()


class NodeSocket:
    """One node's subscriptions over one WebSocket connection, kept up for as long as the context lasts.

    Args:
        url: "ws://…" or "wss://…".
        random: spreads reconnections.
        credential: shown when connecting.
        tls: context for "wss"; None for the system's.
        inbox_items: items that wait for a slow reader, for each subscription, before they give way to a gap.
        answer_timeout_seconds: for connecting and for each answer to a subscribe call.
        heartbeat_seconds: time between pings; a ping that is not answered in as long ends the connection.
        first_delay_seconds, longest_delay_seconds: back-off of reconnections.
    """

    def __init__(
        self,
        url: str,
        *,
        random: Random,
        credential: Credential | None = None,
        tls: ssl.SSLContext | None = None,
        inbox_items: int = 1024,
        answer_timeout_seconds: float = 10.0,
        heartbeat_seconds: float = 10.0,
        first_delay_seconds: float = 0.2,
        longest_delay_seconds: float = 15.0,
    ) -> None:
        self.url = url
        self.connections = 0
        self.last_error: str | None = None
        self._random = random
        self._credential = credential
        self._shown: Mapping[str, str] = {}
        self._tls = tls
        self._inbox_items = inbox_items
        self._answer_timeout_seconds = answer_timeout_seconds
        self._heartbeat_seconds = heartbeat_seconds
        self._first_delay_seconds = first_delay_seconds
        self._longest_delay_seconds = longest_delay_seconds
        self._protocol = Subscriptions()
        self._readers: dict[int, Subscription] = {}
        self._pending: dict[int, asyncio.Future[Answer]] = {}
        self._ids = count(1)
        self._heard = False
        self._closing = False
        # Of the node, not of one connection: a new one does not begin anew.
        self._allowance = Allowance(MAX_BYTES_PER_SECOND, MAX_MESSAGE_BYTES)
        self._connection: ClientConnection | None = None
        self._wanted = asyncio.Event()
        self._connected = asyncio.Event()
        self._stack = AsyncExitStack()
        self._runner: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"NodeSocket({self.url!r})"

    async def __aenter__(self) -> Self:
        tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._runner = tasks.create_task(self._run(), name=f"socket {self.url}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closing = True
        if self._runner is not None:
            self._runner.cancel()
        for reader in self._readers.values():
            reader._end()  # noqa: SLF001 - the two classes are one unit
        # The body's own error goes on as it is instead of being wrapped into the task group's.
        await self._stack.__aexit__(None, None, None)

    @property
    def connected(self) -> bool:
        """Whether the connection is up."""
        return self._connected.is_set()

    async def wait_connected(self, timeout_seconds: float) -> bool:
        """Wait for the connection; return whether it is up in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._connected.wait()
        except TimeoutError:
            return False

    def subscribe_heads(self) -> Subscription:
        """Subscribe to new heads; connecting, and doing so again, happens by itself."""
        return self._subscribe(subscriptions.heads())

    def subscribe_private_logs(
        self, privacy_group_id: str, addresses: Sequence[str] = (), topics: Sequence[Any] = ()
    ) -> Subscription:
        """Subscribe to logs of contracts in a group.

        A member that is removed hears nothing more, and nothing says so (docs/besu.md#addresses-and-events).
        """
        return self._subscribe(subscriptions.private_logs(privacy_group_id, addresses, topics))

    def is_live(self, local_id: int) -> bool:
        """Whether the node delivers this subscription now."""
        return self._protocol.is_live(local_id)

    async def ask(self, call: Call) -> Any:
        """Return what the node answers to a call over this connection.

        Raises:
            RpcError: the node answers with an error.
            TransportError: there is no connection, it ended meanwhile, or no answer came in time.
        """
        connection = self._connection
        if connection is None:
            raise ConnectionLostError(f"{self.url} is not connected")
        try:
            return result_of(await self._ask(connection, call))
        except ConnectionClosed:
            raise ConnectionLostError(f"{self.url} ended the connection") from None
        except asyncio.CancelledError:
            if connection is self._connection:  # it is the caller that was cancelled
                raise
            raise ConnectionLostError(f"{self.url} ended the connection") from None

    async def forget(self, local_id: int) -> None:
        """Drop a subscription, on the node too when it is connected; use ``Subscription.close``."""
        self._readers.pop(local_id, None)
        call = self._protocol.remove(local_id)
        if call is None or self._connection is None:
            return
        try:
            async with asyncio.timeout(self._answer_timeout_seconds):
                await self._connection.send(encode_request(next(self._ids), call).decode())
        except _OUTSIDE_ERRORS as error:
            self.last_error = presentable(str(error))  # the connection is on its way out, and with it the subscription

    def _subscribe(self, topic: Topic) -> Subscription:
        local_id = self._protocol.add(topic)
        reader = Subscription(self, local_id, self._inbox_items)
        self._readers[local_id] = reader
        self._wanted.set()
        return reader

    async def _run(self) -> None:
        failures = 0
        while True:
            self._heard = False
            with contained("node socket", url=self.url) as serving:
                try:
                    self._shown = await self._credential.headers() if self._credential is not None else {}
                    async with self._open() as connection:
                        await self._serve(connection)
                except* _OUTSIDE_ERRORS as errors:
                    self.last_error = failure_of(errors)
                    if is_unauthorized(errors):
                        await has_others(self._credential, self._shown)
            if serving.error is not None:
                self.last_error = presentable(repr(serving.error))
            if self._closing:
                return  # before Python 3.13 a task group that fails in the same moment swallows the cancellation
            # A server that accepts and hangs up at once is no success.
            failures = 1 if self._heard else failures + 1
            await asyncio.sleep(
                subscriptions.reconnect_delay_seconds(
                    failures,
                    first=self._first_delay_seconds,
                    longest=self._longest_delay_seconds,
                    spread=self._random.random(),
                )
            )

    def _open(self) -> connect:
        return ConnectHere(
            self.url,
            create_connection=BoundedConnection,
            additional_headers=self._shown,
            ssl=self._tls,
            open_timeout=self._answer_timeout_seconds,
            close_timeout=1,
            ping_interval=self._heartbeat_seconds,
            ping_timeout=self._heartbeat_seconds,
            max_size=MAX_MESSAGE_BYTES,
            # A kilobyte may unpack to a megabyte, and all that was read at once is unpacked before anything is counted.
            compression=None,
            proxy=None,  # nodes are internal, and a proxy would see the token
        )

    async def _serve(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._connected.set()
        self.connections += 1
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._receive(connection))
                tasks.create_task(self._subscribe_wanted(connection))
        finally:
            if isinstance(connection, BoundedConnection) and connection.flooded:
                self._heard = False  # whatever else it said
            self._connected.clear()
            self._connection = None
            for future in self._pending.values():
                future.cancel()
            self._pending.clear()
            self._deliver(self._protocol.disconnected())

    async def _receive(self, connection: ClientConnection) -> None:
        loop = asyncio.get_running_loop()
        while True:
            text = await connection.recv()
            # Waits even for no time: messages that have arrived already would be read without a turn for anybody else.
            await asyncio.sleep(self._allowance.spend(len(text), loop.time()))
            message = decode_message(text)
            self._heard = True
            if isinstance(message, Notification):
                self._deliver(self._protocol.notified(message))
            elif message is not None and message.request_id is not None:
                future = self._pending.pop(message.request_id, None)
                if future is not None and not future.done():
                    future.set_result(message)

    async def _subscribe_wanted(self, connection: ClientConnection) -> None:
        while True:
            self._wanted.clear()
            for local_id, topic in self._protocol.to_subscribe():
                await self._subscribe_one(connection, local_id, topic)
            await self._wanted.wait()

    async def _subscribe_one(self, connection: ClientConnection, local_id: int, topic: Topic) -> None:
        answer = await self._ask(connection, topic.subscribe)
        if isinstance(answer.error, UnauthorizedError) and await has_others(self._credential, self._shown):
            # What was shown when connecting counts for all that is asked over the connection.
            raise ConnectionLostError(f"{self.url} does not take the credentials any more that were shown")
        if answer.error is not None:
            self._protocol.remove(local_id)
            reader = self._readers.pop(local_id, None)
            if reader is not None:
                reader._refuse(answer.error)  # noqa: SLF001 - the two classes are one unit
            return
        server_id = result_of(answer)
        if not isinstance(server_id, str):
            raise ProtocolError(f"{self.url} answered a subscription without an id")
        if local_id not in self._readers:  # closed while the node was answering
            await self._ask(connection, topic.unsubscribe(server_id))
            return
        self._deliver(self._protocol.subscribed(local_id, server_id))

    async def _ask(self, connection: ClientConnection, call: Call) -> Answer:
        request_id = next(self._ids)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending[request_id] = future
        try:
            async with asyncio.timeout(self._answer_timeout_seconds):
                await connection.send(encode_request(request_id, call).decode())
                return await future
        except TimeoutError as error:
            raise NodeTimeoutError(f"{self.url} did not answer {call.method}") from error
        finally:
            self._pending.pop(request_id, None)

    def _deliver(self, items: Sequence[tuple[int, Item]]) -> None:
        for local_id, item in items:
            reader = self._readers.get(local_id)
            if reader is not None:
                reader._deliver(item)  # noqa: SLF001 - the two classes are one unit
