"""Addresses of databases, connections that are set up for this store, and the library's errors as the store's own."""

import contextlib
import os
import socket
import sqlite3
import time
import weakref
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from orchestrator.store.errors import ConstraintError, StoreUnavailableError

READERS = 2
"""Threads for reading, each with a connection."""
LOCK_SECONDS = 5
"""How long the database waits for another process's lock."""
WRITE_AHEAD_PAUSE_SECONDS = 0.02
CONNECT_SECONDS = 5
STATEMENT_SECONDS = 20
"""PostgreSQL ends a statement that runs longer."""
IDLE_SECONDS = 3
"""PostgreSQL ends a connection that leaves a transaction alone for so long.

A replica that is stopped inside of one holds its locks, that of the outbox's positions among them, and every other
replica waits: less than `LOCK_SECONDS`, and much less than a lease.
"""


def normalised(url: str) -> sa.URL:
    """Return the address of a database with the driver that is used for it.

    Args:
        url: ``sqlite:///path``, ``sqlite://`` (in memory) or ``postgresql://user@host/name``.

    Raises:
        ValueError: It is neither.
    """
    parsed = sa.make_url(url)
    match parsed.get_backend_name():
        case "sqlite":
            return parsed.set(drivername="sqlite+pysqlite")
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise ValueError(f"store.url names {other!r}: use sqlite:///file.db or postgresql://user@host/name")


def is_in_memory(url: sa.URL) -> bool:
    """Return whether an address names a database that lives in one connection."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


FOREIGN_ERRORS = (SQLAlchemyError, OverflowError, UnicodeError)
"""What the library and the drivers raise; the last two are drivers' answers to values that no column holds."""


def translated(error: Exception) -> StoreUnavailableError | ConstraintError:
    """Return the store's own error for one of the library's or a driver's."""
    what = str(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error).strip()
    if isinstance(error, IntegrityError | DataError | OverflowError | UnicodeError):
        return ConstraintError(f"the database refused what would break an invariant ({what}); this is a defect")
    return StoreUnavailableError(f"the database could not do it ({what}); it is tried again")


def engine_for(url: sa.URL, *, read_only: bool = False) -> sa.Engine:
    """Return an engine whose connections are set up for this store.

    Args:
        url: A normalised address.
        read_only: For readers: SQLite refuses writes, and their transactions take no write lock.
    """
    if url.get_backend_name() == "postgresql":
        return _postgresql_engine(url)
    engine = sa.create_engine(
        url,
        connect_args={"check_same_thread": False, "timeout": LOCK_SECONDS},
        **({"poolclass": StaticPool} if is_in_memory(url) else {"pool_size": READERS, "max_overflow": 0}),
    )

    if not is_in_memory(url):

        @sa.event.listens_for(engine, "do_connect")
        def _make_private(*_: object) -> None:
            # Others may read what a looser umask lets them; the files beside it get the database's mode.
            with contextlib.suppress(OSError):
                os.close(os.open(str(url.database), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # this module begins transactions itself, at the right strength
        _write_ahead(connection)
        for pragma in (
            "synchronous = FULL",  # what was acknowledged survives a power cut
            "foreign_keys = ON",
            *(("query_only = ON",) if read_only else ()),
        ):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work side by side, which is kept in the file from then on.

    Of several processes that open a new file at once SQLite lets one do it and answers the others "locked" at once,
    whatever their time-out: to wait for each other could go on for ever.
    """
    give_up_at = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
            time.sleep(WRITE_AHEAD_PAUSE_SECONDS)
        else:
            return


def _postgresql_engine(url: sa.URL) -> sa.Engine:
    settings = {
        "statement_timeout": STATEMENT_SECONDS * 1000,
        "lock_timeout": LOCK_SECONDS * 1000,
        "idle_in_transaction_session_timeout": IDLE_SECONDS * 1000,
    }
    engine = sa.create_engine(
        url,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        pool_size=READERS,
        max_overflow=0,
        pool_timeout=CONNECT_SECONDS,
        connect_args={
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "besu-membership-orchestrator",
            "options": " ".join(f"-c {name}={value}" for name, value in settings.items()),
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": STATEMENT_SECONDS * 1000,
        },
    )
    opened: weakref.WeakSet[Any] = weakref.WeakSet()
    _opened[engine] = opened
    sa.event.listen(engine, "connect", lambda connection, _: opened.add(connection))
    return engine


_opened: weakref.WeakKeyDictionary[sa.Engine, weakref.WeakSet[Any]] = weakref.WeakKeyDictionary()


def cut_connections(engine: sa.Engine) -> None:
    """Shut the sockets of an engine's connections to PostgreSQL, so that whoever waits on one gets an error.

    The driver itself waits without end for a server that keeps its connections open and answers nothing.
    """
    for connection in list(_opened.get(engine, ())):
        if not connection.closed:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as wire:
                wire.shutdown(socket.SHUT_RDWR)
