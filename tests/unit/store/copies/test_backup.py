import asyncio
import os
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.store import Database, SqlChangeStore, migrate
from orchestrator.store.copies.backup import BackupError, back_up, copied_beside, examine, put_back, require_unused
from tests.fakes.changes import a_change
from tests.fakes.clock import START, JumpingClock


@pytest.fixture
def url(tmp_path: Path) -> str:
    address = f"sqlite:///{tmp_path}/store.db"
    migrate(address)
    return address


async def test_a_backup_is_of_one_moment_while_the_store_is_worked_on(url: str, tmp_path: Path) -> None:
    """The copy is whole, sound and closed to others, although changes are accepted while it is made."""
    async with Database(url) as database:
        store = SqlChangeStore(database, JumpingClock())
        for number in range(20):
            await store.accept(a_change(f"before-{number}"), "hash", ())

        async def go_on() -> None:
            for number in range(100):
                await store.accept(a_change(f"during-{number}"), "hash", ())

        going = asyncio.create_task(go_on())
        facts = await asyncio.to_thread(back_up, url, tmp_path / "backup.db")
        await going
    assert 20 <= facts.changes <= 120
    assert facts.unfinished == facts.changes
    assert (tmp_path / "backup.db").stat().st_mode & 0o777 == 0o600
    assert [name for name in os.listdir(tmp_path) if "backup" in name] == ["backup.db"]
    assert examine(tmp_path / "backup.db") == facts


def test_a_file_that_is_there_is_not_overwritten(url: str, tmp_path: Path) -> None:
    """A backup needs a name of its own."""
    (tmp_path / "backup.db").write_text("another")
    with pytest.raises(BackupError, match="not overwritten"):
        back_up(url, tmp_path / "backup.db")
    assert (tmp_path / "backup.db").read_text() == "another"


def test_a_damaged_backup_is_refused(url: str, tmp_path: Path) -> None:
    """A page that was overwritten, a file that is cut off, one that is something else, and none, are told."""
    with closing(sqlite3.connect(tmp_path / "store.db")) as store:
        rows = [(f"name-{number}", "g" * 500) for number in range(200)]
        store.executemany("INSERT INTO group_names VALUES (?, ?)", rows)
        store.commit()
    back_up(url, tmp_path / "sound.db")
    whole = (tmp_path / "sound.db").read_bytes()
    (tmp_path / "overwritten.db").write_bytes(whole[:-9000] + os.urandom(4096) + whole[-4904:])
    (tmp_path / "cut.db").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.db").write_text("no database" * 1000)
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE t (a)")
    for name in ("overwritten", "cut", "text", "other", "missing"):
        with pytest.raises(BackupError):
            examine(tmp_path / f"{name}.db")


def test_a_store_in_use_is_not_replaced(url: str, tmp_path: Path) -> None:
    """While somebody has the store open nothing is put in its place; afterwards what was there is kept."""
    back_up(url, tmp_path / "backup.db")
    with closing(sqlite3.connect(tmp_path / "store.db")) as running:
        running.execute("SELECT count(*) FROM changes").fetchone()
        with pytest.raises(BackupError, match="stop the daemon"):
            require_unused(url)
    copy = copied_beside(url, tmp_path / "backup.db")
    kept = put_back(url, copy, START)
    assert kept == tmp_path / "store.db.before-20260101T000000Z"
    assert examine(kept).changes == examine(tmp_path / "store.db").changes == 0
    assert (tmp_path / "store.db").stat().st_mode & 0o777 == 0o600


def test_a_damaged_store_can_be_replaced(url: str, tmp_path: Path) -> None:
    """A store that can't be read any more is a reason to restore, and is kept as it is."""
    back_up(url, tmp_path / "backup.db")
    shutil.copy(tmp_path / "backup.db", tmp_path / "store.db")
    (tmp_path / "store.db").write_bytes(b"nothing of a database" * 500)
    kept = put_back(url, copied_beside(url, tmp_path / "backup.db"), START + timedelta(days=1))
    assert kept is not None
    assert kept.read_bytes().startswith(b"nothing")
    assert examine(tmp_path / "store.db").revision
