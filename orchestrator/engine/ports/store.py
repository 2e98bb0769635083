"""The durable record of changes, as the engine needs it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from orchestrator.access.audit import AuditEntry
from orchestrator.engine.ports.records import AdditionRecord, ChangeHistory, ChangeList, HistoryEntry
from orchestrator.membership.attempt import Attempt
from orchestrator.membership.model import Change
from orchestrator.membership.news.status import StatusEvent


class StoreError(Exception):
    """The store could not do a unit of work; nothing of it was committed.

    Attributes:
        passing: Whether trying again may help.
    """

    passing = True


class LeaseLostError(StoreError):
    """The lane is not ours any more: another replica took it over. Stop at once; it goes on from the last commit."""

    passing = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Acceptance:
    """What became of a request.

    Attributes:
        change: The change: new, or the one that the same request made before.
        duplicate: Whether it had been accepted before.
    """

    change: Change
    duplicate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A claimed lane: the right to act on one group until the lease is over.

    Attributes:
        privacy_group_id: The group.
        token: Fencing token; every write names it, and one that is not the newest is refused.
        active: Changes of the group that are neither resting nor ended, the lead first.
        queued: Changes that may start now, oldest first (a bounded number).
        source: Who asked for what made it due.
    """

    privacy_group_id: str
    token: int
    active: tuple[Change, ...]
    queued: tuple[Change, ...]
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One unit of work: all of it is committed, or nothing.

    Attributes:
        changes: Changes as they are after the step.
        attempts: (change id, attempt) pairs that are new or changed.
        events: Status events, in order.
        history: What happened.
    """

    changes: tuple[Change, ...]
    attempts: tuple[tuple[str, Attempt], ...] = ()
    events: tuple[StatusEvent, ...] = ()
    history: tuple[HistoryEntry, ...] = ()


Amendment = Callable[[Change], Record]
"""Makes the record of an operator's request from the change as it is in the same transaction; may raise.

It may be called more than once, of which one record is committed, and not on the event loop's thread.
"""


class Amender(Protocol):
    """Commits what operators ask. May raise `StoreError`."""

    async def amend(self, change_id: str, amendment: Amendment, audit: AuditEntry | None = None) -> Change:
        """Commit an operator's request; who works on the change loses its lane and takes the change up anew.

        Args:
            change_id: The change.
            amendment: Makes the record of it.
            audit: The entry of the audit log, committed with it; what it is about is filled in.

        Raises:
            KeyError: No such change.
        """


class ChangeStore(AdditionRecord, ChangeHistory, ChangeList, Amender, Protocol):
    """The durable record of changes; its parts are in `record_ports`. Every method may raise `StoreError`."""

    async def accept(
        self,
        change: Change,
        body_hash: str,
        events: Sequence[StatusEvent],
        *,
        source: str = "",
        asker: str = "",
        audit: AuditEntry | None = None,
    ) -> Acceptance:
        """Store a new change with its events, unless its request is known: the same id of the same source and asker.

        Args:
            change: The change.
            body_hash: Hash of what is asked for.
            events: Its first status events.
            source: Who asks, as the request says.
            asker: Who asks, as was proven; empty where nothing is asked for a proof. Where it is known it counts
                instead of the source in what is shared out among askers.
            audit: The entry of the audit log for it, committed with it; none is made for a request that is known.

        Raises:
            ConflictingRequestError: The request is known with another body hash.
        """

    async def unfinished(self) -> Mapping[tuple[str, str], int]:
        """Return how many changes are neither ended nor parked, by source and account."""

    async def probe(self) -> None:
        """Make sure that the store takes a write now; raises `StoreError` when it does not."""

    async def announce(self, events: Sequence[StatusEvent], audit: AuditEntry | None = None) -> None:
        """Store events that belong to no change, and the entry of the audit log for them."""

    async def claim(
        self,
        *,
        holder: str,
        lease: timedelta,
        limit: int,
        now: datetime,
        held: Mapping[str, int] | None = None,
        most_of_source: int | None = None,
        able: bool = True,
    ) -> tuple[Lane, ...]:
        """Take up to `limit` lanes that have something to do and that nobody holds; of all, this holder's share.

        Args:
            holder: Who takes them.
            lease: For how long.
            limit: How many at most.
            now: The present time.
            held: How many of each source this holder has: who has the fewest is served first, of one source the lanes
                due longest.
            most_of_source: How many of one source it may have, those held included; None for no bound.
            able: Whether this holder can work; if not, it takes what others leave for as long as a lease lasts.
        """

    async def others(self, *, holder: str, now: datetime) -> int:
        """Return how many replicas there are beside this one that can work, as they say themselves."""

    async def forget(self, *, name: str) -> frozenset[str]:
        """Give back what the earlier lives of a name, or one holder, left held, and return the groups of its lanes.

        For the start of a process that has the name alone, and for the end of one.
        """

    async def renew(
        self, *, holder: str, lease: timedelta, now: datetime, groups: Collection[str] | None = None
    ) -> frozenset[str]:
        """Prolong a holder's leases, all or those on `groups`; returns those of them that it still holds.

        A lane that is not worked on any more should not be among `groups`: its lease then runs out.
        """

    async def holds(self, lane: Lane) -> bool:
        """Return whether a lane is still ours: for what can't be taken back, such as a broadcast."""

    async def release(self, lane: Lane, *, now: datetime) -> None:
        """Give a lane back; it is due again when one of its changes is. Does nothing when it is not ours any more."""

    async def load(self, lane: Lane, *, now: datetime) -> Lane:
        """Return the same lane with its changes as they are now (new ones may have been queued)."""

    async def record(self, lane: Lane, record: Record) -> None:
        """Commit one step.

        Raises:
            LeaseLostError: The lane's token is not the newest, or a change is not at the revision before this step
                (an operator amended it meanwhile); release the lane and claim it anew.
        """

    async def locks(self, privacy_group_id: str) -> tuple[Attempt, ...]:
        """Return the newest locks that were signed for a group, newest first (a bounded number)."""

    async def next_due(self) -> datetime | None:
        """Return when the next unheld lane is due; None when none is."""

    async def wait_for_work(self, seconds: float) -> None:
        """Return when a change was accepted or a lane came due by another's doing, at the latest after so long."""
