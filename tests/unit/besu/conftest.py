"""A small JSON-RPC server with scripted answers, over HTTP and over WebSocket."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, web
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

from orchestrator.besu.transport.http_client import open_session
from tests.fakes.scripted_rpc import ScriptedNode, ScriptedSocket
from tests.servers.local_application import served


@pytest.fixture
async def scripted() -> AsyncIterator[ScriptedNode]:
    """A JSON-RPC server on a free port."""
    node = ScriptedNode()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_post("/", node.handle)
    async with served(app) as url:
        node.url = f"{url}/"
        yield node


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    """An HTTP session as the program uses it."""
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def scripted_socket() -> AsyncIterator[ScriptedSocket]:
    """A WebSocket server on a free port."""
    socket = ScriptedSocket()

    def note(_: ServerConnection, request: Request) -> Response | None:
        socket.headers.append(dict(request.headers.raw_items()))
        return None

    async with serve(socket.handle, "127.0.0.1", 0, process_request=note) as server:
        socket.url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield socket
