"""What the HTTP API needs of the rest of the daemon, as protocols; the composition root passes the parts in."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from prometheus_client import CollectorRegistry

from orchestrator.access.callers import Caller
from orchestrator.api.ports.callers import AccessTokens, AuditLog
from orchestrator.api.ports.forecasts import ForecastReader
from orchestrator.api.ports.overview import OverviewReader
from orchestrator.api.ports.webhooks import WebhookControl
from orchestrator.engine.archives.whole_changes import ChangeVersion, WholeChange
from orchestrator.engine.intake.requests import ChangeRequest
from orchestrator.engine.ports.records import EVERY_CHANGE, ChangeFilter, ChangeList
from orchestrator.engine.ports.store import Acceptance, Amender


class RequestIntake(Protocol):
    """Takes requests; fulfilled by `orchestrator.engine.intake.intake.Intake`."""

    async def submit(self, request: ChangeRequest, caller: Caller) -> Acceptance:
        """Accept a request.

        Raises:
            ForbiddenError: It lies outside the caller's scope.
            InvalidRequestError: It names an account or a group that there is not.
            ConflictingRequestError: Its source and id are known with another body.
            TooManyUnfinishedError: Its source or account has as many unfinished changes as it may.
            StoreError: It could not be stored.
        """


class ChangeRecord(ChangeList, Amender, Protocol):
    """Reads changes and amends resting ones; part of `engine.ports.store.ChangeStore`. May raise `StoreError`."""

    async def version(self, change_id: str) -> ChangeVersion | None:
        """Return which state of a change is stored; None when there is none."""

    async def whole(self, change_id: str) -> WholeChange | None:
        """Return a change with all that belongs to it; None when there is none."""

    async def count(self, wanted: ChangeFilter = EVERY_CHANGE) -> int:
        """Return how many changes are meant."""

    async def groups_asked_for(self, *, limit: int = 10_000) -> tuple[str, ...]:
        """Return the ids of groups that changes were asked for, those with the newest change first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberStanding:
    """One participant as its node shows the group now.

    Attributes:
        enclave_key: The participant.
        node: Name of the configured node that hosts it; None when we have no access to it.
        head: That node's head; None when it does not answer.
        exists: Whether the node has state for the group; None when it does not answer.
        participants: The group's participants there.
        version: The group's version there.
        state_root: The group's state root there, at the block that all answering nodes have.
    """

    enclave_key: str
    node: str | None = None
    head: int | None = None
    exists: bool | None = None
    participants: tuple[str, ...] = ()
    version: str = ""
    state_root: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupStanding:
    """One group as the configured nodes show it.

    Attributes:
        privacy_group_id: base64 of 32 bytes.
        block_number: Block that it was read at; None when no node shows it.
        participants: Enclave keys in the contract's order.
        locked: Whether it is locked; None when no node shows it.
        version: Its version.
        members: One entry for each participant; only when one group is asked for.
        in_sync: Whether all members that can be seen show the same state root and version; None when fewer than two can
            be seen, or when that was not looked at. In a list, False for a group that the audit found to differ.
        unfinished: Ids of changes that have not ended, newest first (a bounded number).
        managed: Whether a change was ever asked for; False for a group that only the nodes know.
    """

    privacy_group_id: str
    block_number: int | None = None
    participants: tuple[str, ...] = ()
    locked: bool | None = None
    version: str = ""
    members: tuple[MemberStanding, ...] = ()
    in_sync: bool | None = None
    unfinished: tuple[str, ...] = ()
    managed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupListing:
    """A page of the known groups.

    Attributes:
        groups: The groups of the page.
        following: The id to go on after; None when this is the last page.
        total: How many groups there are on all pages.
    """

    groups: tuple[GroupStanding, ...]
    following: str | None
    total: int


class GroupReader(Protocol):
    """Reads groups off the nodes; fulfilled by `orchestrator.api.resources.group_reads.FleetGroups`."""

    async def groups(
        self, *, limit: int, after: str = "", prefix: str = "", within: Collection[str] | None = None
    ) -> GroupListing:
        """Return known groups: those with the newest changes first, then those that only the nodes know.

        Args:
            limit: How many, at most.
            after: Id of the group to go on after; empty for the first page.
            prefix: Only those whose id, in base64, begins so.
            within: Only these; None for all.

        Raises:
            KeyError: `after` is none of them.
        """

    async def group(self, privacy_group_id: str) -> GroupStanding | None:
        """Return a group with its members; None when neither a node nor a change knows it."""


class GroupNames(Protocol):
    """What people call groups."""

    async def names(self) -> Mapping[str, str]:
        """Return the groups' ids by name."""

    async def give(self, name: str, privacy_group_id: str) -> str:
        """Let a name stand for a group unless it stands for one already; return the id that it stands for then."""


class FeedEvent(Protocol):
    """One status event as subscribers get it."""

    @property
    def resume_id(self) -> str:
        """What the subscriber names to go on behind this event."""

    @property
    def event_type(self) -> str:
        """Its CloudEvents type."""

    @property
    def text(self) -> str:
        """The CloudEvents JSON document, on one line."""


class EventFeed(Protocol):
    """Status events as they are committed."""

    def subscribe(
        self,
        *,
        resume_id: str | None,
        privacy_group_id: str | None = None,
        within: Collection[str] | None = None,
        change_id: str | None = None,
        types: Sequence[str] = (),
    ) -> AsyncIterator[FeedEvent]:
        """Yield status events, for ever.

        Args:
            resume_id: Go on behind this event; ``"0"`` for the oldest that is kept; None for only new ones.
            privacy_group_id: Only events of this group.
            within: Only events of these groups; None for all, and for those of no group.
            change_id: Only events of this change.
            types: Only events of these types; empty for all.

        Raises:
            ValueError: `resume_id` is none.
            FeedClosedError: see there.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that has to work for the daemon to do its work.

    Attributes:
        name: What was looked at, such as ``store`` or ``node member1``.
        ok: Whether it works.
        required: Whether the daemon is of no use without it.
        detail: What was seen.
    """

    name: str
    ok: bool
    required: bool = True
    detail: str = ""


class Readiness(Protocol):
    """Tells whether the daemon can do its work now."""

    async def checks(self) -> tuple[Check, ...]:
        """Return what was looked at; bounded in time."""


class BuriedMessage(Protocol):
    """A message that could not be accepted."""

    @property
    def letter_id(self) -> str:
        """By which it is replayed."""

    @property
    def reason(self) -> str:
        """Why it could not be accepted."""

    @property
    def body(self) -> bytes:
        """The original bytes."""


class DeadLetters(Protocol):
    """The messages that could not be accepted. May raise `BrokerError`."""

    async def dead_letters(self, limit: int = 100) -> Sequence[BuriedMessage]:
        """Return the oldest dead letters."""

    async def replay(self, letter_id: str) -> None:
        """Put a dead letter back among the triggers.

        Raises:
            KeyError: There is no such dead letter.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServices:
    """Everything that the API talks to.

    Attributes:
        intake: Takes requests.
        changes: Reads changes and amends resting ones.
        groups: Reads groups.
        names: What people call groups.
        nodes: The configured nodes' enclave keys by their name.
        forecasts: Forecasts additions.
        overview: What needs a person, and how the nodes are.
        feed: Status events.
        readiness: What ``/readyz`` answers.
        dead_letters: Messages that could not be accepted.
        webhooks: How far each webhook is.
        tokens: Tokens of callers.
        audit: The audit log.
        metrics: What ``/metrics`` shows.
        now: Returns the present time, timezone-aware UTC.
        documents: Further JSON documents to serve, by path (``/asyncapi.json``): made when they are asked for.
        origins: Addresses (scheme and host, lower case) of proxies whose pages may use the API.
    """

    intake: RequestIntake
    changes: ChangeRecord
    groups: GroupReader
    names: GroupNames
    nodes: Mapping[str, Sequence[str]]
    forecasts: ForecastReader
    overview: OverviewReader
    feed: EventFeed
    readiness: Readiness
    dead_letters: DeadLetters
    webhooks: WebhookControl
    tokens: AccessTokens
    audit: AuditLog
    metrics: CollectorRegistry
    now: Callable[[], datetime]
    documents: Mapping[str, Callable[[], dict[str, Any]]] = field(default_factory=dict)
    origins: tuple[str, ...] = ()
