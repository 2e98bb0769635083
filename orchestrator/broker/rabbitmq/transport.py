"""A connection to RabbitMQ that no message's properties can end.

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

_BEGINNING: Final = struct.Struct(">BHI")
"""A frame's type, channel and length; its payload and one byte follow."""
_METHOD: Final = 1
_PROPERTIES: Final = 2
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


class _Reader:
    """Reads frames as the library does: first a byte, then the rest of the beginning, then what follows it."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._beginning = b""

    def at_eof(self) -> bool:
        return self._reader.at_eof()

    async def read(self, n: int = -1) -> bytes:
        return await self._reader.read(n)

    async def readexactly(self, n: int) -> bytes:
        found = await self._reader.readexactly(n)
        if len(self._beginning) < _BEGINNING.size:
            self._beginning += found
            return found
        beginning, self._beginning = self._beginning, b""
        return readable(beginning, found)


class _SturdyTransport(TransportFactory):
    """Opens connections with such a reader."""

    async def create(self, url: URL, **kwargs: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        opening = TLSTransportFactory() if url.scheme == "amqps" else TCPTransportFactory()
        reader, writer = await opening.create(url, **kwargs)
        return cast("asyncio.StreamReader", _Reader(reader)), writer


class SturdyConnection(Connection):
    """Takes properties of messages that it can't read for none."""

    async def connect(self, timeout: float | None = None) -> None:
        """Connect; see the library."""
        self.kwargs["transport_factory"] = _SturdyTransport()
        await super().connect(timeout)
