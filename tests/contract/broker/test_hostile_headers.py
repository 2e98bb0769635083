"""Headers and properties that client libraries can't read: the message is taken without them, others go on."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import aio_pika
import pytest
from aiormq.abc import ChannelFrame
from pamqp import commands, frame

from orchestrator.broker.connection import connect
from orchestrator.broker.names import Names
from orchestrator.broker.port import Broker
from orchestrator.broker.rabbitmq.transport import readable
from tests.patience import patient

REQUESTS = Names().requests
NATS_HEADERS = (
    b"NATS/1.0 \xff\xff\xff\r\n\r\n",
    b"NATS/1.0 404 x\xff\xfe\r\na: b\r\n\r\n",
    b"NATS/1.0",
    b"N",
    b"NATS/1.0\r\n\xff\xfe: \xc3\x28\r\n\r\n",
)


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def long(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text


def nested(depth: int) -> bytes:
    value = b""
    for _ in range(depth):
        value = b"A" + long(value)
    return value


CONTENT_TYPE, HEADERS, MESSAGE_ID, TIMESTAMP = 1 << 15, 1 << 13, 1 << 7, 1 << 6
PROPERTIES = (
    (CONTENT_TYPE, short(b"\xff\xfe")),
    (HEADERS, long(short(b"\xff\xfe") + b"t\x01")),
    (HEADERS, long(short(b"a") + b"T" + struct.pack(">Q", 2**64 - 1))),
    (HEADERS, long(short(b"a") + nested(3000))),
    (MESSAGE_ID, short(b"\xed\xa0\x80")),
    (TIMESTAMP, struct.pack(">Q", 2**64 - 1)),
)


async def publish_to_nats(url: str, headers: bytes, body: bytes, subject: str = REQUESTS) -> None:
    """Publish with headers as they are, past any client library."""
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n')
    sizes = f"{len(headers)} {len(headers) + len(body)}".encode()
    writer.write(b"HPUB " + subject.encode() + b" " + sizes + b"\r\n" + headers + body + b"\r\nPING\r\n")
    assert await reader.readline() == b"PONG\r\n"
    writer.close()
    await writer.wait_closed()


@asynccontextmanager
async def publishing(url: str) -> AsyncIterator[aio_pika.abc.AbstractChannel]:
    async with await aio_pika.connect(url) as connection, connection.channel() as channel:
        yield channel


async def publish_to_rabbitmq(
    channel: aio_pika.abc.AbstractChannel, routing_key: bytes, flags: int, properties: bytes, body: bytes
) -> None:
    """Publish with properties as they are: the library's connection, and frames of our own."""
    underlay = await channel.get_underlay_channel()
    method = struct.pack(">HHH", 60, 40, 0) + short(b"") + short(routing_key) + b"\x00"
    content = struct.pack(">HHQH", 60, 0, len(body), flags) + properties
    frames = b"".join(
        struct.pack(">BHI", kind, underlay.number, len(payload)) + payload + b"\xce"
        for kind, payload in ((1, method), (2, content), (3, body))
    )
    sent = asyncio.get_running_loop().create_future()
    await underlay.connection.write_queue.put(ChannelFrame(payload=frames, should_close=False, drain_future=sent))
    await sent


async def buried_but_the_last(broker: Broker, number: int) -> None:
    """Take messages, bury those that are bad, and see that one good one comes behind them."""
    bad = 0
    async with asyncio.timeout(patient(30)):
        async for trigger in broker.triggers():
            if trigger.body == b"good":
                await trigger.acknowledge()
                break
            bad += 1
            await trigger.bury("its headers are none")
    assert bad == number
    assert [letter.body for letter in await broker.dead_letters()] == [b"bad"] * number


async def test_headers_that_are_none_stop_no_request_on_nats(nats_url: str, tmp_path: Path) -> None:
    """Each such message is given out, can be buried and listed, and the request behind them comes."""
    async with connect(nats_url, directory=tmp_path) as broker:
        await broker.check()
        for headers in NATS_HEADERS:
            await publish_to_nats(nats_url, headers, b"bad")
        await broker.request(b"good")
        await buried_but_the_last(broker, len(NATS_HEADERS))


async def test_dead_letters_with_such_headers_are_listed_and_replayed(nats_url: str, tmp_path: Path) -> None:
    """Whoever may write on the dead-letter subject can't keep it from being read: each letter is listed as text."""
    async with connect(nats_url, directory=tmp_path) as broker:
        await broker.check()
        reason = b"NATS/1.0\r\nOrchestrator-Reason: \xff\xfe\r\nce-id: \xed\xa0\x80\r\nx\xff: \xc3\x28\r\n\r\n"
        for headers in (*NATS_HEADERS, reason):
            await publish_to_nats(nats_url, headers, b"bad", subject=f"{REQUESTS}.dead")
        letters = await broker.dead_letters()
        assert [letter.body for letter in letters] == [b"bad"] * (len(NATS_HEADERS) + 1)
        json.dumps([[letter.reason, dict(letter.headers)] for letter in letters], ensure_ascii=False).encode()
        await broker.replay(letters[-1].letter_id)
        assert len(await broker.dead_letters()) == len(NATS_HEADERS)


async def test_properties_that_are_none_stop_no_request_on_rabbitmq(rabbitmq_url: str, tmp_path: Path) -> None:
    """Each such message is given out, can be buried and listed, and the request behind them comes."""
    async with connect(rabbitmq_url, directory=tmp_path) as broker:
        await broker.check()
        async with publishing(rabbitmq_url) as channel:
            for flags, properties in PROPERTIES:
                await publish_to_rabbitmq(channel, REQUESTS.encode(), flags, properties, b"bad")
        await broker.request(b"good")
        await buried_but_the_last(broker, len(PROPERTIES))


@pytest.mark.parametrize("tag", [1, 128, 2**63 - 1])
def test_names_that_are_none_are_made_readable(tag: int) -> None:
    """What a message came by, when it is no text, is replaced and nothing else; what can be read stays as it is."""
    for method in (b"\x00\x3c\x00\x3c" + short(b"ctag"), b"\x00\x3c\x00\x47"):
        beginning_of = method + struct.pack(">QB", tag, 0)
        end = struct.pack(">I", 7) if method.endswith(b"\x47") else b""
        for exchange, routing_key, expected in (
            (b"events", b"a.\xff\xfe", ("events", "a.??")),
            (b"\xff" * 200, b"", ("?" * 200, "")),
            (b"", b"plain", ("", "plain")),
        ):
            payload = beginning_of + short(exchange) + short(routing_key) + end
            beginning = struct.pack(">BHI", 1, 3, len(payload))
            made = readable(beginning, payload + b"\xce")
            assert len(made) == len(payload) + 1
            _, channel, found = frame.unmarshal(beginning + made)
            assert channel == 3
            assert isinstance(found, commands.Basic.Deliver | commands.Basic.GetOk)
            assert (found.exchange, found.routing_key, found.delivery_tag) == (*expected, tag)
