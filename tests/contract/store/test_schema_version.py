"""Migrations, on both databases."""

import asyncio
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Timer

import psycopg
import pytest
import sqlalchemy as sa
import structlog
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from orchestrator.store import Database, SqlChangeStore, migrate, schema_version
from orchestrator.store.commits.schema_version import required_version, until_migrated
from orchestrator.store.database.connections import engine_for, normalised
from orchestrator.store.errors import SchemaVersionError, StoreUnavailableError
from orchestrator.store.schema import metadata
from tests.fakes.changes import a_change, a_step, led
from tests.fakes.clock import START, JumpingClock
from tests.fakes.following_release import REVISION, following_migrate


def _execute(url: str, statement: str, **values: str) -> None:
    engine = engine_for(normalised(url))
    with engine.begin() as connection:
        connection.execute(sa.text(statement), values)
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


async def test_a_store_of_a_newer_program_is_used_when_it_says_so(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program works on tables that the next release has added to, and leaves them as they are, migrating or not."""
    newer = following_migrate(tmp_path, monkeypatch)
    assert await asyncio.to_thread(newer, store_url) == REVISION
    assert await asyncio.to_thread(migrate, store_url) == REVISION
    async with Database(store_url) as database:
        store = SqlChangeStore(database, JumpingClock())
        await store.accept(a_change("1"), "hash", ())
        (lane,) = await store.claim(holder="one", lease=timedelta(seconds=8), limit=1, now=START + timedelta(seconds=1))
        await store.record(lane, a_step(lane.queued[0], led(lane.queued[0])))
        await store.release(lane, now=START + timedelta(seconds=2))
        await database.probe()


async def test_a_store_that_lacks_what_this_program_needs_is_refused(
    store_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables that the next release took something from are neither used nor migrated, by nobody who was at work."""
    newer = following_migrate(tmp_path, monkeypatch, '    op.drop_table("group_names")', contract=True)
    async with Database(store_url) as at_work:
        store = SqlChangeStore(at_work, JumpingClock())
        await asyncio.to_thread(newer, store_url)
        with pytest.raises(SchemaVersionError, match=r"9999, which this program does not know.*newer"):
            await at_work.probe()
        with pytest.raises(SchemaVersionError, match="newer"):
            await store.accept(a_change("1"), "hash", ())
        with pytest.raises(SchemaVersionError, match="newer"):
            async with Database(store_url):
                pass
        with pytest.raises(SchemaVersionError, match="newer"):
            await asyncio.to_thread(migrate, store_url)
        back = "UPDATE alembic_version SET version_num = :revision"
        await asyncio.to_thread(_execute, store_url, back, revision=required_version())
        await at_work.probe()
        await store.accept(a_change("1"), "hash", ())


def test_a_table_in_use_is_waited_for_without_holding_anybody_up(
    postgresql_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a long transaction reads a table, a migration of it lets others at it, and is done when that is over."""
    migrate(postgresql_url)
    newer = following_migrate(tmp_path, monkeypatch)
    tries: list[str | None] = []
    with psycopg.connect(postgresql_url) as reading, psycopg.connect(postgresql_url, autocommit=True) as other:
        reading.execute("SELECT count(*) FROM lanes")

        def between() -> None:
            other.execute("SET lock_timeout = 1")
            other.execute("INSERT INTO lanes (privacy_group_id, token, last_sequence) VALUES (%s, 0, 0)", [len(tries)])
            tries.append(schema_version(postgresql_url))
            if len(tries) == 2:
                reading.rollback()

        assert newer(postgresql_url, between) == REVISION
    assert tries == [required_version()] * 2


async def test_a_store_that_is_being_migrated_is_waited_for(database_url: str) -> None:
    """A program that starts before the migration goes on once it is done, and says that it waits only once."""
    waited: list[float] = []

    class Migrating(JumpingClock):
        async def sleep(self, seconds: float) -> None:
            await super().sleep(seconds)
            waited.append(seconds)
            if len(waited) == 3:
                await asyncio.to_thread(migrate, database_url)

    clock = Migrating()
    with structlog.testing.capture_logs() as said:
        await until_migrated(database_url, timedelta(seconds=60), clock)
    assert len(waited) == 3
    assert [entry["event"] for entry in said] == ["the store is not migrated yet, waiting for it"]


async def test_a_store_that_nobody_migrates_is_not_waited_for_for_ever(database_url: str) -> None:
    """After the time that was given the store is refused by whoever opens it, with what is to be done."""
    clock = JumpingClock()
    await until_migrated(database_url, timedelta(seconds=5), clock)
    assert clock.now() - START >= timedelta(seconds=5)
    with pytest.raises(SchemaVersionError, match="run `orchestrator migrate` first"):
        async with Database(database_url):
            pass


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
