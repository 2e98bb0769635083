"""Webhooks: status events posted to addresses, in order, each until it was taken, signed with a shared secret.

Each endpoint has a checkpoint of its own and never holds up another. One that fails again and again is paused: then it
is tried only now and then, until it takes an event again.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.isolation import contained
from orchestrator.events.ports import Outbox, StoredEvent
from orchestrator.events.webhooks.control import Wish, checkpoint_name, save_wish, wish_for
from orchestrator.events.webhooks.delivery import Delivery, DeliveryError, Endpoint, delivery_session
from orchestrator.membership.retry import doubled

LEASE: Final = timedelta(seconds=60)
BATCH: Final = 50
POLL_SECONDS: Final = 1.0
STORE_RETRY_SECONDS: Final = 2.0
STOPPED_SECONDS: Final = 5.0
"""How often a webhook that waits, or that an operator stopped, looks whether it shall go on."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Persistence:
    """How often and for how long an endpoint is tried.

    Attributes:
        timeout_seconds: Bound of one post.
        first_pause_seconds: Pause after the first failure; each further one is twice as long.
        longest_pause_seconds: Bound of those.
        failures_before_pause: After so many in a row the endpoint is paused.
        paused_seconds: A paused endpoint is tried once in so long.
    """

    timeout_seconds: float = 10.0
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 300.0
    failures_before_pause: int = 15
    paused_seconds: float = 900.0

    def pause_seconds(self, failures: int) -> float:
        """Return how long to wait after so many failures in a row."""
        return doubled(self.first_pause_seconds, failures - 1, self.longest_pause_seconds)


class Webhooks:
    """Posts the outbox to all endpoints.

    Args:
        outbox: The durable events.
        endpoints: Where to post.
        clock: Time.
        holder: Name of this replica, unique among them; of several, one posts to each endpoint.
        persistence: How often to try.
    """

    def __init__(
        self,
        outbox: Outbox,
        endpoints: Sequence[Endpoint],
        clock: Clock,
        holder: str,
        persistence: Persistence | None = None,
    ) -> None:
        self._outbox = outbox
        self._endpoints = tuple(endpoints)
        self._clock = clock
        self._holder = holder
        self._persistence = persistence or Persistence()

    async def run(self) -> None:
        """Post until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for endpoint in self._endpoints:
                tasks.create_task(self._serve(endpoint))

    async def _serve(self, endpoint: Endpoint) -> None:
        async with delivery_session(endpoint, self._persistence.timeout_seconds) as session:
            delivery = Delivery(endpoint, session, self._clock)
            lane = _EndpointLane(endpoint, delivery, self._outbox, self._clock, self._holder, self._persistence)
            while True:
                with contained("webhook", webhook=endpoint.name) as posting:
                    try:
                        await lane.work_once()
                    except StoreError as error:
                        _log.warning("webhook waits for the store", webhook=endpoint.name, reason=str(error))
                        await self._clock.sleep(STORE_RETRY_SECONDS)
                if posting.error is not None:
                    await self._clock.sleep(STORE_RETRY_SECONDS)


class _EndpointLane:
    """One endpoint's way through the outbox."""

    def __init__(
        self,
        endpoint: Endpoint,
        delivery: Delivery,
        outbox: Outbox,
        clock: Clock,
        holder: str,
        persistence: Persistence,
    ) -> None:
        self._endpoint = endpoint
        self._delivery = delivery
        self._outbox = outbox
        self._clock = clock
        self._holder = holder
        self._persistence = persistence
        self._name = checkpoint_name(endpoint.name)

    async def work_once(self) -> None:
        """Post what there is, or wait for it."""
        now = self._clock.now()
        if not await self._outbox.acquire_lease(self._name, holder=self._holder, lease=LEASE, now=now):
            # Another replica posts: looked at again well before its lease could end.
            await self._clock.sleep(LEASE.total_seconds() / 3)
            return
        wish = await wish_for(self._outbox, self._endpoint.name)
        if wish.position is not None:
            # Written here and not by who wishes: only the holder of the lease moves the checkpoint.
            await self._outbox.save_checkpoint(self._name, position=wish.position)
            await save_wish(self._outbox, self._endpoint.name, Wish(stopped_since=wish.stopped_since))
        if wish.stopped_since is not None:
            await self._clock.sleep(STOPPED_SECONDS)
            return
        known = await self._outbox.checkpoint(self._name)
        newest = await self._outbox.last_position()
        if known is None:
            # A new endpoint hears of what happens from now on.
            await self._outbox.save_checkpoint(self._name, position=newest)
            return
        events = await self._outbox.after(known.position, limit=BATCH, types=self._endpoint.types)
        if events:
            await self._post_all(events, known.position, known.failures, known.paused_since)
            return
        if newest > known.position:
            # None of the newer ones is for this endpoint: retention and lag are measured by the checkpoint.
            await self._outbox.save_checkpoint(self._name, position=newest)
        with suppress(TimeoutError):
            await self._clock.wait_for(self._outbox.wait_for_events(newest, POLL_SECONDS), POLL_SECONDS)

    async def _post_all(
        self, events: Sequence[StoredEvent], position: int, failures: int, paused_since: datetime | None
    ) -> None:
        done = position
        began = self._clock.now()
        try:
            for stored in events:
                # One after the other: an endpoint is promised the order of the outbox.
                await self._delivery.post(stored)
                done, failures, paused_since = stored.position, 0, None
                # The rest in the next turn, which renews the lease: a slow endpoint must not be posted to by two
                # replicas.
                if self._delivery.spacing_seconds or self._clock.now() - began > LEASE / 3:
                    break
        except DeliveryError as error:
            await self._failed(error, done, failures + 1, paused_since)
        else:
            await self._outbox.save_checkpoint(self._name, position=done)
            await self._wait_holding(self._delivery.spacing_seconds)

    async def _failed(self, error: DeliveryError, position: int, failures: int, paused_since: datetime | None) -> None:
        # Gone is paused and not given up: 410 may come from something in front of the endpoint, and events are kept
        # meanwhile.
        if paused_since is None and (error.gone or failures >= self._persistence.failures_before_pause):
            paused_since = self._clock.now()
            _log.warning("webhook is paused", webhook=self._endpoint.name, failures=failures, reason=str(error))
        await self._outbox.save_checkpoint(
            self._name, position=position, failures=failures, paused_since=paused_since, detail=str(error)[:500]
        )
        seconds = (
            self._persistence.pause_seconds(failures) if paused_since is None else self._persistence.paused_seconds
        )
        # Never sooner than we would by ourselves: an endpoint that says "at once" while it fails asks for a flood.
        seconds = max(seconds, error.again_in_seconds)
        _log.info("webhook did not take an event", webhook=self._endpoint.name, reason=str(error), again_in=seconds)
        await self._wait_holding(seconds)

    async def _wait_holding(self, seconds: float) -> None:
        """Wait, and keep the lease: another replica would try at once. An operator's wish ends it."""
        while seconds > 0:
            await self._clock.sleep(min(STOPPED_SECONDS, seconds))
            seconds -= STOPPED_SECONDS
            await self._outbox.acquire_lease(self._name, holder=self._holder, lease=LEASE, now=self._clock.now())
            if await wish_for(self._outbox, self._endpoint.name) != Wish():
                return
