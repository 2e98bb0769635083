"""What comes from RabbitMQ's server, and what the client library gets of it."""

import asyncio
from collections.abc import Iterable

import pytest
from pamqp import base, body, commands, frame, header, heartbeat

from orchestrator.broker.names import MOST_BODY_BYTES
from orchestrator.broker.rabbitmq.transport import FrameReader

PIECE = 131_064
"""What RabbitMQ puts into one frame of a body."""


def message(channel: int, content: bytes) -> list[bytes]:
    """Return the frames in which a message is handed out."""
    handed_out = commands.Basic.Deliver("tag", 1, False, "", "requests")
    described = header.ContentHeader(body_size=len(content), properties=commands.Basic.Properties(message_id="m"))
    pieces = [content[start : start + PIECE] for start in range(0, len(content), PIECE)]
    said: list[base.Frame | header.ContentHeader | body.ContentBody] = [
        handed_out,
        described,
        *map(body.ContentBody, pieces),
    ]
    return [frame.marshal(one, channel) for one in said]


async def read(sent: Iterable[bytes]) -> list[tuple[int, object]]:
    """Read frames as the library does, until there are no more."""
    reader = asyncio.StreamReader()
    for one in sent:
        reader.feed_data(one)
    reader.feed_eof()
    frames = FrameReader(reader)
    found: list[tuple[int, object]] = []
    while not frames.at_eof():
        beginning = await frames.readexactly(1)
        beginning += await frames.readexactly(6)
        length = int.from_bytes(beginning[3:])
        _, channel, unpacked = frame.unmarshal(beginning + await frames.readexactly(length + 1))
        found.append((channel, unpacked))
    return found


def body_of(found: Iterable[tuple[int, object]], channel: int) -> bytes:
    return b"".join(one.value for at, one in found if at == channel and isinstance(one, body.ContentBody))


@pytest.mark.parametrize("beyond", [1, PIECE, 3 * MOST_BODY_BYTES])
async def test_of_a_message_that_is_too_large_a_part_is_read(beyond: int) -> None:
    """The rest is left, whatever else comes between its frames, and the next message is whole."""
    large = bytes(range(256)) * ((MOST_BODY_BYTES + beyond) // 256 + 1)
    large = large[: MOST_BODY_BYTES + beyond]
    first, other = message(1, large), message(2, b"other" * 60_000)
    between = [frame.marshal(heartbeat.Heartbeat(), 0), *other]
    found = await read([*first[:4], *between, *first[4:], *message(1, b"next")])
    sizes = [one.body_size for _, one in found if isinstance(one, header.ContentHeader)]
    assert sizes == [MOST_BODY_BYTES, 300_000, 4]
    assert body_of(found, 1) == large[:MOST_BODY_BYTES] + b"next"
    assert body_of(found, 2) == b"other" * 60_000


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, MOST_BODY_BYTES])
async def test_what_is_not_too_large_is_read_as_it_came(size: int) -> None:
    """Frame by frame, byte by byte."""
    sent = message(7, b"x" * size)
    found = await read(sent)
    assert [frame.marshal(one, channel) for channel, one in found] == sent  # type: ignore[arg-type] # frames as the client gave them out


async def test_what_is_no_frame_is_given_on() -> None:
    """The library says what is wrong when something else answers there."""
    reader = asyncio.StreamReader()
    reader.feed_data(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    reader.feed_eof()
    frames = FrameReader(reader)
    assert (
        await frames.readexactly(1) + await frames.readexactly(6) + await frames.read()
        == b"HTTP/1.1 400 Bad Request\r\n\r\n"
    )
