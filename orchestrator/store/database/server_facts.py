"""What a database says of itself, for whoever sets the daemon up: version, clock, what stands between."""

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """Facts about the database behind a connection.

    Attributes:
        name: Product and version.
        ahead_seconds: How far its clock is ahead of ours; 0 for a file, which has ours.
        pooled: Whether a pooler stands between.
    """

    name: str
    ahead_seconds: float
    pooled: bool


_ASK = sa.text(
    "SELECT current_setting('server_version'), extract(epoch FROM clock_timestamp())::float8, pg_backend_pid()"
)


def server_facts(connection: sa.Connection, *, now: Callable[[], float]) -> ServerFacts:
    """Ask the database.

    Args:
        connection: A connection within a transaction.
        now: Our clock: seconds since 1970.
    """
    if connection.dialect.name != "postgresql":
        version = connection.execute(sa.text("SELECT sqlite_version()")).scalar_one()
        return ServerFacts(name=f"SQLite {version}", ahead_seconds=0.0, pooled=False)
    before = now()
    version, theirs, process = connection.execute(_ASK).one()
    ours = (before + now()) / 2
    seen = connection.connection.dbapi_connection
    pooled = seen is not None and seen.info.backend_pid != process
    return ServerFacts(name=f"PostgreSQL {version}", ahead_seconds=theirs - ours, pooled=pooled)
