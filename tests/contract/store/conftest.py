"""One store on each database, empty; the same tests hold for both."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from orchestrator.store import Database, SqlChangeStore, SqlHistoryStore, SqlOutbox, migrate
from tests.fakes.clock import JumpingClock


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture
async def store_url(database_url: str) -> str:
    """Address of an empty store."""
    await asyncio.to_thread(migrate, database_url)
    return database_url


@pytest.fixture
async def database(store_url: str) -> AsyncIterator[Database]:
    async with Database(store_url) as opened:
        yield opened


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
def store(database: Database, clock: JumpingClock) -> SqlChangeStore:
    return SqlChangeStore(database, clock)


@pytest.fixture
def outbox(database: Database) -> SqlOutbox:
    return SqlOutbox(database)


@pytest.fixture
def histories(database: Database) -> SqlHistoryStore:
    return SqlHistoryStore(database)
