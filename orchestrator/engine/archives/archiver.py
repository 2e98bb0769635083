"""What is old leaves the store; before it goes it is in an archive, on disk, and one replica at a time does it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

import structlog

from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.records import WorkLeases
from orchestrator.engine.runtime.isolation import repeated

LEASE: Final = timedelta(minutes=5)
EVERY_SECONDS: Final = 3600.0

log = structlog.get_logger()


class ArchiveError(Exception):
    """The archive could not be written; nothing was deleted. The message says why and what to do."""


class Leases(WorkLeases, Protocol):
    """What of the outbox archiving uses."""

    async def release_lease(self, name: str, *, holder: str) -> None:
        """Give the right back."""


class OldRecords(Protocol):
    """Records of one kind that may leave the store."""

    @property
    def kind(self) -> str:
        """What they are, for the log."""

    @property
    def lease_name(self) -> str:
        """The named work of moving them."""

    def moved(self, before: datetime, still_ours: Callable[[], Awaitable[bool]]) -> AsyncIterator[int]:
        """Move those older than a time to the archive, and yield how many left the store, batch by batch.

        Args:
            before: The time.
            still_ours: Prolongs the lease; False when moving took longer than it, and another replica goes on.

        Raises:
            ArchiveError: The archive can't be written; the records stay.
            StoreError: The store does not answer.
        """


class Archiver:
    """Archives and deletes old records of one kind.

    Args:
        records: The records.
        place: Name of this loop where what goes wrong in it is counted (see `engine.runtime.isolation.contained`).
        leases: The outbox.
        clock: Time.
        holder: Name of this replica, unique among them.
        keep: How long a record stays in the store.
    """

    def __init__(
        self, records: OldRecords, place: str, leases: Leases, clock: Clock, holder: str, keep: timedelta
    ) -> None:
        self._records = records
        self._place = place
        self._leases = leases
        self._clock = clock
        self._holder = holder
        self._keep = keep

    async def run(self) -> None:
        """Archive now and then, until cancelled."""
        await repeated(self._place, self._sweep_or_tell, self._clock, EVERY_SECONDS)

    async def _sweep_or_tell(self) -> None:
        try:
            await self.sweep()
        except ArchiveError as error:
            log.warning("can't be archived, and stays in the store", of=self._records.kind, reason=str(error))

    async def sweep(self) -> int:
        """Archive and delete everything that is old enough; returns how many records left the store.

        Raises:
            ArchiveError: The archive can't be written; the records stay.
            StoreError: The store does not answer.
        """
        if not await self._ours():
            return 0
        gone = 0
        try:
            async for count in self._records.moved(self._clock.now() - self._keep, self._ours):
                gone += count
        finally:
            # Told and given back also where it broke off: another replica need not wait for the lease's end.
            if gone:
                log.info("archived", of=self._records.kind, records=gone)
            await self._leases.release_lease(self._records.lease_name, holder=self._holder)
        return gone

    async def _ours(self) -> bool:
        name, now = self._records.lease_name, self._clock.now()
        return await self._leases.acquire_lease(name, holder=self._holder, lease=LEASE, now=now)
