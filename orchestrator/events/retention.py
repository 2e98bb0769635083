"""Retention: published events are deleted after a while, the frequent ones about progress sooner."""

from datetime import timedelta
from typing import Final

import structlog

from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.runtime.isolation import repeated
from orchestrator.events.ports import Outbox
from orchestrator.membership.news.status import EventType

LEASE_NAME: Final = "retention"
LEASE: Final = timedelta(minutes=5)
EVERY_SECONDS: Final = 600.0
CHUNK: Final = 500
BREATH_SECONDS: Final = 0.02
"""Between two deletions, in which the store does what was asked of it meanwhile."""
FREQUENT: Final = (EventType.CHANGE_PROGRESSED.value,)

_log = structlog.get_logger(__name__)


class Retention:
    """Deletes old events.

    Args:
        outbox: The durable events.
        clock: Time.
        holder: Name of this replica, unique among them.
        keep: How long events are kept.
        keep_progress: How long events about progress are kept, which are the most and say the least later.
    """

    def __init__(
        self, outbox: Outbox, clock: Clock, holder: str, keep: timedelta, keep_progress: timedelta = timedelta(days=2)
    ) -> None:
        self._outbox = outbox
        self._clock = clock
        self._holder = holder
        self._keep = keep
        # Never longer than all others, whatever is configured.
        self._keep_progress = min(keep, keep_progress)
        self._sure_at = clock.now()

    async def run(self) -> None:
        """Delete now and then, until cancelled."""
        await repeated("retention", self.sweep, self._clock, EVERY_SECONDS)

    async def sweep(self) -> int:
        """Delete everything that is old enough, in small transactions; returns how many events were deleted."""
        if not await self._mine():
            return 0
        thinned = await self._delete(self._keep_progress, FREQUENT)
        deleted = await self._delete(self._keep, ())
        if thinned or deleted:
            _log.info("deleted old events", about_progress=thinned, all_types=deleted)
        await self._outbox.release_lease(LEASE_NAME, holder=self._holder)
        return thinned + deleted

    async def _delete(self, keep: timedelta, types: tuple[str, ...]) -> int:
        began = self._clock.now()
        # Up to what was there at the beginning: a sweep beside a flood of new events has an end.
        newest = await self._outbox.last_position()
        total = 0
        position: int | None = 0
        while position is not None:
            swept = await self._outbox.delete_published(
                before=began - keep, now=began, after=position, through_position=newest, types=types, limit=CHUNK
            )
            total += swept.deleted
            position = swept.through
            if swept.deleted:
                await self._clock.sleep(BREATH_SECONDS)
            # A large backlog takes longer than the lease: two replicas must not go through it side by side.
            if self._clock.now() - self._sure_at > LEASE / 2 and not await self._mine():
                break  # it took longer than a lease, and another replica goes on
        return total

    async def _mine(self) -> bool:
        now = self._clock.now()
        ours = await self._outbox.acquire_lease(LEASE_NAME, holder=self._holder, lease=LEASE, now=now)
        self._sure_at = now
        return ours
