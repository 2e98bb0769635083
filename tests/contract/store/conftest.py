"""One store on each database, empty; the same tests hold for both."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from orchestrator.store import Database, SqlChangeStore, SqlHistoryStore, SqlOutbox, migrate
from tests.fakes.clock import JumpingClock
from tests.fakes.migrated_stores import migrated
from tests.servers.postgresql_server import PostgreSQLServer


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Address of an empty database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/store.db"
    url: str = request.getfixturevalue("postgresql_url")
    return url


@pytest.fixture(scope="session")
def postgresql_template() -> list[str]:
    """Name of the database that stores are copied from, once there is one."""
    return []


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path, postgresql_template: list[str]) -> Iterator[str]:
    """Address of an empty store, copied from one: sixteen steps of migration cost more than most tests."""
    if request.param == "sqlite":
        yield migrated(tmp_path / "store.db")
        return
    server: PostgreSQLServer = request.getfixturevalue("postgresql_server")
    if not postgresql_template:
        postgresql_template.append(server.create_database())
        migrate(server.url_of(postgresql_template[0]))
    name = server.create_database(postgresql_template[0])
    yield server.url_of(name)
    server.start()
    server.drop_database(name)


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
