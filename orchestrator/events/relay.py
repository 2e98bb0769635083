"""The relay: publishes the outbox on the message queue, in order per group, at least once.

An event is marked as published a moment after the queue has stored it; a crash in between publishes it again, with the
same id.

Of several replicas the one that holds the lease publishes. When the queue is away events wait in the outbox, and
nothing else is held up. Each group waits for itself: one whose next event is not taken rests, and is not even looked
for meanwhile, or its waiting events would hide those of other groups. So would a group with thousands of events, such
as the rejections of thousands of messages: behind one that fills a page the others are looked for, too, and a round
ends after a moment. What the queue will never take is set aside.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

import structlog

from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.queues import BrokerError
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.isolation import contained, contained_failures
from orchestrator.events.documents.envelope import text_of
from orchestrator.events.ports import Outbox, Publisher, StoredEvent

LEASE_NAME: Final = "relay"
LEASE: Final = timedelta(seconds=15)
BATCH: Final = 256
GROUPS_AT_ONCE: Final = 64
CROWDING: Final = 32
"""A group with more events than this in a full page may hide other groups' events behind its own."""
MOST_LOOKS: Final = 8
PUBLISH_SECONDS: Final = 0.25
"""For how long a group goes on with its events before it is looked for new ones of other groups."""
POLL_SECONDS: Final = 1.0
MARK_SECONDS: Final = 0.1
MOST_FAILURES: Final = 5
"""An event that fails so often, not because the queue is away, is set aside: its group must not wait for ever."""
FIRST_PAUSE_SECONDS: Final = 0.1
LONGEST_PAUSE_SECONDS: Final = 1.0
"""Between two tries while nothing at all is published."""
LONGEST_REST_SECONDS: Final = 5.0
"""Between two tries of one group."""
MOST_RESTING: Final = 1000

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Rest:
    until: datetime
    seconds: float


class Relay:
    """Publishes what is committed.

    Args:
        outbox: The durable events.
        publisher: The message queue.
        clock: Time.
        holder: Name of this replica, unique among them.

    Attributes:
        trouble: Why events of some group, or all, are not published now; empty when they are.
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
        self._resting: dict[str, _Rest] = {}
        self.trouble = ""

    async def run(self) -> None:
        """Publish until cancelled."""
        while True:
            with contained("relay") as working:
                try:
                    await self._work_once()
                except StoreError as error:
                    _log.warning("events are not published now, trying again", reason=str(error))
                    await self._pause()
            if working.error is not None:
                await self._pause()

    async def drain(self, seconds: float) -> None:
        """Publish what is committed, for at most so long; what is left is published by the next start.

        Call it when `run` has been cancelled.
        """
        try:
            await self._clock.wait_for(self._publish_all(), seconds)
        except (StoreError, TimeoutError) as error:
            _log.warning("status events are left for the next start", reason=str(error) or "no time left")

    async def _publish_all(self) -> None:
        if not await self._leased():
            return
        self._resting.clear()
        while events := await self._unpublished():
            await self._publish(events)
            await self._mark_when_due()
        await self._mark()
        await self._outbox.release_lease(LEASE_NAME, holder=self._holder)
        self._renew_at = None
        if self._resting:
            _log.warning("status events are left for the next start", reason=self.trouble)

    async def _work_once(self) -> None:
        # What was published under the lease is marked all the same, so that the next holder sends less of it again.
        if not await self._leased():
            await self._mark()
            self._resting.clear()
            self.trouble = ""
            await self._clock.sleep(LEASE.total_seconds() / 3)
            return
        events = await self._unpublished()
        if events:
            # Whatever came through shows that the queue is there: the long pauses are for one that takes nothing.
            if await self._publish(events):
                self._pause_seconds = FIRST_PAUSE_SECONDS
            else:
                await self._mark_when_due()
                await self._pause()
        else:
            seconds = MARK_SECONDS if self._published or self._resting else POLL_SECONDS
            with suppress(TimeoutError):
                await self._clock.wait_for(self._outbox.wait_for_events(self._seen, seconds), seconds)
        await self._mark_when_due()

    async def _unpublished(self) -> list[StoredEvent]:
        now = self._clock.now()
        # A time further away than any is set was set before the clock was set back.
        latest = now + timedelta(seconds=LONGEST_REST_SECONDS)
        resting = {group for group, rest in self._resting.items() if now < rest.until <= latest}
        # Where nothing but resting groups' events is new there is nothing to be woken for.
        newest = await self._outbox.last_position() if resting else 0
        # What is published and not marked yet comes again; without a surplus it would be all that comes.
        limit = BATCH + len(self._published)
        found: dict[int, StoredEvent] = {}
        crowding: set[str] = set()
        for _ in range(MOST_LOOKS):
            page = await self._outbox.pending(limit, [*sorted(crowding), *sorted(resting)][:MOST_RESTING])
            new = [stored for stored in page if stored.position not in self._published]
            found |= {stored.position: stored for stored in new if stored.event.privacy_group_id not in resting}
            self._seen = max(self._seen, newest, *(stored.position for stored in page[-1:]))
            crowds = _crowds(new) - crowding
            if len(page) < limit or not crowds:
                break
            # Events are looked for by position: behind thousands of one group, others' would wait for all of them.
            crowding |= crowds
        return list(found.values())

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
        # A clock that was set back does not prolong what another replica may have by now.
        if self._renew_at is not None and now < self._renew_at <= now + LEASE / 3:
            return True
        held = await self._outbox.acquire_lease(LEASE_NAME, holder=self._holder, lease=LEASE, now=now)
        if held and self._renew_at is None:
            # What was published by others is not to be waited behind.
            self._seen = await self._outbox.last_position()
        self._renew_at = now + LEASE / 3 if held else None
        return held

    async def _publish(self, events: Sequence[StoredEvent]) -> bool:
        """Publish a batch; returns whether anything of it came further."""
        places = asyncio.Semaphore(GROUPS_AT_ONCE)
        # Groups go side by side, and each in its own order: a group's events are never in flight together.
        by_group = sorted(events, key=lambda stored: (stored.event.privacy_group_id, stored.position))
        lanes = [list(lane) for _, lane in groupby(by_group, key=lambda stored: stored.event.privacy_group_id)]
        progress = _Progress(ends=self._clock.now() + timedelta(seconds=PUBLISH_SECONDS))
        async with asyncio.TaskGroup() as tasks:
            for lane in lanes:
                tasks.create_task(self._publish_lane(lane, places, progress))
        if progress.reason is None and not self._resting:
            self.trouble = ""
        elif progress.reason is not None and progress.reason != self.trouble:
            self.trouble = progress.reason
            _log.warning(
                "events are not published now, trying again",
                reason=progress.reason,
                groups=len(self._resting),
                others_are_published=progress.advanced,
            )
        return progress.advanced

    async def _publish_lane(
        self, lane: Sequence[StoredEvent], places: asyncio.Semaphore, progress: "_Progress"
    ) -> None:
        """Publish one group's events in order; stops at the first that fails, so that none overtakes it."""
        group = lane[0].event.privacy_group_id
        async with places:
            if progress.reason is not None and not progress.advanced:
                return  # the queue seems to be away: it is not asked for each group
            for stored in lane:
                reason = await self._failure(stored)
                if reason is not None:
                    progress.reason = reason
                    self._let_rest(group)
                    return
                progress.advanced = True
                # Only after the queue has said that it stores it.
                self._published.add(stored.position)
                self._resting.pop(group, None)
                if self._clock.now() >= progress.ends:
                    return  # what is left of it comes again with the next page, beside what is new of others

    async def _failure(self, stored: StoredEvent) -> str | None:
        """Publish an event; returns why it has to wait, None when it is published or set aside."""
        with contained("event", position=stored.position, group=stored.event.privacy_group_id) as publishing:
            # Within the containment: a document that can't be made must not stop its group for ever.
            body = text_of(stored).encode()
            try:
                await self._publisher.publish(stored.event.type.value, stored.event_id, body)
            except BrokerError as error:
                # The queue is away: that is no fault of this event, and counts towards nothing.
                if error.passing:
                    return str(error)
                self._set_aside(stored, str(error))
        if publishing.error is not None:
            self._failures[stored.position] += 1
            if self._failures[stored.position] < MOST_FAILURES:
                return f"event {stored.event_id} could not be published: {publishing.error!r}"
            self._set_aside(stored, repr(publishing.error))
        return None

    def _set_aside(self, stored: StoredEvent, reason: str) -> None:
        """Let those behind an event go on without it.

        It stays in the outbox, where subscribers over HTTP read it; a gap in the group's sequence tells of it.
        """
        self._failures.pop(stored.position, None)
        group = stored.event.privacy_group_id
        _log.error("event set aside", event_id=stored.event_id, group=group, reason=reason)
        contained_failures["event set aside"] += 1

    def _let_rest(self, group: str) -> None:
        before = self._resting.get(group)
        seconds = FIRST_PAUSE_SECONDS if before is None else min(before.seconds * 2, LONGEST_REST_SECONDS)
        self._resting[group] = _Rest(self._clock.now() + timedelta(seconds=seconds), seconds)

    async def _pause(self) -> None:
        seconds, self._pause_seconds = self._pause_seconds, min(self._pause_seconds * 2, LONGEST_PAUSE_SECONDS)
        await self._clock.sleep(seconds)


@dataclass(slots=True)
class _Progress:
    """What became of one batch so far.

    Attributes:
        ends: From this time on no group begins another event.
        advanced: Something was published or set aside.
        reason: Why something has to wait; None for nothing.
    """

    ends: datetime
    advanced: bool = False
    reason: str | None = None


def _crowds(events: Sequence[StoredEvent]) -> set[str]:
    counted = Counter(stored.event.privacy_group_id for stored in events)
    return {group for group, number in counted.items() if number > CROWDING}
