"""PostgreSQL: one way to connect for everything, whatever stands between, and only to a server that takes writes.

The address is the operator's: what it says (several hosts, ``options``, ``target_session_attrs``) goes to the driver as
it is, for the pools as for LISTEN, and so do the driver's environment variables (``PGOPTIONS``, ``PGSSLMODE``). The
limits of the sessions are set once they are open, because ``options`` is the operator's, and a pooler refuses it.
"""

import contextlib
import os
import socket
import threading
import weakref
from collections.abc import Iterator
from typing import Any, Final

import psycopg
import sqlalchemy as sa

from orchestrator.store.errors import StoreUnavailableError

CONNECT_SECONDS: Final = 5
STATEMENT_SECONDS: Final = 20
"""PostgreSQL ends a statement that runs longer."""
LOCK_SECONDS: Final = 5
"""How long the database waits for another process's lock."""
IDLE_SECONDS: Final = 3
"""PostgreSQL ends a connection that leaves a transaction alone for so long.

A replica that is stopped inside of one holds its locks, that of the outbox's positions among them, and every other
replica waits: less than `LOCK_SECONDS`, and much less than a lease.
"""
SESSIONS: Final = 6
"""What one replica has open at most."""

READ_ONLY: Final = "25006"
_OVER: Final = frozenset({READ_ONLY, "57P01", "57P02", "57P03", "26000", "42P05"})
"""After these a connection is thrown away, and its whole pool with it.

A connection to a standby never takes writes by itself, and the address may lead elsewhere by now; a session that does
not know its own prepared statements is not the one that it was.
"""

_LIMITS: Final = {
    "statement_timeout": STATEMENT_SECONDS * 1000,
    "lock_timeout": LOCK_SECONDS * 1000,
    "idle_in_transaction_session_timeout": IDLE_SECONDS * 1000,
}
_SET_LIMITS: Final = "SELECT " + ", ".join(f"set_config('{name}', '{value}', false)" for name, value in _LIMITS.items())
_LOOKS: Final = 3

TRANSACTION_POOLING: Final = (
    "store.url leads to a pooler that gives each transaction another session (pgbouncer: pool_mode = transaction); "
    "LISTEN, advisory locks and prepared statements need a session of their own: use pool_mode = session for this "
    "database, or PostgreSQL's own address"
)


def connect_arguments(url: sa.URL, *, writes: bool = False) -> dict[str, Any]:
    """Return what the driver is given to connect; what the address itself says goes before what is chosen here.

    Args:
        url: A normalised address.
        writes: Refuse a server whose sessions are read-only by default, too; a standby is refused in any case.
    """
    _, given = url.get_dialect()().create_connect_args(url)
    return {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "besu-membership-orchestrator",
        "target_session_attrs": "read-write" if writes else "primary",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": STATEMENT_SECONDS * 1000,
        **given,
    }


def postgresql_engine(url: sa.URL, connections: int, *, writes: bool) -> sa.Engine:
    """Return an engine on PostgreSQL.

    Args:
        url: A normalised address.
        connections: How many it may have open.
        writes: Whether it is for writing; else each statement stands by itself, which saves two of three.
    """
    arguments = connect_arguments(url, writes=writes)
    engine = sa.create_engine(
        url,
        creator=lambda: psycopg.connect(**arguments),
        # A transaction would give reads nothing here: each statement sees what is committed when it begins.
        isolation_level="READ COMMITTED" if writes else "AUTOCOMMIT",
        # A connection that broke while nobody used it costs nobody a failure.
        pool_pre_ping=True,
        pool_size=connections,
        max_overflow=0,
        pool_timeout=CONNECT_SECONDS,
    )
    opened: weakref.WeakSet[Any] = weakref.WeakSet()
    _opened[engine] = opened

    @sa.event.listens_for(engine, "connect")
    def _prepare(connection: psycopg.Connection, _record: object) -> None:
        opened.add(connection)
        connection.autocommit = True  # or a rollback would take the limits back
        connection.execute(_SET_LIMITS.encode())
        connection.autocommit = not writes

    @sa.event.listens_for(engine, "handle_error")
    def _throw_away(context: sa.engine.ExceptionContext) -> None:
        if getattr(context.original_exception, "sqlstate", None) in _OVER:
            context.is_disconnect = True

    return engine


_opened: weakref.WeakKeyDictionary[sa.Engine, weakref.WeakSet[Any]] = weakref.WeakKeyDictionary()


def cut_connections(engine: sa.Engine) -> None:
    """Shut the sockets of an engine's connections to PostgreSQL, so that whoever waits on one gets an error.

    The driver itself waits without end for a server that keeps its connections open and answers nothing.
    """
    for connection in list(_opened.get(engine, ())):
        _cut(connection)


def require_sessions(url: sa.URL) -> None:
    """Make sure that a connection keeps its session, before anything is set on one: a pooler would give it to others.

    A pooler makes up the process id that it gives a client; of two clients that it serves from one session, the second
    is told the id that the first one saw.

    Raises:
        StoreUnavailableError: It does not; the message says what to use.
        psycopg.Error: The server can't be reached.
    """
    arguments = connect_arguments(url)
    with _bounded(arguments) as first:
        seen = {_process(first)}
        # PostgreSQL itself: there is nobody between who could give the session to others.
        if first.info.backend_pid in seen:
            return
        try:
            with _bounded(arguments) as second:
                for _ in range(_LOOKS):
                    of_second = _process(second)
                    if of_second in seen or len(seen) > 1:
                        raise StoreUnavailableError(TRANSACTION_POOLING)
                    seen.add(_process(first))
        except psycopg.Error as error:
            raise StoreUnavailableError(
                f"the pooler that store.url leads to gives no second session ({str(error).strip()}): "
                f"each replica needs {SESSIONS} (pgbouncer: default_pool_size)"
            ) from error


@contextlib.contextmanager
def _bounded(arguments: dict[str, Any]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(**arguments, autocommit=True, prepare_threshold=None) as connection:
        # The driver's own time-out ends with the handshake; a pooler may take a client in and never give it a session.
        cutting = threading.Timer(CONNECT_SECONDS, _cut, [connection])
        cutting.daemon = True
        cutting.start()
        try:
            yield connection
        finally:
            cutting.cancel()


def _process(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT pg_backend_pid()").fetchone()
    return -1 if row is None else int(row[0])


def _cut(connection: psycopg.Connection) -> None:
    if not connection.closed:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as wire:
            wire.shutdown(socket.SHUT_RDWR)
