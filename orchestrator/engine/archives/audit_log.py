"""Old entries of the audit log leave the store; before they go they are in an archive, on disk.

Archived first, then the log itself is told through which entry, and only then they are deleted: who dies in between
archives some again, and none is lost. What stays is bound to what went by that entry's hash
(`orchestrator.access.audit_chain`).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

from orchestrator.access.audit import ChainedEntry
from orchestrator.engine.ports.clock import Clock

BATCH: Final = 500
"""Entries that are written, and those that are deleted, at a time."""
CUT_EVERY: Final = 20
"""Batches after which what was archived is let go: so much is archived again after a death."""
BREATH_SECONDS: Final = 0.02
"""Between two batches, in which the store does what was asked of it meanwhile."""


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


class OldAuditEntries:
    """Entries of the audit log that may leave the store (`archiver.OldRecords`).

    Args:
        entries: The audit log.
        append: Appends lines to the archive, and returns once they are on disk; blocks, and may raise `ArchiveError`.
        clock: Time.
    """

    kind = "the audit log"
    lease_name = "audit-archive"

    def __init__(self, entries: OldEntries, append: Callable[[Sequence[str]], None], clock: Clock) -> None:
        self._entries = entries
        self._append = append
        self._clock = clock

    async def moved(self, before: datetime, still_ours: Callable[[], Awaitable[bool]]) -> AsyncIterator[int]:
        """Move them; see `archiver.OldRecords.moved`."""
        async for count in self._deleted():  # what a death left
            yield count
        more = True
        while more:
            last, more = await self._archive(before, still_ours)
            if last is not None:
                await self._entries.cut(last, at=self._clock.now())
                async for count in self._deleted():
                    yield count

    async def _archive(
        self, before: datetime, still_ours: Callable[[], Awaitable[bool]]
    ) -> tuple[ChainedEntry | None, bool]:
        """Write some batches; returns the last entry that is on disk, if any, and whether there may be more."""
        last: ChainedEntry | None = None
        for _ in range(CUT_EVERY):
            after = last.number if last is not None else 0
            found = await self._entries.old(before=before, after=after, limit=BATCH)
            if not found or not await still_ours():
                return last, False
            await asyncio.to_thread(self._append, self._entries.lines(found))
            last = found[-1]
            await self._clock.sleep(BREATH_SECONDS)
        return last, True

    async def _deleted(self) -> AsyncIterator[int]:
        while count := await self._entries.delete_cut(BATCH):
            yield count
            await self._clock.sleep(BREATH_SECONDS)
