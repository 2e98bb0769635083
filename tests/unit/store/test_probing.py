"""A store that can't take a write is not ready, and one whose file is gone takes nothing."""

import asyncio
import os
import stat
from pathlib import Path

import pytest

from orchestrator.store import Database, SqlChangeStore, migrate
from orchestrator.store.errors import StoreUnavailableError
from tests.fakes.changes import a_change
from tests.fakes.clock import JumpingClock


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
