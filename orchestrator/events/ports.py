"""What publishing and subscribing need of the store and of the message queue, as protocols.

The adapters fulfil them by shape: none imports this package. Every method of `Outbox` may raise
`orchestrator.engine.ports.store.StoreError`, every publisher `orchestrator.engine.ports.queues.BrokerError`; both mean
"try again".
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.engine.ports.records import RecordedEvent, WorkLeases


class StoredEvent(RecordedEvent, Protocol):
    """One status event as the outbox holds it; see `Outbox` for what readers may rely on."""

    @property
    def event_id(self) -> str:
        """Unique among all stores; the CloudEvents id, and the id by which the message queue drops duplicates."""

    @property
    def former_id(self) -> str:
        """The id that it had before stores had names: different events of two stores may have had the same."""

    @property
    def source(self) -> str:
        """The CloudEvents source: an absolute URI that names the store, or what the configuration says."""

    @property
    def sequence(self) -> int:
        """Place in the order of its group's events, from 1 without gaps (the empty group id counts as a group)."""


class Checkpoint(Protocol):
    """How far one reader has come."""

    @property
    def position(self) -> int:
        """Everything up to and including this position is done; 0 for nothing."""

    @property
    def failures(self) -> int:
        """Failures in a row at the next position."""

    @property
    def paused_since(self) -> datetime | None:
        """When it was paused; None while it runs."""

    @property
    def detail(self) -> str:
        """What was seen last, for a person."""


class Swept(Protocol):
    """What became of some events that were looked at, to be deleted."""

    @property
    def deleted(self) -> int:
        """How many were deleted."""

    @property
    def through(self) -> int | None:
        """The last position that was looked at; None when no more are old enough."""


class Outbox(WorkLeases, Protocol):
    """The durable status events, in the order in which they were committed.

    Positions become visible in their order: when a reader has seen position *p*, no event with a smaller position
    appears later. (On a database whose transactions overlap, the positions have to be given out under a lock that is
    held until the commit.) Within a group, positions and sequences rise together.
    """

    async def pending(self, limit: int, without: Sequence[str] = ()) -> Sequence[StoredEvent]:
        """Return the first unpublished events, by position, but none of some groups.

        What can't be read is set aside by the outbox, which tells of it: it stands in nobody's way.
        """

    async def oldest_unpublished(self) -> datetime | None:
        """Return when the first unpublished event was committed; None when all are published."""

    async def mark_published(self, positions: Sequence[int], *, at: datetime) -> None:
        """Mark events as published (again does no harm)."""

    async def after(
        self,
        position: int,
        *,
        limit: int,
        privacy_group_id: str | None = None,
        change_id: str | None = None,
        types: Sequence[str] = (),
    ) -> Sequence[StoredEvent]:
        """Return the next events behind a position, by position, whether published or not.

        Args:
            position: Read on behind this one; 0 for the beginning.
            limit: At most so many.
            privacy_group_id: Only events of this group.
            change_id: Only events of this change.
            types: Only events of these types; empty for all.
        """

    async def last_position(self) -> int:
        """Return the newest position that is visible; 0 when there was never an event.

        It stays when the newest events are deleted.
        """

    async def deleted_through(self) -> int:
        """Return the newest position that retention deleted (0 for none): a reader who resumes before it lost events.

        Events that were thinned out by type (see `delete_published`) do not count.
        """

    async def wait_for_events(self, position: int, seconds: float) -> None:
        """Return once an event behind `position` may be visible, at the latest after so many seconds.

        Commits of this process are noticed at once, those of other replicas as the database allows. Any number of
        readers may wait at the same time.
        """

    async def release_lease(self, name: str, *, holder: str) -> None:
        """Give the right back; does nothing when it is not held."""

    async def checkpoint(self, name: str) -> Checkpoint | None:
        """Return a reader's checkpoint; None when it never saved one."""

    async def save_checkpoint(
        self, name: str, *, position: int, failures: int = 0, paused_since: datetime | None = None, detail: str = ""
    ) -> None:
        """Store a reader's checkpoint."""

    async def delete_published(
        self,
        *,
        before: datetime,
        now: datetime,
        after: int,
        through_position: int,
        types: Sequence[str] = (),
        limit: int = 1000,
    ) -> Swept:
        """Delete those of the next events that are published and committed before a time, in one transaction.

        Args:
            before: Only events older than this.
            now: The present time: events are looked at up to where all are of between these two.
            after: The position behind which it is looked; thinning begins where it ended the last time.
            through_position: Only events up to this position.
            types: Only events of these types (thinning out); empty for all (retention).
            limit: So many are looked at.
        """


class Publisher(Protocol):
    """Publishes status events on a message queue."""

    async def publish(self, event_type: str, event_id: str, body: bytes) -> None:
        """Publish one event and return when the queue has stored it.

        Args:
            event_type: Its CloudEvents type; becomes the end of the subject.
            event_id: Its id, for the queue's removal of duplicates.
            body: The CloudEvents JSON document.

        Raises:
            UnfitMessageError: The queue will never take this very event.
            BrokerError: It is not known to be stored; publish it again.
        """
