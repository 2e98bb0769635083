"""Bringing a store's tables to the revision of this program, and telling when they are at another one."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import SystemRandom

import psycopg
import sqlalchemy as sa
import structlog
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from orchestrator.engine.ports.clock import Clock
from orchestrator.store.commits.probe import check_writable, file_of
from orchestrator.store.database.connections import engine_for, normalised, translated
from orchestrator.store.database.postgresql import require_sessions
from orchestrator.store.errors import SchemaVersionError
from orchestrator.store.schema import oldest_program

_MIGRATION_LOCK = 0x6D656D63
"""Key of the advisory lock that lets one process migrate a PostgreSQL store at a time."""
_MIGRATION_MINUTES = 60
_TABLE_MILLISECONDS = 1000
"""How long a table in use is waited for: whoever comes later waits behind the migration, which waits for the user."""
_TRIES = 600
_LOOK_SECONDS = 1.0
_IN_USE = frozenset({"55P03", "40P01"})
"""A lock that was not to be had in time, or by a deadlock."""
_VERSION = sa.text("SELECT version_num FROM alembic_version")

log = structlog.get_logger()


def _pause() -> None:
    time.sleep(SystemRandom().uniform(0.25, 0.75))


def required_version() -> str:
    """Return the revision of the tables that this program works with."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise SchemaVersionError("this installation lacks its migrations; install the package again")
    return head


def schema_version(url: str) -> str | None:
    """Return the revision of a store's tables; None when it has none yet.

    Raises:
        StoreUnavailableError: It can't be reached.
    """
    address = normalised(url)
    engine = engine_for(address)
    try:
        _require_sessions(address)
        with engine.connect() as connection:
            return _version(connection)
    except (SQLAlchemyError, psycopg.Error) as error:
        raise translated(error, address) from error
    finally:
        engine.dispose()


def migrate(url: str, pause: Callable[[], None] = _pause) -> str:
    """Make or alter a store's tables up to the revision of this program; returns the revision that they have then.

    Several processes may do it at the same time: one does, the others find it done. On PostgreSQL replicas may be at
    work: a table that they use is waited for a moment only, since whoever comes later waits behind, and then tried for
    again. A store of a newer program that says that this one can work with it is left as it is.

    Args:
        url: The store's address.
        pause: Waits between two tries.

    Raises:
        SchemaVersionError: The store was made by a newer program, and this one can't work with it.
        StoreUnavailableError: It can't be reached, or a table was in use all the time.
    """
    address = normalised(url)
    check_writable(file_of(address))
    engine = engine_for(address)
    try:
        _require_sessions(address)
        for _ in range(_TRIES):
            try:
                with engine.begin() as connection:
                    migrate_on(connection)
                    return str(_version(connection))
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in _IN_USE:
                    raise
                in_use = error
            pause()
        raise in_use
    except (SQLAlchemyError, psycopg.Error) as error:
        raise translated(error, address) from error
    finally:
        engine.dispose()


def migrate_on(connection: sa.Connection) -> None:
    """Do the same on a connection within a transaction.

    Raises:
        SchemaVersionError: The store was made by a newer program, and this one can't work with it.
    """
    postgresql = connection.dialect.name == "postgresql"
    if postgresql:
        # For this transaction alone: the session goes back with the limits of all others.
        for limit in ("statement_timeout", "lock_timeout"):  # a big table takes longer than a unit of work may
            connection.execute(sa.text(f"SET LOCAL {limit} = '{_MIGRATION_MINUTES}min'"))
        connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{_TABLE_MILLISECONDS}ms'"))
    # Only now: while the lock was waited for another process may have migrated. A revision that is not known here is a
    # newer program's: released migrations stay as they are.
    found = _version(connection)
    if found is not None and found not in _known():
        _require_compatible(connection, found)
    else:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.execute(oldest_program.delete())
        connection.execute(oldest_program.insert().values(revision=_oldest_that_fits()))


async def until_migrated(url: str, patience: timedelta, clock: Clock) -> None:
    """Wait while a store is at an older revision than this program, or has no tables: another one migrates it.

    Args:
        url: The store's address.
        patience: For how long; who opens the store then is told what to do.
        clock: Time.

    Raises:
        StoreUnavailableError: It can't be reached.
    """
    # Replicas of a deployment start together, and one of them, or a job, migrates.
    until, told = clock.now() + patience, False
    while patience and clock.now() < until:
        found = await asyncio.to_thread(schema_version, url)
        if found is not None and (found == required_version() or found not in _known()):
            return
        if not told:
            log.warning("the store is not migrated yet, waiting for it", store=found, seconds=patience.total_seconds())
        told = True
        await clock.sleep(_LOOK_SECONDS)


def check_version(connection: sa.Connection) -> str:
    """Refuse to work with tables of another revision, unless they say that they are compatible; returns theirs.

    Raises:
        SchemaVersionError: They are at another one; the message says what to do.
    """
    found, wanted = _version(connection), required_version()
    if found is not None and found not in _known():
        _require_compatible(connection, found)
        log.warning("the store is newer than this program, which can work with it", store=found, program=wanted)
        return found
    if found == wanted:
        return wanted
    where = connection.engine.url.render_as_string(hide_password=True)
    what = "has no tables yet" if found is None else f"is at revision {found}"
    raise SchemaVersionError(
        f"the store {where} {what}, this program works with revision {wanted}: run `orchestrator migrate` first"
    )


def recheck_version(connection: sa.Connection, known: str) -> str:
    """Look whether the tables were migrated since they were found to fit; returns their revision.

    Args:
        connection: A connection.
        known: The revision that was found to fit.

    Raises:
        SchemaVersionError: They do not fit any more.
    """
    found = connection.execute(_VERSION).scalar_one_or_none()
    return known if found == known else check_version(connection)


def _require_sessions(url: sa.URL) -> None:
    if url.get_backend_name() == "postgresql":
        require_sessions(url)


def _require_compatible(connection: sa.Connection, found: str) -> None:
    """Refuse a revision that this program does not know, unless the store says that programs of this age will do."""
    oldest = None
    if sa.inspect(connection).has_table(oldest_program.name):
        oldest = connection.execute(sa.select(oldest_program.c.revision)).scalar_one_or_none()
    if oldest in _known():
        return
    raise SchemaVersionError(
        f"the store {connection.engine.url.render_as_string(hide_password=True)} is at revision {found}, which this "
        "program does not know: it was migrated by a newer one; install that version or restore the backup made before"
    )


def _version(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _known() -> frozenset[str]:
    """Return the revisions that this program knows."""
    return frozenset(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


def _oldest_that_fits() -> str:
    """Return the newest revision that took something away: who does not know it, misses that."""
    scripts = ScriptDirectory.from_config(_config()).walk_revisions()
    return next(script.revision for script in scripts if getattr(script.module, "contract", False))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations").replace("%", "%%"))
    return config
