"""Subscriptions over HTTP: each subscriber reads the stored events at its own pace.

Nothing is kept in memory for a subscriber but one page: one that reads slowly is behind, and holds up nobody. Where it
is in the order of all events is its resume id, so a subscriber that comes back goes on where it was.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.engine.ports import Clock, FeedClosedError
from orchestrator.events.envelope import text_of
from orchestrator.events.ports import Outbox

PAGE: Final = 100
IDLE_SECONDS: Final = 15.0


@dataclass(frozen=True, slots=True)
class FedEvent:
    """One status event as a subscriber gets it.

    Attributes:
        resume_id: What the subscriber names to go on behind this event.
        event_type: Its CloudEvents type.
        text: The CloudEvents document, JSON on one line.
    """

    resume_id: str
    event_type: str
    text: str


class EventFeed:
    """Status events as they are committed.

    Args:
        outbox: Where they are.
        clock: Time.
    """

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox = outbox
        self._clock = clock

    async def subscribe(
        self,
        *,
        resume_id: str | None,
        privacy_group_id: str | None = None,
        change_id: str | None = None,
        types: Sequence[str] = (),
    ) -> AsyncIterator[FedEvent]:
        """Yield status events, for ever.

        Args:
            resume_id: Go on behind this event; ``"0"`` for the oldest that is kept; None for only new ones.
            privacy_group_id: Only events of this group.
            change_id: Only events of this change.
            types: Only events of these types; empty for all.

        Raises:
            ValueError: `resume_id` is none.
            FeedClosedError: Events behind `resume_id` are deleted already.
            StoreError: The store does not answer.
        """
        position = await self._start(resume_id)
        while True:
            # Read before looking for events: what is committed in between is then waited for in vain at most once.
            newest = await self._outbox.last_position()
            page = await self._outbox.after(
                position, limit=PAGE, privacy_group_id=privacy_group_id, change_id=change_id, types=types
            )
            for stored in page:
                position = stored.position
                yield FedEvent(str(position), stored.event.type.value, text_of(stored))
            if len(page) < PAGE:
                position = max(position, newest)
                await self._outbox.wait_for_events(position, IDLE_SECONDS)

    async def _start(self, resume_id: str | None) -> int:
        if resume_id is None:
            return await self._outbox.last_position()
        if not resume_id.isascii() or not resume_id.isdigit() or len(resume_id) > 18:
            raise ValueError(f"{resume_id[:40]!r} is no resume id: use the id of an event that was received, or 0")
        position = int(resume_id)
        deleted = await self._outbox.deleted_through()
        if 0 < position < deleted:
            raise FeedClosedError(f"events up to {deleted} are deleted; go on from 0 for the oldest that is kept")
        return position
