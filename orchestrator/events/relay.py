"""The relay: publishes the outbox on the message queue, in order per group, at least once.

An event is marked as published a moment after the queue has stored it; a crash in between publishes it again, with the
same id.

Of several replicas the one that holds the lease publishes. When the queue is away events wait in the outbox, and
nothing else is held up.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

import structlog

from orchestrator.engine.isolation import contained, contained_failures
from orchestrator.engine.ports import BrokerError, Clock, StoreError
from orchestrator.events.envelope import text_of
from orchestrator.events.ports import Outbox, Publisher, StoredEvent

LEASE_NAME: Final = "relay"
LEASE: Final = timedelta(seconds=15)
BATCH: Final = 256
GROUPS_AT_ONCE: Final = 16
POLL_SECONDS: Final = 1.0
MARK_SECONDS: Final = 0.1
MOST_FAILURES: Final = 5
"""An event that fails so often, not because the queue is away, is set aside: its group must not wait for ever."""
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 5.0

_log = structlog.get_logger(__name__)


class Relay:
    """Publishes what is committed.

    Args:
        outbox: The durable events.
        publisher: The message queue.
        clock: Time.
        holder: Name of this replica, unique among them.
    """

    def __init__(self, outbox: Outbox, publisher: Publisher, clock: Clock, holder: str) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._clock = clock
        self._holder = holder
        self._renew_at: datetime | None = None
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._seen = 0
        self._published: set[int] = set()
        self._mark_at: datetime | None = None
        self._failures: Counter[int] = Counter()

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            with contained("relay") as turning:
                try:
                    await self._turn()
                except (StoreError, BrokerError) as error:
                    _log.warning("events are not published now, trying again", reason=str(error))
                    await self._pause()
            if turning.error is not None:
                await self._pause()

    async def drain(self, seconds: float) -> None:
        """Publish what is committed, for at most so long; what is left is published by the next start.

        Call it when `run` has been cancelled.
        """
        try:
            await self._clock.wait_for(self._publish_all(), seconds)
        except (StoreError, BrokerError, TimeoutError) as error:
            _log.warning("status events are left for the next start", reason=str(error) or "no time left")

    async def _publish_all(self) -> None:
        if not await self._leased():
            return
        while events := await self._unpublished():
            await self._publish(events)
            await self._mark_when_due()
        await self._mark()
        await self._outbox.release_lease(LEASE_NAME, holder=self._holder)
        self._renew_at = None

    async def _turn(self) -> None:
        if not await self._leased():
            await self._mark()
            await self._clock.sleep(LEASE.total_seconds() / 3)
            return
        events = await self._unpublished()
        if events:
            await self._publish(events)
            self._pause_seconds = FIRST_PAUSE_SECONDS
        else:
            seconds = MARK_SECONDS if self._published else POLL_SECONDS
            with suppress(TimeoutError):
                await self._clock.wait_for(self._outbox.wait_for_events(self._seen, seconds), seconds)
        await self._mark_when_due()

    async def _unpublished(self) -> list[StoredEvent]:
        pending = await self._outbox.pending(BATCH + len(self._published))
        if pending:
            self._seen = max(self._seen, pending[-1].position)
        return [stored for stored in pending if stored.position not in self._published]

    async def _mark_when_due(self) -> None:
        """Mark what is published, not each time: one commit for many events leaves the store to the lanes."""
        now = self._clock.now()
        if self._published and self._mark_at is None:
            self._mark_at = now + timedelta(seconds=MARK_SECONDS)
        # A time further away than it was ever set was set before the clock was set back.
        waits = self._mark_at is not None and now < self._mark_at <= now + timedelta(seconds=MARK_SECONDS)
        if len(self._published) >= BATCH or (self._published and not waits):
            await self._mark()

    async def _mark(self) -> None:
        if self._published:
            await self._outbox.mark_published(sorted(self._published), at=self._clock.now())
        self._published.clear()
        self._mark_at = None

    async def _leased(self) -> bool:
        now = self._clock.now()
        if self._renew_at is not None and now < self._renew_at <= now + LEASE / 3:
            return True
        held = await self._outbox.acquire_lease(LEASE_NAME, holder=self._holder, lease=LEASE, now=now)
        if held and self._renew_at is None:
            # What was published by others is not to be waited behind.
            self._seen = await self._outbox.last_position()
        self._renew_at = now + LEASE / 3 if held else None
        return held

    async def _publish(self, events: Sequence[StoredEvent]) -> None:
        """Publish a batch; raises BrokerError when some of it could not be."""
        places = asyncio.Semaphore(GROUPS_AT_ONCE)
        by_group = sorted(events, key=lambda stored: (stored.event.privacy_group_id, stored.position))
        lanes = [list(lane) for _, lane in groupby(by_group, key=lambda stored: stored.event.privacy_group_id)]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._publish_lane(lane, places)) for lane in lanes]
        for error in [task.result() for task in running]:
            if error is not None:
                raise error

    async def _publish_lane(self, lane: Sequence[StoredEvent], places: asyncio.Semaphore) -> BrokerError | None:
        """Publish one group's events in order; stops at the first that fails, so that none overtakes it."""
        async with places:
            for stored in lane:
                with contained("event", position=stored.position, group=stored.event.privacy_group_id) as publishing:
                    body = text_of(stored).encode()
                    try:
                        await self._publisher.publish(stored.event.type.value, stored.event_id, body)
                    except BrokerError as error:
                        return error
                if publishing.error is not None and not self._set_aside(stored):
                    return BrokerError(f"event {stored.event_id} could not be published: {publishing.error!r}")
                self._published.add(stored.position)
        return None

    def _set_aside(self, stored: StoredEvent) -> bool:
        """Whether an event that can't be published was tried often enough: then those behind it go on without it.

        It stays in the outbox, where subscribers over HTTP read it; a gap in the group's sequence tells of it.
        """
        self._failures[stored.position] += 1
        if self._failures[stored.position] < MOST_FAILURES:
            return False
        del self._failures[stored.position]
        _log.error("event set aside", event_id=stored.event_id, group=stored.event.privacy_group_id)
        contained_failures["event set aside"] += 1
        return True

    async def _pause(self) -> None:
        seconds, self._pause_seconds = self._pause_seconds, min(self._pause_seconds * 2, LONGEST_PAUSE_SECONDS)
        await self._clock.sleep(seconds)
