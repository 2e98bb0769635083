"""Ended changes leave the store after a while; before they go they are in an archive, on disk.

Written first and deleted after: who dies in between archives them again, and none is lost. What is still needed stays
(`orchestrator.store.units.archive` says what that is).
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from orchestrator.engine.isolation import contained
from orchestrator.engine.ports import Clock, StoreError

LEASE_NAME: Final = "archive"
LEASE: Final = timedelta(minutes=5)
EVERY_SECONDS: Final = 3600.0
BATCH: Final = 100
"""Changes that are looked at, written and deleted at a time: the store does nothing else for some milliseconds."""
BREATH_SECONDS: Final = 0.05
"""Between two batches, in which the store does what was asked of it meanwhile."""

log = structlog.get_logger()


class ArchiveError(Exception):
    """The archive could not be written; nothing was deleted. The message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedBatch:
    """Some changes of the store, in the order in which they were accepted.

    Attributes:
        change_ids: Those of them that may go.
        lines: Each of those as one line of JSON, with its attempts and its history.
        through: The last position that was looked at; None when all that are old enough were.
    """

    change_ids: tuple[str, ...]
    lines: tuple[str, ...]
    through: int | None


class EndedChanges(Protocol):
    """What of the store archiving uses. Every method may raise `StoreError`."""

    async def ended(self, *, before: datetime, after: int, limit: int) -> EndedBatch:
        """Return the changes behind a position that ended before a time and that nothing needs any more."""

    async def delete(self, change_ids: Sequence[str], *, before: datetime) -> int:
        """Delete those of them that still may go, in one transaction; returns how many went."""

    async def acquire_lease(self, name: str, *, holder: str, lease: timedelta, now: datetime) -> bool:
        """Take or prolong the right to do a named work alone; False while another holder's lease lasts."""

    async def release_lease(self, name: str, *, holder: str) -> None:
        """Give the right back."""


class ChangeArchiver:
    """Archives and deletes old changes.

    Args:
        changes: The store.
        append: Appends lines to the archive, and returns once they are on disk; blocks, and may raise `ArchiveError`.
        clock: Time.
        holder: Name of this replica, unique among them.
        keep: How long a change stays after its end. A request that comes again is recognised for so long.
    """

    def __init__(
        self,
        changes: EndedChanges,
        append: Callable[[Sequence[str]], None],
        clock: Clock,
        holder: str,
        keep: timedelta,
    ) -> None:
        self._changes = changes
        self._append = append
        self._clock = clock
        self._holder = holder
        self._keep = keep

    async def run(self) -> None:
        """Archive now and then, until cancelled."""
        while True:
            with contained("archiving"):
                try:
                    await self.sweep()
                except StoreError as error:
                    log.warning("old changes are not archived now", reason=str(error))
                except ArchiveError as error:
                    log.warning("old changes can't be archived, and stay in the store", reason=str(error))
            await self._clock.sleep(EVERY_SECONDS)

    async def sweep(self) -> int:
        """Archive and delete everything that is old enough; returns how many changes left the store.

        Raises:
            ArchiveError: The archive can't be written; the changes stay.
            StoreError: The store does not answer.
        """
        if not await self._mine():
            return 0
        before = self._clock.now() - self._keep
        total = 0
        position: int | None = 0
        try:
            while position is not None:
                batch = await self._changes.ended(before=before, after=position, limit=BATCH)
                if batch.change_ids:
                    await asyncio.to_thread(self._append, batch.lines)
                    total += await self._changes.delete(batch.change_ids, before=before)
                    await self._clock.sleep(BREATH_SECONDS)
                position = batch.through
                if position is not None and not await self._mine():
                    break  # it took longer than a lease, and another replica goes on
        finally:
            if total:
                log.info("archived old changes", changes=total)
            await self._changes.release_lease(LEASE_NAME, holder=self._holder)
        return total

    async def _mine(self) -> bool:
        return await self._changes.acquire_lease(LEASE_NAME, holder=self._holder, lease=LEASE, now=self._clock.now())
