"""Addresses of databases, connections that are set up for this store, and the library's errors as the store's own."""

import contextlib
import os
import sqlite3
import time
from typing import Any
from urllib.parse import urlsplit

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from orchestrator.store.database.postgresql import READ_ONLY, TRANSACTION_POOLING, postgresql_engine
from orchestrator.store.errors import ConstraintError, StoreLockedError, StoreUnavailableError

READERS = 2
"""Threads for reading, each with a connection."""
BUSY_SECONDS = 2.0
"""How long another program's lock on an SQLite file is waited for: less than a look at the readiness may take, so that
it names the lock."""
WRITE_AHEAD_PAUSE_SECONDS = 0.02


def normalised(url: str) -> sa.URL:
    """Return the address of a database with the driver that is used for it.

    Args:
        url: ``sqlite:///path``, ``sqlite://`` (in memory) or ``postgresql://user@host/name``; several hosts as libpq
            has them (``postgresql://user@first:5432,second:5432/name``), or by ``host`` in the query.

    Raises:
        ValueError: It is neither.
    """
    parsed = _with_hosts(url)
    match parsed.get_backend_name():
        case "sqlite":
            return parsed.set(drivername="sqlite+pysqlite")
        case "postgresql" | "postgres":
            return parsed.set(drivername="postgresql+psycopg")
        case other:
            raise ValueError(f"store.url names {other!r}: use sqlite:///file.db or postgresql://user@host/name")


def _with_hosts(url: str) -> sa.URL:
    """Return an address whose several hosts, which SQLAlchemy does not take there, are put into its query."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return sa.make_url(url)
    alone = sa.make_url(parts._replace(netloc=f"{user}{at}").geturl())
    return alone.update_query_dict({"host": [host if ":" in host else f"{host}:5432" for host in hosts.split(",")]})


def is_in_memory(url: sa.URL) -> bool:
    """Return whether an address names a database that lives in one connection."""
    return url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:")


FOREIGN_ERRORS = (SQLAlchemyError, OverflowError, UnicodeError)
"""What the library and the drivers raise; the last two are drivers' answers to values that no column holds."""


def translated(error: Exception, url: sa.URL | None = None) -> StoreUnavailableError | ConstraintError:
    """Return the store's own error for one of the library's or a driver's.

    Args:
        error: What was raised.
        url: The database's address, for the message.
    """
    if isinstance(error, StoreUnavailableError):
        return error
    original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    what = str(original).strip()
    # No fault of the database's: the same work would fail again, and is not tried again.
    if isinstance(error, IntegrityError | DataError | OverflowError | UnicodeError):
        return ConstraintError(f"the database refused what would break an invariant ({what}); this is a defect")
    if isinstance(original, sqlite3.OperationalError) and _primary_code(original) in _LOCKED:
        return StoreLockedError(
            f"another program holds {'the database' if url is None else url.database} locked ({what}): close what has "
            "it open for writing (a database browser, a copying or backup program); work goes on when it lets go"
        )
    if hint := _remedy(original, what, url):
        return StoreUnavailableError(f"the database could not do it ({what}): {hint}")
    return StoreUnavailableError(f"the database could not do it ({what})")


_LOCKED = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})


def _primary_code(error: sqlite3.Error) -> int:
    """Return SQLite's result code without what it says in its higher bytes; 0 for an error of Python's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _remedy(original: BaseException, what: str, url: sa.URL | None) -> str:
    """Return what to do about it, where that is known; empty otherwise."""
    if isinstance(original, sqlite3.DatabaseError) and url is not None:
        if "readonly" in what or "unable to open" in what:
            return f"let the daemon's user write {url.database} and its folder, or correct store.url"
        if "is not a database" in what:
            return f"{url.database} is damaged, or another file; restore a backup, or correct store.url"
        if "malformed" in what:
            return f"{url.database} is damaged; stop the daemon and restore a backup"
        return f"in {url.database}"
    if getattr(original, "sqlstate", None) == READ_ONLY or "session is read-only" in what or "hot standby" in what:
        return "store.url must lead to the primary, with sessions that may write"
    if "prepared statement" in what:
        return TRANSACTION_POOLING
    if "unsupported startup parameter" in what:
        return "a pooler refuses what store.url asks for by options; set it for the role: ALTER ROLE … SET …"
    return ""


def engine_for(url: sa.URL, *, read_only: bool = False) -> sa.Engine:
    """Return an engine whose connections are set up for this store.

    Args:
        url: A normalised address.
        read_only: For readers: SQLite refuses writes, and their transactions take no write lock.
    """
    if url.get_backend_name() == "postgresql":
        return postgresql_engine(url, READERS, writes=not read_only)
    engine = sa.create_engine(
        url,
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
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
        connection.text_factory = _text
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
        # A transaction that reads first and writes later would be refused as "locked" at its first write, without a
        # wait, when another one wrote in between: writers take their turn at the beginning.
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def _text(stored: bytes) -> str:
    """Return a text of an SQLite file, which keeps whatever bytes it was given.

    The driver would fail the whole query for one that is no text, also what it says of other rows.
    """
    try:
        return stored.decode()
    except UnicodeDecodeError:
        return "\N{REPLACEMENT CHARACTER}"  # no JSON, and no name of anything


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Let readers and a writer work side by side, which is kept in the file from then on.

    Of several processes that open a new file at once SQLite lets one do it and answers the others "locked" at once,
    whatever their time-out: to wait for each other could go on for ever.
    """
    give_up_at = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if _primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
            time.sleep(WRITE_AHEAD_PAUSE_SECONDS)
        else:
            return
