"""Ended changes leave the store after a while; before they go they are in an archive, on disk.

Written first and deleted after: who dies in between archives them again, and none is lost. What is still needed stays
(`orchestrator.store.units.archive` says what that is).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from orchestrator.engine.ports.clock import Clock

BATCH: Final = 100
"""Changes that are looked at, written and deleted at a time: the store does nothing else for some milliseconds."""
BREATH_SECONDS: Final = 0.05
"""Between two batches, in which the store does what was asked of it meanwhile."""


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


class OldChanges:
    """Ended changes that may leave the store (`archiver.OldRecords`).

    A request that comes again is recognised for as long as its change is kept.

    Args:
        changes: The store.
        append: Appends lines to the archive, and returns once they are on disk; blocks, and may raise `ArchiveError`.
        clock: Time.
    """

    kind = "ended changes"
    lease_name = "archive"

    def __init__(self, changes: EndedChanges, append: Callable[[Sequence[str]], None], clock: Clock) -> None:
        self._changes = changes
        self._append = append
        self._clock = clock

    async def moved(self, before: datetime, still_ours: Callable[[], Awaitable[bool]]) -> AsyncIterator[int]:
        """Move them; see `archiver.OldRecords.moved`."""
        position: int | None = 0
        while position is not None:
            batch = await self._changes.ended(before=before, after=position, limit=BATCH)
            if batch.change_ids:
                await asyncio.to_thread(self._append, batch.lines)
                yield await self._changes.delete(batch.change_ids, before=before)
                await self._clock.sleep(BREATH_SECONDS)
            position = batch.through
            if position is not None and not await still_ours():
                break
