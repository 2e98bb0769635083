"""The daemon's stores: made for a test, and seen from outside while the daemon runs and dies."""

import asyncio
import shutil
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from psycopg import sql

from orchestrator.store.commits.schema_version import migrate
from orchestrator.store.database.connections import normalised
from tests.servers.postgresql_server import PostgreSQLServer

RESTING = ("succeeded", "failed", "cancelled", "parked")


class Stores:
    """Makes empty stores, copies of one that was migrated.

    Args:
        directory: For SQLite's files.
        postgresql: The server to make databases on; None for SQLite.
    """

    def __init__(self, directory: Path, postgresql: PostgreSQLServer | None) -> None:
        self._directory = directory
        self._postgresql = postgresql
        self._one_copy = asyncio.Lock()
        self._template = f"template_{uuid.uuid4().hex[:8]}"
        if postgresql is not None:
            self._execute("CREATE DATABASE {}", self._template)
        migrate(self._url_of(self._template))

    @asynccontextmanager
    async def store(self, name: str) -> AsyncIterator[str]:
        """Yield the address of a new store."""
        if self._postgresql is None:
            shutil.copy(self._directory / f"{self._template}.db", self._directory / f"{name}.db")
            yield self._url_of(name)
            return
        async with self._one_copy:  # a template must not be in use
            await asyncio.to_thread(self._execute, "CREATE DATABASE {} TEMPLATE {}", name, self._template)
        yield self._url_of(name)
        await asyncio.to_thread(self._execute, "DROP DATABASE {} WITH (FORCE)", name)

    def close(self) -> None:
        """Drop what the stores were copied from."""
        if self._postgresql is not None:
            self._execute("DROP DATABASE {} WITH (FORCE)", self._template)

    def _url_of(self, name: str) -> str:
        if self._postgresql is None:
            return f"sqlite:///{self._directory / name}.db"
        return self._postgresql.url_of(name)

    def _execute(self, statement: str, *names: str) -> None:
        assert self._postgresql is not None
        with psycopg.connect(self._postgresql.url, autocommit=True, connect_timeout=10) as connection:
            connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


class WatchedStore:
    """The store as seen from outside."""

    def __init__(self, url: str) -> None:
        self._engine = sa.create_engine(normalised(url))

    def __enter__(self) -> "WatchedStore":
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def is_over(self) -> bool:
        """Whether the change rests and every status event is published."""
        over = "SELECT state, (SELECT count(*) FROM outbox WHERE published_at IS NULL) FROM changes"
        return any(row[0] in RESTING and row[1] == 0 for row in self._rows(over))

    def state(self) -> str:
        """The change's state."""
        return ",".join(str(row[0]) for row in self._rows("SELECT state FROM changes"))

    def reason(self) -> str:
        """Why the change is not done, as JSON."""
        return ",".join(str(row[0]) for row in self._rows("SELECT reason FROM changes WHERE reason IS NOT NULL"))

    def undecided(self) -> tuple[str, ...]:
        """What was signed and is neither mined nor burnt: its marker might still be mined."""
        undecided = "SELECT action FROM attempts WHERE status IN ('signed', 'sent')"
        return tuple(str(row[0]) for row in self._rows(undecided))

    def sequences(self) -> tuple[int, ...]:
        """The sequences of the group's status events, in order of their positions."""
        return tuple(int(row[0]) for row in self._rows("SELECT sequence FROM outbox ORDER BY position"))

    def _rows(self, statement: str) -> list[Any]:
        with self._engine.connect() as connection:
            return list(connection.execute(sa.text(statement)))
