"""Connections of the HTTP interface: a bounded number, and each must bring a whole request in time.

The library waits without end for the header of a connection's first request; a client that opens connections and sends
nothing, or one byte a minute, would keep them all. TLS handshakes are done here, too: where asyncio's server does them,
a connection is seen by nobody who could count it before its handshake is complete.
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Final

from aiohttp import web

from orchestrator.api.problems import Handler
from orchestrator.api.web.http_protocol import HttpProtocol

MAX_CONNECTIONS: Final = 512
_LEAST_CONNECTIONS: Final = 16
HEADER_SECONDS: Final = 10.0
"""What a connection's first header may take, with the TLS handshake before it."""

IDLE_SECONDS: Final = 75.0
"""How long a connection may be kept between two requests, the next one's header included."""


def most_connections(open_files: int) -> int:
    """Return how many connections may be open at a time in a process that may have so many files open.

    Half of them at most: what strangers open must leave files for nodes, the store and the message queue.
    """
    return max(_LEAST_CONNECTIONS, min(MAX_CONNECTIONS, open_files // 2))


class Connections:
    """The connections of one server; it is the factory of their protocols.

    Args:
        server: Whom the protocols that speak HTTP belong to.
        most: Connections at a time. For one beyond them the one that has waited longest for a request is closed, or it
            itself when all are being answered.
        header_seconds, idle_seconds: See `HEADER_SECONDS`, `IDLE_SECONDS`.
    """

    def __init__(
        self,
        server: web.Server,
        *,
        most: int = MAX_CONNECTIONS,
        header_seconds: float = HEADER_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self.refused = 0
        self.late = 0
        self._server = server
        self._most = most
        self._header_seconds = header_seconds
        self._idle_seconds = idle_seconds
        self._open: set[_Connection] = set()
        self._waiting: dict[_Connection, None] = {}

    @property
    def open(self) -> int:
        """How many there are now."""
        return len(self._open)

    def __call__(self, tls: ssl.SSLContext | None = None) -> asyncio.Protocol:
        """Return the protocol of a connection that was just accepted.

        Args:
            tls: What its TLS handshake needs; None for plain HTTP.
        """
        protocol = HttpProtocol(self._server, loop=asyncio.get_running_loop(), access_log=None)  # type: ignore[arg-type] # None is for none
        return _Connection(self, protocol, tls)

    def opened(self, connection: "_Connection") -> bool:
        """Note a connection; False when there is no place for it."""
        if len(self._open) >= self._most:
            self.refused += 1
            # Silent ones would keep out whoever asks whether the daemon lives, and have it restarted.
            longest = next(iter(self._waiting), None)
            if longest is None:
                return False
            longest.abort()
            self.closed(longest)
        self._open.add(connection)
        connection.wait(self._header_seconds)
        return True

    def answered(self, connection: "_Connection") -> None:
        """Note that a connection's request was answered, and that it may bring another."""
        if connection in self._open:
            connection.wait(self._idle_seconds)

    def closed(self, connection: "_Connection") -> None:
        """Note that a connection is closed."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)

    def waits(self, connection: "_Connection", *, now: bool) -> None:
        """Note whether a connection waits for a request now; those that have waited longest come first."""
        self._waiting.pop(connection, None)
        if now and connection in self._open:
            self._waiting[connection] = None


class _Connection(asyncio.Protocol):
    """Stands between a connection and the protocol that speaks HTTP on it."""

    def __init__(self, connections: Connections, inner: asyncio.Protocol, tls: ssl.SSLContext | None) -> None:
        self._connections = connections
        self._inner = inner
        self._tls = tls
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._handshake: asyncio.Task[None] | None = None
        self._early = b""
        self._speaks = False
        self._lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - TCP has no other
        self._transport = transport
        if not self._connections.opened(self):
            transport.abort()
        elif self._tls is None:
            self._begin(transport)
        else:
            transport.pause_reading()  # what comes first belongs to the handshake
            self._handshake = asyncio.get_running_loop().create_task(self._do_handshake(transport, self._tls))

    async def _do_handshake(self, transport: asyncio.Transport, tls: ssl.SSLContext) -> None:
        """Speak TLS from now on; `wait` ends it when it takes too long."""
        if transport.is_closing():
            return  # closed for a later one: a handshake that begins now would not be told that, and wait
        secured: asyncio.Transport | None = None
        with suppress(OSError):  # the client went, or speaks something else
            secured = await asyncio.get_running_loop().start_tls(transport, self, tls, server_side=True)
        # None, too, says that the client went.
        if secured is None:
            self.connection_lost(None)
        elif not self._lost:
            self._begin(secured)

    def _begin(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._speaks = True
        _connection_of[self._inner] = self
        self._inner.connection_made(transport)
        if self._early:
            self._inner.data_received(self._early)

    def data_received(self, data: bytes) -> None:
        if self._speaks:
            self._inner.data_received(data)
        else:
            # What came with the last of the handshake is given out before the handshake is said to be done.
            self._early += data

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._speaks else None

    def pause_writing(self) -> None:
        if self._speaks:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._speaks:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self.go_on()
        self._connections.closed(self)
        _connection_of.pop(self._inner, None)
        if self._speaks:
            self._speaks = False
            self._inner.connection_lost(exc)

    def wait(self, seconds: float) -> None:
        """Close the connection unless a whole header comes in so long."""
        self.go_on()
        self._connections.waits(self, now=True)
        self._timer = asyncio.get_running_loop().call_later(seconds, self._is_late)

    def go_on(self) -> None:
        """A whole header is here."""
        self._connections.waits(self, now=False)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def answered(self) -> None:
        """Wait for the next request."""
        self._connections.answered(self)

    def _is_late(self) -> None:
        self._connections.late += 1
        self.abort()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            # Closing would wait until the client has read what was written for it.
            self._transport.abort()


_connection_of: dict[asyncio.Protocol, _Connection] = {}
"""The open connections by the protocol that speaks HTTP on each, which is what a request knows."""


@web.middleware
async def connection_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Tell a request's connection that the header is here, and when it was answered."""
    connection = _connection_of.get(request.protocol)
    if connection is None:
        return await handler(request)
    connection.go_on()
    try:
        return await handler(request)
    finally:
        connection.answered()
