"""Migrations, on both databases."""

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Timer

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from orchestrator.store import Database, migrate, schema_version
from orchestrator.store.connections import engine_for, normalised
from orchestrator.store.errors import SchemaVersionError, StoreUnavailableError
from orchestrator.store.schema import metadata
from orchestrator.store.schema_version import required_version


def _execute(url: str, statement: str) -> None:
    engine = engine_for(normalised(url))
    with engine.begin() as connection:
        connection.execute(sa.text(statement))
    engine.dispose()


def test_migrations_make_the_tables_that_the_code_uses(database_url: str) -> None:
    """After all migrations the database has exactly the tables, columns and indexes of the schema."""
    assert schema_version(database_url) is None
    assert migrate(database_url) == required_version() == schema_version(database_url)
    engine = engine_for(normalised(database_url))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        made = {
            (table, constraint["name"])
            for table in metadata.tables
            for constraint in sa.inspect(connection).get_check_constraints(table)
        }
    engine.dispose()
    wanted = {
        (table.name, str(constraint.name))
        for table in metadata.sorted_tables
        for constraint in table.constraints
        if isinstance(constraint, sa.CheckConstraint)
    }
    assert made == wanted


def test_conditions_of_partial_indexes_are_made_as_written(database_url: str) -> None:
    """The migrated partial indexes have the schema's conditions (comparing metadata does not look at them)."""
    migrate(database_url)
    made = engine_for(normalised(database_url))
    with made.begin() as connection:
        migrated = _index_conditions(connection)
        metadata.drop_all(connection)
        metadata.create_all(connection)
        assert _index_conditions(connection) == migrated
    made.dispose()


def _index_conditions(connection: sa.Connection) -> dict[str, str]:
    inspector = sa.inspect(connection)
    inspector.clear_cache()
    dialect = connection.dialect.name
    return {
        str(index["name"]): str(index.get("dialect_options", {}).get(f"{dialect}_where", ""))
        for table in metadata.tables
        for index in inspector.get_indexes(table)
    }


def test_migrating_again_changes_nothing(database_url: str) -> None:
    """Several processes may migrate, one after the other or at the same time."""
    with ThreadPoolExecutor(3) as threads:
        assert set(threads.map(migrate, [database_url] * 3)) == {required_version()}
    assert migrate(database_url) == required_version()


def test_a_new_file_that_another_process_writes_to_is_waited_for(tmp_path: Path) -> None:
    """SQLite answers who wants to make it a file with a write-ahead log "locked" at once, whatever the time-out."""
    file = tmp_path / "new.db"
    with closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other:
        other.execute("CREATE TABLE made (first)")
        other.execute("BEGIN IMMEDIATE")
        other.execute("INSERT INTO made VALUES (1)")
        ending = Timer(0.1, other.execute, ["COMMIT"])
        ending.start()
        _execute(f"sqlite:///{file}", "SELECT 1")
        ending.join()
    with closing(sqlite3.connect(file)) as seen:
        assert seen.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_a_store_without_tables_is_refused(database_url: str) -> None:
    """The daemon does not start on a database that was not migrated, and says which command mends it."""
    with pytest.raises(SchemaVersionError, match=r"has no tables yet.*run `orchestrator migrate` first"):
        async with Database(database_url):
            pass


async def test_a_store_of_a_newer_program_is_refused(store_url: str) -> None:
    """Tables of a revision that this program does not know are neither used nor migrated."""
    await asyncio.to_thread(_execute, store_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaVersionError, match=r"9999, which this program does not know.*newer"):
        async with Database(store_url):
            pass
    with pytest.raises(SchemaVersionError, match="newer"):
        await asyncio.to_thread(migrate, store_url)


async def test_a_password_is_never_shown() -> None:
    """Errors about a store name its address without the password."""
    engine = engine_for(normalised("postgresql://user:secret@127.0.0.1:1/name"))
    shown = engine.url.render_as_string(hide_password=True)
    engine.dispose()
    assert "secret" not in shown
    with pytest.raises(StoreUnavailableError) as raised:
        await asyncio.to_thread(migrate, "postgresql://user:secret@127.0.0.1:1/name")
    assert "secret" not in str(raised.value)


async def test_a_database_in_memory_needs_no_migration() -> None:
    """An in-memory database is made when it is opened."""
    async with Database("sqlite://") as database:
        assert database.in_memory
