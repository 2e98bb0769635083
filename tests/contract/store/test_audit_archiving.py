"""The audit log is archived on both databases: the chain holds over the cut, and nothing else can be deleted."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from orchestrator.access.audit import Action, ChainedEntry, entry_by
from orchestrator.access.audit_chain import ChainCheck
from orchestrator.access.callers import Door, anyone
from orchestrator.api.resources.audit_log import AuditDocument, entry_of
from orchestrator.cli.audit_archives import archived_entries
from orchestrator.engine.archives.archiver import Archiver
from orchestrator.engine.archives.audit_log import BATCH, OldAuditEntries
from orchestrator.engine.ports.store import StoreError
from orchestrator.instants import micros
from orchestrator.store import Database, SqlOutbox
from orchestrator.store.copies.archive_files import ArchiveFiles
from orchestrator.store.stores.audit_store import SqlAuditLog
from tests.fakes.clock import START, JumpingClock

KEEP = timedelta(days=30)
ENTRY = entry_by(anyone(Door.HTTP), Action.RETRY, 0, about="add_members", reason="it's “back”")


class Archive:
    """A log whose old entries go into files."""

    def __init__(self, database: Database, clock: JumpingClock, folder: Path) -> None:
        self.database = database
        self.log = SqlAuditLog(database)
        self.clock = clock
        self.folder = folder

    async def enter(self, number: int, at: datetime = START) -> None:
        def unit(transaction: Any) -> None:
            for place in range(number):
                transaction.audit(replace(ENTRY, at=micros(at), change_id=str(place)))

        await self.database.write(unit)

    async def sweep(self, log: SqlAuditLog | None = None) -> int:
        files = ArchiveFiles(self.folder, self.clock.now, kind="audit")
        old = OldAuditEntries(log or self.log, files.append, self.clock)
        return await Archiver(old, "audit archiving", SqlOutbox(self.database), self.clock, "one", KEEP).sweep()

    async def kept(self) -> list[ChainedEntry]:
        return list(await self.log.behind(0, 100_000))

    def archived(self) -> list[ChainedEntry]:
        return list(archived_entries([self.folder]))

    async def verified(self, *, with_archives: bool) -> tuple[int, int]:
        """The first and the newest entry of the chain, which is unbroken."""
        check = ChainCheck()
        for entry in [*(self.archived() if with_archives else []), *await self.kept()]:
            assert check.take(entry) is None
        assert check.end() is None
        return check.first, check.newest


@pytest.fixture
def archive(database: Database, clock: JumpingClock, tmp_path: Path) -> Archive:
    return Archive(database, clock, tmp_path / "archive")


async def test_old_entries_go_and_the_chain_holds(archive: Archive) -> None:
    """Old ones are in the files and nowhere else, young ones stay, and both parts are one chain."""
    await archive.enter(2 * BATCH + 7)
    await archive.enter(3, at=START + timedelta(days=20))
    archive.clock.time = START + timedelta(days=40)
    before = await archive.kept()
    assert await archive.sweep() == 2 * BATCH + 7
    assert archive.archived() == before[: 2 * BATCH + 7]
    kept = await archive.kept()
    assert kept[:3] == before[-3:]
    assert [entry.entry.action for entry in kept[3:]] == [Action.ARCHIVE]
    assert await archive.verified(with_archives=True) == (1, 2 * BATCH + 11)
    assert await archive.verified(with_archives=False) == (2 * BATCH + 8, 2 * BATCH + 11)
    assert await archive.sweep() == 0
    assert await archive.kept() == kept, "nothing to archive is nothing to enter"
    archive.clock.time = START + timedelta(days=60)
    assert await archive.sweep() == 3
    assert await archive.verified(with_archives=True) == (1, 2 * BATCH + 12)
    assert await archive.verified(with_archives=False) == (2 * BATCH + 11, 2 * BATCH + 12)


async def test_a_line_is_what_the_interface_shows(archive: Archive) -> None:
    """An archive's line and one of `audit-log export` are the same document."""
    await archive.enter(1)
    (entry,) = await archive.kept()
    (line,) = archive.log.lines([entry])
    assert entry_of(AuditDocument.model_validate_json(line)) == entry


async def test_no_death_loses_an_entry(archive: Archive) -> None:
    """Before the cut they are archived again, behind it they are deleted later; the chain holds all the time."""

    class Dying(SqlAuditLog):
        async def cut(self, last: ChainedEntry, *, at: datetime) -> None:
            raise StoreError(f"gone at {at} before {last.number} could be cut off")

    class DyingLater(SqlAuditLog):
        def __init__(self, database: Database) -> None:
            super().__init__(database)
            self.before = 1  # it is asked once before anything is cut off

        async def delete_cut(self, limit: int) -> int:
            if self.before:
                self.before -= 1
                return 0
            raise StoreError(f"gone before {limit} were deleted")

    await archive.enter(30)
    archive.clock.time = START + timedelta(days=31)
    for log, again in ((Dying, 1), (DyingLater, 2)):
        with pytest.raises(StoreError):
            await archive.sweep(log(archive.database))
        assert len(archive.archived()) == 29 * again
        assert await archive.verified(with_archives=True) == (1, 29 + again)
        assert await archive.verified(with_archives=False) == (1, 29 + again)
    assert await archive.sweep() == 30, "the one that was the newest then goes, too"
    assert await archive.verified(with_archives=True) == (1, 32)
    assert await archive.verified(with_archives=False) == (31, 32)


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM audit_log WHERE number = 5", "stay as they are"),
        ("UPDATE audit_log SET reason = 'x' WHERE number = 1", "stay as they are"),
        ("INSERT INTO audit_cuts VALUES (9, 'x', 0)", "names an entry"),
        ("INSERT INTO audit_cuts SELECT max(number), max(entry_hash), 0 FROM audit_log", "names an entry"),
        ("UPDATE audit_cuts SET number = 99", "stay as they are"),
        ("DELETE FROM audit_cuts", "stay as they are"),
    ],
)
async def test_nothing_else_may_go(archive: Archive, statement: str, said: str) -> None:
    """The database lets go what was cut off, and cuts off only what the log has, with something behind it."""
    await archive.enter(5)
    await archive.enter(2, at=START + KEEP)
    archive.clock.time = START + KEEP + timedelta(seconds=1)
    entries = await archive.kept()
    await archive.log.cut(entries[3], at=archive.clock.now())

    def change(transaction: Any) -> None:
        transaction.connection.execute(sa.text(statement))

    with pytest.raises(Exception, match=said):
        await archive.database.write(change)
    assert [entry.number for entry in await archive.kept()] == list(range(1, 9))
    assert await archive.log.delete_cut(3) == 3
    assert await archive.log.delete_cut(3) == 1
    assert await archive.log.delete_cut(3) == 0
    assert [entry.number for entry in await archive.kept()] == [5, 6, 7, 8]
