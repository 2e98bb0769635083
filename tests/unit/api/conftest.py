"""The API on a real port, over parts in memory."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.web import BaseRunner

from tests.fakes.http_api import FakeParts


class Server(TestServer):
    """Leaves handlers alone when their client goes, as the daemon's server does; the test server would cancel them."""

    async def _make_runner(self, **options: Any) -> BaseRunner:
        return await super()._make_runner(**{**options, "handler_cancellation": False})


@pytest.fixture
def parts() -> FakeParts:
    """What the API talks to."""
    return FakeParts()


@pytest.fixture
async def server(parts: FakeParts) -> AsyncIterator[TestServer]:
    """The API, listening."""
    listening = Server(parts.application())
    async with listening:
        yield listening


@pytest.fixture
async def client(server: TestServer) -> AsyncIterator[TestClient[Any, Any]]:
    """A client of the API."""
    async with TestClient(server) as connected:
        yield connected
