"""A client that opens connections and sends no request keeps none of them."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from orchestrator.api.web.connections import Connections, most_connections
from tests.fakes.http_api import FakeParts
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

    def now(self) -> float:
        return time.monotonic() + self.passed

    async def opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def get(self) -> bytes:
        reader, writer = await self.opened()
        writer.write(GET)
        answer = await asyncio.wait_for(reader.read(1000), 60)
        writer.close()
        return answer

    async def only(self, count: int) -> None:
        """Wait until the server has so many connections."""
        await eventually(lambda: self.connections.open == count)


@pytest.fixture
async def served(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Served]:
    runner = web.AppRunner(FakeParts().application(), access_log=None)
    await runner.setup()
    assert runner.server is not None
    connections = Connections(runner.server, most=4, header_seconds=HEADER_SECONDS, idle_seconds=IDLE_SECONDS)
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(connections, "127.0.0.1", 0)
    found = Served(connections, listening.sockets[0].getsockname()[1])
    monkeypatch.setattr(loop, "time", found.now)
    try:
        yield found
    finally:
        listening.close()
        await runner.cleanup()


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
