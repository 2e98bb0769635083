"""The API on a real port, over parts in memory."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from orchestrator.api import make_api
from tests.fakes.http_api import FakeParts


@pytest.fixture
def parts() -> FakeParts:
    """What the API talks to."""
    return FakeParts()


@pytest.fixture
async def server(parts: FakeParts) -> AsyncIterator[TestServer]:
    """The API, listening."""
    listening = TestServer(make_api(parts.services()))
    async with listening:
        yield listening


@pytest.fixture
async def client(server: TestServer) -> AsyncIterator[TestClient[Any, Any]]:
    """A client of the API."""
    async with TestClient(server) as connected:
        yield connected
