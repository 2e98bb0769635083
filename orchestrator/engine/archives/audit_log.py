"""Old entries of the audit log leave the store; before they go they are in an archive, on disk.

Archived first, then the log itself is told through which entry, and only then they are deleted: who dies in between
archives some again, and none is lost. What stays is bound to what went by that entry's hash
(`orchestrator.access.audit_chain`).
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from orchestrator.access.audit import ChainedEntry
from orchestrator.engine.archives.changes import ArchiveError
from orchestrator.engine.isolation import contained
from orchestrator.engine.ports import Clock, StoreError
from orchestrator.engine.record_ports import WorkLeases

LEASE_NAME: Final = "audit-archive"
LEASE: Final = timedelta(minutes=5)
EVERY_SECONDS: Final = 3600.0
BATCH: Final = 500
"""Entries that are written, and those that are deleted, at a time."""
CUT_EVERY: Final = 20
"""Batches after which what was archived is let go: so much is archived again after a death."""
BREATH_SECONDS: Final = 0.02
"""Between two batches, in which the store does what was asked of it meanwhile."""

log = structlog.get_logger()


class OldEntries(Protocol):
    """What of the audit log archiving uses. Every method may raise `StoreError`."""

    async def old(self, *, before: datetime, after: int, limit: int) -> Sequence[ChainedEntry]:
        """Return the entries behind a number up to the first that is not older than a time, never the newest of all."""

    def lines(self, entries: Sequence[ChainedEntry]) -> list[str]:
        """Return entries as lines of an archive."""

    async def cut(self, last: ChainedEntry, *, at: datetime) -> None:
        """Let all through an entry go, and say so in the log itself, in one transaction."""

    async def delete_cut(self, limit: int) -> int:
        """Delete some of what was cut off, oldest first, in one transaction; returns how many entries went."""


class Leases(WorkLeases, Protocol):
    """What of the outbox archiving uses."""

    async def release_lease(self, name: str, *, holder: str) -> None:
        """Give the right back."""


class AuditArchiver:
    """Archives and deletes old entries of the audit log.

    Args:
        entries: The audit log.
        leases: The outbox.
        append: Appends lines to the archive, and returns once they are on disk; blocks, and may raise `ArchiveError`.
        clock: Time.
        holder: Name of this replica, unique among them.
        keep: How long an entry stays in the store.
    """

    def __init__(
        self,
        entries: OldEntries,
        leases: Leases,
        append: Callable[[Sequence[str]], None],
        clock: Clock,
        holder: str,
        keep: timedelta,
    ) -> None:
        self._entries = entries
        self._leases = leases
        self._append = append
        self._clock = clock
        self._holder = holder
        self._keep = keep

    async def run(self) -> None:
        """Archive now and then, until cancelled."""
        while True:
            with contained("audit archiving"):
                try:
                    await self.sweep()
                except StoreError as error:
                    log.warning("the audit log is not archived now", reason=str(error))
                except ArchiveError as error:
                    log.warning("the audit log can't be archived, and stays in the store", reason=str(error))
            await self._clock.sleep(EVERY_SECONDS)

    async def sweep(self) -> int:
        """Archive and delete everything that is old enough; returns how many entries left the store.

        Raises:
            ArchiveError: The archive can't be written; the entries stay.
            StoreError: The store does not answer.
        """
        if not await self._mine():
            return 0
        gone = 0
        try:
            gone += await self._delete()  # what a death left
            more = True
            while more:
                last, more = await self._archive()
                if last is not None:
                    await self._entries.cut(last, at=self._clock.now())
                    gone += await self._delete()
        finally:
            if gone:
                log.info("archived old entries of the audit log", entries=gone)
            await self._leases.release_lease(LEASE_NAME, holder=self._holder)
        return gone

    async def _archive(self) -> tuple[ChainedEntry | None, bool]:
        """Write some batches; returns the last entry that is on disk, if any, and whether there may be more."""
        before = self._clock.now() - self._keep
        last: ChainedEntry | None = None
        for _ in range(CUT_EVERY):
            after = last.number if last is not None else 0
            found = await self._entries.old(before=before, after=after, limit=BATCH)
            if not found or not await self._mine():
                return last, False  # or it took longer than a lease, and another replica goes on
            await asyncio.to_thread(self._append, self._entries.lines(found))
            last = found[-1]
            await self._clock.sleep(BREATH_SECONDS)
        return last, True

    async def _delete(self) -> int:
        gone = 0
        while count := await self._entries.delete_cut(BATCH):
            gone += count
            await self._clock.sleep(BREATH_SECONDS)
        return gone

    async def _mine(self) -> bool:
        now = self._clock.now()
        return await self._leases.acquire_lease(LEASE_NAME, holder=self._holder, lease=LEASE, now=now)
