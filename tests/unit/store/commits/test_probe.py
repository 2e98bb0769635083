"""A store that can't take a write is not ready, and one whose file is gone takes nothing."""

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from orchestrator.store import Database, SqlChangeStore, migrate
from orchestrator.store.commits.probe import SHARED_MEMORY, write_probe
from orchestrator.store.errors import StoreLockedError, StoreUnavailableError
from tests.fakes.changes import a_change
from tests.fakes.clock import JumpingClock
from tests.patience import patient


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """An empty store's file, made under a umask that gives everything to everybody."""
    before = os.umask(0)
    try:
        await asyncio.to_thread(migrate, f"sqlite:///{tmp_path}/store.db")
    finally:
        os.umask(before)
    return tmp_path / "store.db"


async def test_the_files_are_private(path: Path) -> None:
    """The database and what stands beside it are its user's only, whatever the umask."""
    before = os.umask(0)
    try:
        async with Database(f"sqlite:///{path}") as database:
            await database.probe()
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {"store.db": 0o600, "store.db-wal": 0o600, "store.db-shm": 0o600}


async def test_a_working_store_is_ready(path: Path) -> None:
    """A store that takes writes passes the probe, again and again."""
    async with Database(f"sqlite:///{path}") as database:
        for _ in range(3):
            await database.probe()


async def test_a_deleted_store_takes_nothing(path: Path) -> None:
    """When the file is deleted or replaced nothing more is accepted, since it would be gone with the process."""
    async with Database(f"sqlite:///{path}") as database:
        store = SqlChangeStore(database, JumpingClock())
        await store.accept(a_change("1"), "hash", ())
        await asyncio.to_thread(path.unlink)
        with pytest.raises(StoreUnavailableError, match="deleted or replaced"):
            await store.accept(a_change("2"), "hash", ())
        with pytest.raises(StoreUnavailableError, match="deleted or replaced"):
            await database.probe()
        await asyncio.to_thread(path.touch)
        with pytest.raises(StoreUnavailableError, match="deleted or replaced"):
            await store.accept(a_change("2"), "hash", ())


async def test_a_damaged_store_is_not_ready(path: Path) -> None:
    """When the file is overwritten the probe fails."""
    async with Database(f"sqlite:///{path}") as database:
        await database.probe()
        with path.open("r+b") as file:
            file.write(b"\xff" * 8192)
        with pytest.raises(StoreUnavailableError):
            await database.probe()


async def test_a_damaged_store_takes_nothing(path: Path) -> None:
    """An overwritten file takes nothing, though the database has its pages in memory, until it is whole again."""
    async with Database(f"sqlite:///{path}") as database:
        store = SqlChangeStore(database, JumpingClock())
        await store.accept(a_change("1"), "hash", ())
        with path.open("r+b") as file:
            file.write(b"\xff" * 16)
        with pytest.raises(StoreUnavailableError, match="damaged"):
            await store.accept(a_change("2"), "hash", ())
        with pytest.raises(StoreUnavailableError, match="damaged"):
            await database.probe()
        with path.open("r+b") as file:
            file.write(b"SQLite format 3\x00")
        await database.probe()
        await store.accept(a_change("2"), "hash", ())


async def test_a_full_store_is_not_ready(path: Path) -> None:
    """When there is no room for a commit the probe fails, although reads are answered."""
    async with Database(f"sqlite:///{path}") as database:
        await database.write(lambda transaction: transaction.connection.exec_driver_sql("PRAGMA max_page_count = 1"))
        store = SqlChangeStore(database, JumpingClock())

        async def fill() -> None:
            for number in range(2000):
                await store.accept(a_change(str(number), f"g{number}"), "hash", ())

        with pytest.raises(StoreUnavailableError, match="full"):
            await fill()
        assert await store.changes(limit=1)


async def test_a_locked_store_answers_all_who_wait(path: Path) -> None:
    """Of many who wait for another program's lock none waits for the others' waiting; reads and the end are free."""
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        async with asyncio.timeout(patient(20)), Database(f"sqlite:///{path}") as database:
            other.execute("BEGIN IMMEDIATE")
            # Each would have a transaction of its own: one after the other they would wait for minutes.
            outcomes = await asyncio.gather(*(database.write(write_probe) for _ in range(40)), return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {StoreLockedError}
            assert f"holds {path} locked" in str(outcomes[0])
            assert await SqlChangeStore(database, JumpingClock()).changes() == ()
            with pytest.raises(StoreLockedError):
                await database.probe()
            other.execute("ROLLBACK")
            await freed(database)
            other.execute("BEGIN IMMEDIATE")


async def freed(database: Database) -> None:
    """Return when a store takes writes again."""
    while True:
        try:
            await database.probe()
        except StoreLockedError:
            await asyncio.sleep(0.05)
        else:
            return


@pytest.mark.parametrize(
    ("ending", "flags", "reason"),
    [("", 0, "may not write"), ("-wal", os.ST_RDONLY, "is read-only: mount it"), (SHARED_MEMORY, 0, "may not write")],
)
async def test_a_store_that_may_not_be_written_is_named(path: Path, ending: str, flags: int, reason: str) -> None:
    """What the operating system forbids is told before it is tried; a page of shared memory is not even read then."""
    forbidden = f"{path}{ending}"
    access = os.access

    def allowed(file: Any, mode: int) -> bool:
        return str(file) != forbidden and access(file, mode)

    async with Database(f"sqlite:///{path}") as database:
        await database.probe()
        with patch("os.access", allowed), patch("os.statvfs", lambda _: SimpleNamespace(f_flag=flags)):
            for _ in range(2):
                with pytest.raises(StoreUnavailableError, match=reason):
                    await database.probe()
            reading = SqlChangeStore(database, JumpingClock()).changes()
            if ending == SHARED_MEMORY:
                with pytest.raises(StoreUnavailableError, match=reason):
                    await reading
            else:
                assert await reading == ()
        await database.probe()


def seen_by_another_program(path: Path) -> int:
    """Open the database elsewhere, as its administrator may, count what was accepted, and close it."""
    counting = "print(*c.execute('SELECT count(*) FROM changes').fetchone())"
    program = f"import sqlite3; c = sqlite3.connect({str(path)!r}); {counting}; c.close()"
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return int(said.stdout)


async def test_another_program_that_closes_the_database_leaves_it_open_here(path: Path) -> None:
    """It finds the database open, also when one of several stores here was closed, and leaves the log that it is in."""
    async with Database(f"sqlite:///{path}") as database:
        store = SqlChangeStore(database, JumpingClock())
        await store.accept(a_change("1", "g1"), "hash", ())
        assert await asyncio.to_thread(seen_by_another_program, path) == 1
        async with Database(f"sqlite:///{path}") as another:
            await SqlChangeStore(another, JumpingClock()).accept(a_change("2", "g2"), "hash", ())
        assert await asyncio.to_thread(seen_by_another_program, path) == 2
        await store.accept(a_change("3", "g3"), "hash", ())
        assert await asyncio.to_thread(seen_by_another_program, path) == 3
        assert len(await store.changes()) == 3
        await database.probe()
