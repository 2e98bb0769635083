"""Preparing a database that was restored: its tables as this program wants them, and what it does not know said."""

from datetime import datetime

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.instants import micros
from orchestrator.store.commits.schema_version import migrate
from orchestrator.store.commits.transaction import Transaction
from orchestrator.store.copies.restoration import mark_restored
from orchestrator.store.database.connections import engine_for, normalised, translated


def prepare(url: str, now: datetime, *, alone: bool) -> int:
    """Migrate a restored database and mark it; returns the newest block that it knows of.

    Args:
        url: Its address.
        now: The present time.
        alone: Whether it is known that nobody else works on it.

    Raises:
        SchemaVersionError: It was made by a newer program.
        StoreUnavailableError: It can't be reached, or a daemon works on it.
    """
    migrate(url)
    address = normalised(url)
    engine = engine_for(address)
    try:
        with engine.begin() as connection:
            block = mark_restored(Transaction(connection), now=micros(now), alone=alone)
        if address.get_backend_name() == "sqlite":
            with engine.connect() as connection:
                # The file is renamed next: what is beside it must be in it.
                connection.execute(sa.text("COMMIT"))
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
                connection.exec_driver_sql("BEGIN")
    except (SQLAlchemyError, psycopg.Error) as error:
        raise translated(error, address) from error
    finally:
        engine.dispose()
    return block
