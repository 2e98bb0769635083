"""The relay: publishes what the outbox holds, at least once and in order within each group.

One replica at a time relays, by a lease. An event is marked as published only after the queue has stored it; the time
between is where a crash makes a duplicate, which has the same id.
"""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from typing import Final

import structlog

from orchestrator.engine.ports import BrokerError, Clock, StoreError
from orchestrator.events.envelope import text_of
from orchestrator.events.ports import Outbox, Publisher, StoredEvent

LEASE_NAME: Final = "relay"
PAGE: Final = 500
GROUPS_AT_ONCE: Final = 32
IDLE_SECONDS: Final = 5.0
PAUSES_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)

log = structlog.get_logger()


class Relay:
    """Publishes status events.

    Args:
        outbox: Where they are.
        publisher: Where they go.
        clock: Time.
        holder: This replica's name.
        lease: For how long the right to relay is held without being renewed.
    """

    def __init__(
        self, outbox: Outbox, publisher: Publisher, clock: Clock, holder: str, lease: timedelta = timedelta(seconds=10)
    ) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._clock = clock
        self._holder = holder
        self._lease = lease
        self._places = asyncio.Semaphore(GROUPS_AT_ONCE)
        self._seen = 0

    async def run(self) -> None:
        """Publish until cancelled; an outage of the queue or the store only delays."""
        failures = 0
        while True:
            try:
                published = await self.publish_pending()
            except (BrokerError, StoreError) as error:
                pause = PAUSES_SECONDS[min(failures, len(PAUSES_SECONDS) - 1)]
                failures += 1
                log.warning("status events wait", reason=str(error), retry_in_seconds=pause)
                await self._clock.sleep(pause)
                continue
            failures = 0
            if not published:
                await self._wait()

    async def drain(self, seconds: float) -> None:
        """Publish what is committed, for at most so long; what is left is published by the next start."""
        try:
            await self._clock.wait_for(self._publish_all(), seconds)
            await self._outbox.release_lease(LEASE_NAME, holder=self._holder)
        except (BrokerError, StoreError, TimeoutError) as error:
            log.warning("status events are left for the next start", reason=str(error))

    async def publish_pending(self) -> int:
        """Publish one page of events; returns how many, 0 also while another replica relays.

        Raises:
            BrokerError: The queue did not take an event; those before it in its group were published.
            StoreError: The store does not answer.
        """
        now = self._clock.now()
        held = await self._outbox.acquire_lease(LEASE_NAME, holder=self._holder, lease=self._lease, now=now)
        if not held:
            return 0
        pending = await self._outbox.pending(PAGE)
        if not pending:
            return 0
        self._seen = max(self._seen, pending[-1].position)
        ordered = sorted(pending, key=lambda stored: (stored.event.privacy_group_id, stored.sequence))
        groups = [list(events) for _, events in groupby(ordered, key=lambda stored: stored.event.privacy_group_id)]
        results = await asyncio.gather(*(self._publish_group(events) for events in groups))
        done = [position for positions, _ in results for position in positions]
        if done:
            await self._outbox.mark_published(done, at=self._clock.now())
        failure = next((error for _, error in results if error is not None), None)
        if failure is not None:
            raise failure
        return len(done)

    async def _publish_all(self) -> None:
        while await self.publish_pending():
            pass

    async def _publish_group(self, events: Sequence[StoredEvent]) -> tuple[list[int], BrokerError | None]:
        done: list[int] = []
        async with self._places:
            for stored in events:
                body = text_of(stored).encode()
                try:
                    await self._publisher.publish(stored.event.type.value, stored.event_id, body)
                except BrokerError as error:
                    return done, error
                done.append(stored.position)
        return done, None

    async def _wait(self) -> None:
        try:
            await self._clock.wait_for(self._outbox.wait_for_events(self._seen, IDLE_SECONDS), IDLE_SECONDS)
        except TimeoutError:
            return
        except StoreError as error:
            log.warning("store does not answer", reason=str(error))
            await self._clock.sleep(1.0)
