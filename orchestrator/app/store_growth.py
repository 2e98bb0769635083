"""How large the store is, for the metrics and the doctor; and what lets it stay small."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog

from orchestrator.app.assembly import Engine
from orchestrator.config import Config
from orchestrator.doctor.findings import Finding, Level
from orchestrator.engine.archives.archiver import Archiver
from orchestrator.engine.archives.audit_log import OldAuditEntries
from orchestrator.engine.archives.changes import OldChanges
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.runtime.isolation import repeated
from orchestrator.store.commits.database import Database
from orchestrator.store.copies.archive_files import ArchiveFiles
from orchestrator.store.database.size import StoreSize, store_size
from orchestrator.store.stores.archive_store import SqlEndedChanges

EVERY_SECONDS: Final = 600.0
MANY_CHANGES: Final = 100_000
LARGE_BYTES: Final = 1 << 30

log = structlog.get_logger()


class SizeWatch:
    """Measures the store now and then.

    Args:
        database: The open database.
        clock: Time.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self.size: StoreSize | None = None

    async def run(self) -> None:
        """Measure until cancelled; what was measured last stays where the store does not answer."""
        await repeated("store size", self._measure, self._clock, EVERY_SECONDS)

    async def _measure(self) -> None:
        self.size = await self._database.read(store_size)


def growth_parts(config: Config, engine: Engine) -> tuple[SizeWatch | Archiver, ...]:
    """Return what measures the store and, where an archive is configured, keeps it small."""
    watch = SizeWatch(engine.database, engine.clock)
    engine.metrics.watch_store(lambda: watch.size)
    found = (archiver(config, engine), audit_archiver(config, engine))
    return (watch, *(part for part in found if part is not None))


def audit_archiver(config: Config, engine: Engine) -> Archiver | None:
    """Return what archives the audit log; None where it is kept."""
    folder, days = config.retention.archive_dir, config.retention.audit_days
    if folder is None or days is None:
        return None
    files = ArchiveFiles(folder, engine.clock.now, kind="audit")
    keep = timedelta(days=days)
    entries = OldAuditEntries(engine.audit, files.append, engine.clock)
    return Archiver(entries, "audit archiving", engine.outbox, engine.clock, engine.holder, keep)


def archiver(config: Config, engine: Engine) -> Archiver | None:
    """Return what archives ended changes; None where no archive is configured."""
    folder = config.retention.archive_dir
    if folder is None:
        return None
    files = ArchiveFiles(folder, engine.clock.now)
    keep = timedelta(days=config.retention.changes_days)
    changes = OldChanges(SqlEndedChanges(engine.database), files.append, engine.clock)
    return Archiver(changes, "archiving", engine.outbox, engine.clock, engine.holder, keep)


def examine_growth(config: Config, size: StoreSize) -> tuple[Finding, ...]:
    """Tell how large the store is, whether it grows for ever, and whether the archive can be written."""
    changes = size.rows["changes"]
    what = f"the store holds {changes} changes, and takes {size.size_bytes >> 20} MiB"
    folder = config.retention.archive_dir
    if folder is None:
        large = changes >= MANY_CHANGES or size.size_bytes >= LARGE_BYTES
        return (
            Finding(
                check="store-size",
                level=Level.WARNING if large else Level.OK,
                what=f"{what}; none is ever deleted",
                why="Backups, migrations and lists take longer the more there is." if large else "",
                remedy="Set retention.archive_dir (docs/operations.md#store-size)." if large else "",
            ),
        )
    kept = f"{what}; ended ones go to {folder} after {config.retention.changes_days:g} days"
    size_found = Finding(check="store-size", level=Level.OK, what=kept)
    if _can_be_written(folder):
        return (size_found,)
    trouble = Finding(
        check="archive",
        level=Level.WARNING,
        what=f"{folder} can't be written",
        why="Ended changes stay in the store until they are in the archive.",
        remedy="Let the daemon's user write there, or name another folder in retention.archive_dir.",
    )
    return (size_found, trouble)


def _can_be_written(folder: Path) -> bool:
    there = next((place for place in (folder, *folder.parents) if place.exists()), Path("/"))
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
