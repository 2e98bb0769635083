"""The feed: status events for subscribers of this process, as they are committed.

One reader follows the outbox and hands each event to those who want it, through a bounded buffer each. Who resumes
reads from the outbox until it has caught up. A subscriber that does not keep up is ended and may resume behind the last
event that it got; it never holds up the reader, the lanes or other subscribers.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.queues import FeedClosedError
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.isolation import contained
from orchestrator.events.documents.envelope import text_of
from orchestrator.events.ports import Outbox, StoredEvent

BATCH: Final = 256
BUFFER: Final = 1000
POLL_SECONDS: Final = 1.0
"""How often is looked for what other processes commit where the store tells nothing of it."""
RETRY_SECONDS: Final = 1.0
OLDEST: Final = "0"

_LONGEST_ID: Final = 18
_STOPS: Final = "the daemon stops; resume when it is back"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedItem:
    """One status event as subscribers get it.

    Attributes:
        resume_id: What a subscriber names to go on behind it.
        event_type: Its CloudEvents type.
        text: The CloudEvents JSON document, on one line.
    """

    resume_id: str
    event_type: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filter:
    privacy_group_id: str | None
    within: Collection[str] | None
    change_id: str | None
    types: frozenset[str]

    def wants(self, stored: StoredEvent) -> bool:
        event = stored.event
        return (
            (self.privacy_group_id is None or event.privacy_group_id == self.privacy_group_id)
            and (self.within is None or event.privacy_group_id in self.within)
            and (self.change_id is None or event.change_id == self.change_id)
            and (not self.types or event.type.value in self.types)
        )


class _Subscriber:
    """A bounded buffer and what goes into it."""

    def __init__(self, wanted: _Filter, limit: int) -> None:
        self.wanted = wanted
        self._limit = limit
        self._items: list[FeedItem] = []
        self._arrived = asyncio.Event()
        self.ended: str | None = None

    def offer(self, item: FeedItem) -> bool:
        """Buffer an item; False when there is no room, which ends the subscription."""
        # Ended and not skipped: a gap that nobody is told of is worse than a resumption.
        if len(self._items) >= self._limit:
            self.end(f"this subscriber is more than {self._limit} events behind; resume behind the last one received")
            return False
        self._items.append(item)
        self._arrived.set()
        return True

    def end(self, why: str) -> None:
        """End the subscription when what is buffered was taken."""
        self.ended = self.ended or why
        self._arrived.set()

    async def take(self) -> list[FeedItem]:
        """Wait for what is buffered and take it all; empty when the subscription is ended."""
        while not self._items and self.ended is None:
            self._arrived.clear()
            await self._arrived.wait()
        items, self._items = self._items, []
        return items


class EventFeed:
    """Status events of this daemon's store; `run` must run while there are subscribers.

    Args:
        outbox: The durable events.
        clock: Time.
        buffer: How many events a subscriber may be behind.
        poll_seconds: How often is looked for events that nothing was heard of.
    """

    def __init__(self, outbox: Outbox, clock: Clock, buffer: int = BUFFER, poll_seconds: float = POLL_SECONDS) -> None:
        self._outbox = outbox
        self._clock = clock
        self._buffer = buffer
        self._poll_seconds = poll_seconds
        self._position: int | None = None
        self._started = asyncio.Event()
        self._subscribers: set[_Subscriber] = set()
        self._stopped = False

    @property
    def subscribers(self) -> int:
        """How many are subscribed and have caught up."""
        return len(self._subscribers)

    async def run(self) -> None:
        """Follow the outbox until cancelled; then all subscriptions end."""
        try:
            while True:
                with contained("feed") as following:
                    try:
                        await self._follow()
                    except StoreError as error:
                        _log.warning("the store does not answer, subscribers wait", reason=str(error))
                        await self._clock.sleep(RETRY_SECONDS)
                if following.error is not None:
                    await self._clock.sleep(RETRY_SECONDS)
        finally:
            self._stopped = True
            for subscriber in self._subscribers:
                subscriber.end(_STOPS)

    async def subscribe(
        self,
        *,
        resume_id: str | None,
        privacy_group_id: str | None = None,
        within: Collection[str] | None = None,
        change_id: str | None = None,
        types: Sequence[str] = (),
    ) -> AsyncIterator[FeedItem]:
        """Yield status events until the reader stops or falls behind; see `EventFeed` of `api.ports.changes`.

        Raises:
            ValueError: `resume_id` is no id of an event.
            FeedClosedError: The reader fell behind, asked for deleted events, or the daemon stops.
            StoreError: The store did not answer while it was caught up with.
        """
        wanted = _Filter(privacy_group_id=privacy_group_id, within=within, change_id=change_id, types=frozenset(types))
        # Checked before the first event goes out: an answer that has begun can't be refused any more.
        position = None if resume_id is None else await self._checked(resume_id)
        await self._started.wait()
        if position is not None:
            async for stored, scanned in self._catch_up(position, wanted):
                if stored is not None:
                    yield _item(stored)
                position = scanned
        # Nothing is awaited between the end of catching up and here, so that no event falls between the two.
        subscriber = _Subscriber(wanted, self._buffer)
        self._subscribers.add(subscriber)
        if self._stopped:
            subscriber.end(_STOPS)
        try:
            while items := await subscriber.take():
                for item in items:
                    if position is None or int(item.resume_id) > position:
                        yield item
            raise FeedClosedError(subscriber.ended)
        finally:
            self._subscribers.discard(subscriber)

    async def _checked(self, resume_id: str) -> int:
        if not (resume_id.isascii() and resume_id.isdigit() and len(resume_id) <= _LONGEST_ID):
            raise ValueError(
                f"{resume_id[:_LONGEST_ID]!r} is no id of an event: give the id that came with one, or {OLDEST}"
            )
        position = int(resume_id)
        # Who resumes behind what was deleted has missed something and is told, not served the rest.
        if resume_id != OLDEST and position < await self._outbox.deleted_through():
            raise FeedClosedError(
                f"events behind {resume_id} are deleted already; resume from {OLDEST} for the oldest that is kept",
                resume_id=OLDEST,
            )
        # An id of another store, or of this one before it was restored.
        if position > await self._outbox.last_position():
            raise FeedClosedError(
                f"there is no event {resume_id} yet: it is from another store; resume from {OLDEST}", resume_id=OLDEST
            )
        return position

    async def _catch_up(self, position: int, wanted: _Filter) -> AsyncIterator[tuple[StoredEvent | None, int]]:
        """Yield stored events and how far was read, until that is as far as the live reader."""
        while True:
            head = self._position or 0
            found = await self._outbox.after(
                position,
                limit=BATCH,
                privacy_group_id=wanted.privacy_group_id,
                change_id=wanted.change_id,
                types=sorted(wanted.types),
            )
            for stored in found:
                position = stored.position
                yield stored if wanted.wants(stored) else None, position
            if len(found) < BATCH:
                # Everything up to where the live reader was before this read has been seen.
                position = max(position, head)
                yield None, position
                if position >= (self._position or 0):
                    return

    async def _follow(self) -> None:
        if self._position is None:
            self._position = await self._outbox.last_position()
            self._started.set()
        # First, so that a feed that waits reads one number; what is found behind it is all that there was up to it.
        newest = await self._outbox.last_position()
        found = await self._outbox.after(self._position, limit=BATCH) if newest > self._position else ()
        for stored in found:
            with contained("event", position=stored.position):
                self._hand_out(stored)
            self._position = stored.position
        if not found:
            self._position = max(self._position, newest)  # behind events that can't be read, or nothing is waited for
            with suppress(TimeoutError):
                seconds = self._poll_seconds
                await self._clock.wait_for(self._outbox.wait_for_events(self._position, seconds), seconds)

    def _hand_out(self, stored: StoredEvent) -> None:
        item: FeedItem | None = None
        for subscriber in tuple(self._subscribers):
            if subscriber.wanted.wants(stored):
                item = item or _item(stored)
                # It is not waited for: one slow reader would hold up all.
                if not subscriber.offer(item):
                    self._subscribers.discard(subscriber)


def _item(stored: StoredEvent) -> FeedItem:
    return FeedItem(resume_id=str(stored.position), event_type=stored.event.type.value, text=text_of(stored))
