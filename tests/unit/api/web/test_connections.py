"""A client that opens connections and sends no request keeps none of them."""

import asyncio
import gc
import socket
import ssl
import time
from asyncio.sslproto import SSLProtocol
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from orchestrator.api.web.connections import Connections, most_connections
from tests.fakes.http_api import FakeParts
from tests.servers.tls_front import Certificates
from tests.unit.api.resources.test_stream import eventually

HEADER_SECONDS = 20.0
IDLE_SECONDS = 40.0
GET = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Served:
    """The API behind a guard of its connections, on a loop whose time the test moves on."""

    def __init__(self, connections: Connections, port: int) -> None:
        self.connections = connections
        self.port = port
        self.passed = 0.0
        self.trust: ssl.SSLContext | None = None

    def now(self) -> float:
        return time.monotonic() + self.passed

    async def opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def get(self) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=self.trust)
        writer.write(GET)
        answer = await asyncio.wait_for(reader.read(1000), 60)
        writer.close()
        return answer

    async def only(self, count: int) -> None:
        """Wait until the server has so many connections."""
        await eventually(lambda: self.connections.open == count)


@asynccontextmanager
async def serving(monkeypatch: pytest.MonkeyPatch, tls: ssl.SSLContext | None = None) -> AsyncIterator[Served]:
    runner = web.AppRunner(FakeParts().application(), access_log=None)
    await runner.setup()
    assert runner.server is not None
    connections = Connections(runner.server, most=4, header_seconds=HEADER_SECONDS, idle_seconds=IDLE_SECONDS)
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(partial(connections, tls), "127.0.0.1", 0)
    found = Served(connections, listening.sockets[0].getsockname()[1])
    monkeypatch.setattr(loop, "time", found.now)
    try:
        yield found
    finally:
        listening.close()
        await runner.cleanup()


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    async with serving(monkeypatch) as found:
        yield found


@pytest.fixture
async def encrypted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[Served]:
    """The same over TLS."""
    certificates = Certificates(tmp_path / "tls")
    async with serving(monkeypatch, certificates.server_context(asks=False)) as found:
        found.trust = ssl.create_default_context(cafile=str(certificates.folder / "ca.pem"))
        yield found


async def closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await asyncio.wait_for(reader.read(), 60) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nHost: 127"])
async def test_a_connection_without_a_whole_header_is_closed(served: Served, sent: bytes) -> None:
    """Who sends nothing, or half of a header, is disconnected after the time for it; others are served meanwhile."""
    reader, writer = await served.opened()
    writer.write(sent)
    assert b"200 OK" in await served.get()
    await served.only(1)
    served.passed += HEADER_SECONDS
    assert await closed(reader)
    assert served.connections.late == 1
    writer.close()


async def test_connections_have_a_bound(served: Served) -> None:
    """Beyond the bound the one that has waited longest is closed: silent ones keep nobody out who asks something."""
    silent = [await served.opened() for _ in range(4)]
    await served.only(4)
    assert b"200 OK" in await served.get()
    assert await closed(silent[0][0])
    assert served.connections.refused == 1
    assert served.connections.open <= 4
    served.passed += HEADER_SECONDS
    for one, _ in silent[1:]:
        assert await closed(one)
    for _, stream in silent:
        stream.close()


async def test_connections_without_a_handshake_have_the_bound(encrypted: Served) -> None:
    """Those that begin no TLS handshake count like others, keep nobody out, and are closed after a header's time."""
    silent = [await encrypted.opened() for _ in range(4)]
    await encrypted.only(4)
    assert b"200 OK" in await encrypted.get()
    assert await closed(silent[0][0])
    await encrypted.only(3)
    encrypted.passed += HEADER_SECONDS
    for one, _ in silent[1:]:
        assert await closed(one)
    assert (encrypted.connections.open, encrypted.connections.late) == (0, 3)
    for _, stream in silent:
        stream.close()


@pytest.mark.parametrize("sent", [GET, b"\x16\x03\x01", b""])
async def test_a_handshake_that_fails_is_a_connection_less(encrypted: Served, sent: bytes) -> None:
    """Who speaks no TLS, or goes in the middle of the handshake, has no place any more, and the next one is served."""
    _, writer = await encrypted.opened()
    await encrypted.only(1)
    writer.write(sent)
    writer.close()
    await encrypted.only(0)
    assert b"200 OK" in await encrypted.get()


async def test_handshakes_of_a_flood_end_with_their_connections(encrypted: Served) -> None:
    """Of many connections that come at once, those that are closed for later ones leave no handshake behind."""

    def handshakes() -> int:
        gc.collect()
        return sum(isinstance(found, SSLProtocol) for found in gc.get_objects())

    before = handshakes()
    # Without a turn of the event loop, so that it accepts all of them in one.
    flood = [socket.create_connection(("127.0.0.1", encrypted.port)) for _ in range(20)]
    await eventually(lambda: encrypted.connections.refused == 16)
    await eventually(lambda: handshakes() == before + 4)
    for one in flood:
        one.close()
    await encrypted.only(0)


async def test_a_request_right_behind_the_handshake_is_answered(encrypted: Served) -> None:
    """What a client sends in one piece with the end of its handshake is not lost."""
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    assert encrypted.trust is not None
    client = encrypted.trust.wrap_bio(coming, going, server_hostname="127.0.0.1")
    reader, writer = await encrypted.opened()
    while True:
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            writer.write(going.read())
            coming.write(await asyncio.wait_for(reader.read(1 << 16), 60))
        else:
            break
    client.write(GET)
    writer.write(going.read())
    answer = b""
    while b"ok\n" not in answer:
        coming.write(await asyncio.wait_for(reader.read(1 << 16), 60))
        try:
            answer += client.read()
        except ssl.SSLWantReadError:
            continue
    assert b"200 OK" in answer
    writer.close()


async def test_connections_that_are_answered_are_kept(served: Served) -> None:
    """When each connection of the bound is being answered, the one beyond them is closed."""
    streams = [await served.opened() for _ in range(4)]
    for reader, writer in streams:
        writer.write(b"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
    reader, writer = await served.opened()
    assert await closed(reader)
    assert (served.connections.refused, served.connections.open) == (1, 4)
    for _, stream in [*streams, (reader, writer)]:
        stream.close()


@pytest.mark.parametrize(("files", "most"), [(64, 32), (20, 16), (1024, 512), (1 << 20, 512)])
def test_connections_leave_files_to_others(files: int, most: int) -> None:
    """Connections take half of the files that the process may have open, and no more than there are of them at all."""
    assert most_connections(files) == most


async def test_a_kept_connection_serves_several_requests(served: Served) -> None:
    """A connection that brings its next request in time is kept, and closed when it brings none."""
    reader, writer = await served.opened()
    for _ in range(3):
        writer.write(GET)
        assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"ok\n"), 60)
    served.passed += HEADER_SECONDS  # which is for the first request only
    writer.write(GET)
    assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"ok\n"), 60)
    served.passed += IDLE_SECONDS
    assert await closed(reader)
    assert served.connections.late == 1
    writer.close()
