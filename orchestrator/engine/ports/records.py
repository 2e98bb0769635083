"""Parts of the durable record, as protocols: who needs a part asks for no more. The whole is `ports.ChangeStore`.

Every method may raise `StoreError`, which means "try again".
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from orchestrator.membership.attempt import Attempt
from orchestrator.membership.forecast.durations import Quantity
from orchestrator.membership.model import Change, State
from orchestrator.membership.news.status import StatusEvent

MOST_GROUPS: Final = 200_000
"""Groups of one store, in a list that is bounded by memory only: what looks after all groups must leave none out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeFilter:
    """Which changes are meant.

    Attributes:
        privacy_group_id: Only this group's; None for all.
        within: Only these groups'; None for all.
        states: Only these states; none for all.
        prefix: Only those whose id begins so: letters and digits.
        request_id: Only those that were asked for under this id, by whomever; empty for all.
    """

    privacy_group_id: str | None = None
    within: Collection[str] | None = None
    states: tuple[State, ...] = ()
    prefix: str = ""
    request_id: str = ""


EVERY_CHANGE: Final = ChangeFilter()


class ChangeList(Protocol):
    """Lists changes."""

    async def changes(
        self, wanted: ChangeFilter = EVERY_CHANGE, *, limit: int = 100, before: str = ""
    ) -> tuple[Change, ...]:
        """Return changes, newest first.

        Args:
            wanted: Which.
            limit: How many at most.
            before: The id of the change to go on after, one of those that are wanted; empty to begin with the newest.
        """


async def newest_success(store: ChangeList, privacy_group_id: str) -> tuple[Change, ...]:
    """Return the newest change that succeeded in a group, if any; may raise `StoreError`."""
    return await store.changes(ChangeFilter(privacy_group_id=privacy_group_id, states=(State.SUCCEEDED,)), limit=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One step of a change, for the question why it is where it is.

    Attributes:
        change_id: The change.
        revision: The change's revision after the step.
        at: When.
        fact: Name of the fact's type.
        from_state: State before.
        to_state: State after.
        detail: What was seen, for a person.
    """

    change_id: str
    revision: int
    at: datetime
    fact: str
    from_state: State
    to_state: State
    detail: str = ""


class Announcer(Protocol):
    """Takes what is to be told of no change in particular."""

    async def announce(self, events: Sequence[StatusEvent]) -> None:
        """Store events that belong to no change."""


class GroupRecord(Announcer, Protocol):
    """Knows the groups that were worked on."""

    async def groups(self, *, limit: int = MOST_GROUPS) -> tuple[str, ...]:
        """Return the ids of groups that a change succeeded in."""


class AdditionRecord(GroupRecord, Protocol):
    """Knows our own additions."""

    async def is_ours(self, pmt_hash: str) -> bool:
        """Return whether a marker is of one of our newest additions."""


class OwnAdditions(Protocol):
    """Knows which groups our own additions were made to."""

    async def groups_of_additions(self, pmt_hashes: Collection[str]) -> Mapping[str, str]:
        """Return by marker the groups of those additions that are our own."""


class ChangeHistory(Protocol):
    """What became of changes."""

    async def change(self, change_id: str) -> Change | None:
        """Return a change."""

    async def history(self, change_id: str) -> tuple[HistoryEntry, ...]:
        """Return what happened to a change, oldest first."""

    async def attempts(self, change_id: str) -> tuple[Attempt, ...]:
        """Return the attempts of a change (of its lead, for a follower), oldest first."""


class RecordedEvent(Protocol):
    """One stored status event."""

    @property
    def position(self) -> int:
        """Place in the order of all events, from 1."""

    @property
    def at(self) -> datetime:
        """When it was committed, UTC."""

    @property
    def event(self) -> StatusEvent:
        """What happened."""


class WorkLeases(Protocol):
    """Named works of which one replica does each."""

    async def acquire_lease(self, name: str, *, holder: str, lease: timedelta, now: datetime) -> bool:
        """Take or prolong the right to do a named work alone; False while another holder's lease lasts."""


class EventRecord(WorkLeases, Protocol):
    """What was told."""

    async def after(self, position: int, *, limit: int, types: Sequence[str] = ()) -> Sequence[RecordedEvent]:
        """Return the next events of some types behind a position; of all types where none is named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditionTime:
    """One thing that was forecast or measured of an addition.

    Attributes:
        change_id: The change.
        quantity: What.
        enclave_key: The new member that replays; empty for what the sender does.
        node: Name of the node that does it.
        besu_version: Its line, "23.10.3".
        transactions: Private transactions in question.
        blocks: Blocks that the group was locked for; 0 for other things.
        expected_seconds: What was forecast; None when it was not.
        taken_seconds: What it took; None before it is over.
        at: When this was noted.
    """

    change_id: str
    quantity: Quantity
    enclave_key: str
    node: str
    besu_version: str
    transactions: int
    blocks: int = 0
    expected_seconds: float | None = None
    taken_seconds: float | None = None
    at: datetime


class TimeStore(Protocol):
    """The durable record of what additions took."""

    async def keep(self, times: Sequence[AdditionTime]) -> None:
        """Keep these, in place of those of the same change, quantity and member."""

    async def newest(self, node: str, besu_version: str, quantity: Quantity, limit: int) -> tuple[AdditionTime, ...]:
        """Return what was measured last on a node of a line, newest first."""

    async def of_change(self, change_id: str) -> tuple[AdditionTime, ...]:
        """Return what is kept of a change, in the order of quantities and members."""
