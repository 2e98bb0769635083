"""Bringing a store's tables to the revision of this program, and telling when they are at another one."""

from pathlib import Path

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.store.connections import engine_for, normalised, translated
from orchestrator.store.errors import SchemaVersionError
from orchestrator.store.postgresql import require_sessions
from orchestrator.store.probing import check_writable

_MIGRATION_LOCK = 0x6D656D63
"""Key of the advisory lock that lets one process migrate a PostgreSQL store at a time."""
_MIGRATION_MINUTES = 60


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


def migrate(url: str) -> str:
    """Make or alter a store's tables up to the revision of this program; returns that revision.

    Several processes may do it at the same time: one does, the others find it done.

    Raises:
        SchemaVersionError: The store was made by a newer program.
        StoreUnavailableError: It can't be reached.
    """
    address = normalised(url)
    check_writable(address)
    engine = engine_for(address)
    try:
        _require_sessions(address)
        with engine.begin() as connection:
            migrate_on(connection)
    except (SQLAlchemyError, psycopg.Error) as error:
        raise translated(error, address) from error
    finally:
        engine.dispose()
    return required_version()


def migrate_on(connection: sa.Connection) -> None:
    """Do the same on a connection within a transaction.

    Raises:
        SchemaVersionError: The store was made by a newer program.
    """
    if connection.dialect.name == "postgresql":
        for limit in ("statement_timeout", "lock_timeout"):  # a big table takes longer than a unit of work may
            connection.execute(sa.text(f"SET LOCAL {limit} = '{_MIGRATION_MINUTES}min'"))
        connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
    _refuse_unknown(_version(connection), connection.engine.url)
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def check_version(connection: sa.Connection) -> None:
    """Refuse to work with tables of another revision.

    Raises:
        SchemaVersionError: They are at another one; the message says what to do.
    """
    found, wanted = _version(connection), required_version()
    if found == wanted:
        return
    where = connection.engine.url.render_as_string(hide_password=True)
    _refuse_unknown(found, connection.engine.url)
    what = "has no tables yet" if found is None else f"is at revision {found}"
    raise SchemaVersionError(
        f"the store {where} {what}, this program works with revision {wanted}: run `orchestrator migrate` first"
    )


def _require_sessions(url: sa.URL) -> None:
    if url.get_backend_name() == "postgresql":
        require_sessions(url)


def _refuse_unknown(found: str | None, url: sa.URL) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if found is not None and found not in known:
        raise SchemaVersionError(
            f"the store {url.render_as_string(hide_password=True)} is at revision {found}, which this program does "
            "not know: it was migrated by a newer one; install that version or restore the backup made before"
        )


def _version(connection: sa.Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config
