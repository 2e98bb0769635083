"""A connection to RabbitMQ that no message's properties can end, and whose messages have room in memory.

What describes a message (its properties, and the names of the exchange and the routing key that it came by) is written
by whoever published it, and the server passes it on unread. The client library ends the connection when it can't read
it; the server then delivers the same message again on the next one, before everything behind it.
"""

import asyncio
import struct
from typing import Any, Final, cast

import structlog
from aio_pika import Connection
from aiormq import TransportFactory
from aiormq.connection import TCPTransportFactory, TLSTransportFactory
from pamqp import frame
from yarl import URL

from orchestrator.broker.names import MOST_BODY_BYTES

_BEGINNING: Final = struct.Struct(">BHI")
"""A frame's type, channel and length; its payload and one byte follow."""
_METHOD: Final = 1
_PROPERTIES: Final = 2
_BODY: Final = 3
_HEARTBEAT: Final = 8
_KINDS: Final = (_METHOD, _PROPERTIES, _BODY, _HEARTBEAT)
_BODY_SIZE: Final = struct.Struct(">Q")
_BEFORE_SIZE: Final = 4
_BEFORE_FLAGS: Final = 12
"""Bytes of the class, the weight and the body's size; then come the flags that say which properties there are."""
_NO_PROPERTIES: Final = b"\x00\x00"
_DELIVER: Final = b"\x00\x3c\x00\x3c"
_GET_OK: Final = b"\x00\x3c\x00\x47"
_TAG_AND_REDELIVERED: Final = 9

MOST_PROPERTY_BYTES: Final = 12 << 10
"""Properties of all sorts of senders have some hundred; a frame of them (128 KiB) may hold a hundred thousand values,
and takes half a second to be read."""

_log = structlog.get_logger(__name__)


def readable(beginning: bytes, rest: bytes) -> bytes:
    """Return what follows a frame's beginning so that the library can read it, of the same length.

    Args:
        beginning: Its type, channel and length.
        rest: Its payload and the byte that ends it.
    """
    kind = beginning[0]
    # Bodies are not looked at: the library does not read them either.
    if kind not in (_METHOD, _PROPERTIES):
        return rest
    if kind == _PROPERTIES and len(rest) > MOST_PROPERTY_BYTES:
        most = f"{len(rest)} bytes, at most {MOST_PROPERTY_BYTES} are read"
        _log.warning("properties of a message can't be read, it is taken without them", reason=most)
        return _without_properties(rest)
    try:
        frame.unmarshal(beginning + rest)
    except Exception as error:  # noqa: BLE001 - whatever it is, the connection goes on
        changed = _without_properties(rest) if kind == _PROPERTIES else _with_plain_names(rest)
        if changed != rest:
            _log.warning("properties of a message can't be read, it is taken without them", reason=repr(error))
        return changed
    return rest


def _without_properties(rest: bytes) -> bytes:
    return rest[:_BEFORE_FLAGS] + _NO_PROPERTIES + rest[_BEFORE_FLAGS + len(_NO_PROPERTIES) :]


def _with_plain_names(rest: bytes) -> bytes:
    """Replace what is no ASCII in the names of exchange and routing key of a message that is handed out."""
    method, place = rest[:4], 4
    if method == _DELIVER:
        place += 1 + rest[place]  # the consumer's tag, which is ours
    elif method != _GET_OK:
        return rest
    place += _TAG_AND_REDELIVERED
    end = place
    for _ in range(2):
        end += 1 + rest[end]
    # Of the same length, as the frame's beginning says: nothing may be taken out.
    names = bytearray(rest[place:end])
    after_exchange = 1 + names[0]
    for position, value in enumerate(names):
        if value >= 0x80 and position not in (0, after_exchange):
            names[position] = ord("?")
    return rest[:place] + bytes(names) + rest[end:]


class FrameReader:
    """Gives the library the frames of a connection as it can read them, and of each message's body no more than a part.

    Args:
        reader: What comes from the server.
    """

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._frame = b""
        self._strange = False
        self._left: dict[int, int] = {}

    def at_eof(self) -> bool:
        """Return whether nothing more comes."""
        return self._reader.at_eof()

    async def read(self, n: int = -1) -> bytes:
        """Read what there is; the library does so for its message when what came is no frame."""
        return await self._reader.read(n)

    async def readexactly(self, n: int) -> bytes:
        """Read bytes of the next frame: the library asks for one, for the rest of the beginning, for what follows it.

        Raises:
            asyncio.IncompleteReadError: The connection ended before.
        """
        if not self._frame and not self._strange:
            first = await self._reader.readexactly(1)
            self._strange = first[0] not in _KINDS
            self._frame = first if self._strange else await self._next(first)
        if not self._frame:
            return await self._reader.readexactly(n)
        found, self._frame = self._frame[:n], self._frame[n:]
        return found

    async def _next(self, first: bytes) -> bytes:
        while True:
            beginning = first + await self._reader.readexactly(_BEGINNING.size - 1)
            rest = await self._reader.readexactly(_BEGINNING.unpack(beginning)[2] + 1)
            if found := self._bounded(beginning, readable(beginning, rest)):
                return found
            first = await self._reader.readexactly(1)

    def _bounded(self, beginning: bytes, rest: bytes) -> bytes:
        """Return a frame; of a body that is too large only what may be read, and empty bytes for what is beyond it."""
        kind, channel, length = _BEGINNING.unpack(beginning)
        if kind == _PROPERTIES:
            self._left.pop(channel, None)
            (size,) = _BODY_SIZE.unpack_from(rest, _BEFORE_SIZE)
            if size > MOST_BODY_BYTES:
                _log.warning("a message is too large, the rest is left", bytes=size, most=MOST_BODY_BYTES)
                self._left[channel] = MOST_BODY_BYTES
                rest = rest[:_BEFORE_SIZE] + _BODY_SIZE.pack(MOST_BODY_BYTES) + rest[_BEFORE_FLAGS:]
        elif kind == _BODY and channel in self._left:
            kept = min(self._left[channel], length)
            self._left[channel] -= kept
            return _BEGINNING.pack(kind, channel, kept) + rest[:kept] + rest[-1:] if kept else b""
        return beginning + rest


class _SturdyTransport(TransportFactory):
    """Opens connections with such a reader."""

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        opening = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        reader, writer = await opening.create(url, **kwargs)
        return cast("asyncio.StreamReader", FrameReader(reader)), writer


class SturdyConnection(Connection):
    """Takes properties of messages that it can't read for none."""

    async def connect(self, timeout: float | None = None) -> None:
        """Connect; see the library."""
        self.kwargs["transport_factory"] = _SturdyTransport()
        await super().connect(timeout)
