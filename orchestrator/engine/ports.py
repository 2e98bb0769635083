"""What the engine needs of the world outside, as protocols that the adapters fulfil.

Every method that leaves the process is bounded in time by its adapter; what it raises is `NodeError` (nodes) or
`StoreError` (store), never a library's own exception.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

from orchestrator.membership.model import Action, Attempt, Change, GroupView, State
from orchestrator.membership.reasons import Reason
from orchestrator.membership.status import StatusEvent

T = TypeVar("T")


class NodeError(Exception):
    """A node did not do what was asked.

    Attributes:
        reason: Why, in the words of the rules.
        certain: For sends: True when the node refused before it made a PMT, so that the send can't execute.
    """

    def __init__(self, reason: Reason, *, certain: bool = True) -> None:
        super().__init__(f"{reason.slug}: {reason.detail}")
        self.reason = reason
        self.certain = certain


class StoreError(Exception):
    """The store could not do a unit of work; nothing of it was committed, and it may be tried again."""


class LeaseLostError(StoreError):
    """The lane is not ours any more: another replica took it over. Stop at once; it goes on from the last commit."""


class BrokerError(Exception):
    """The message queue did not do what was asked in time; it reconnects by itself, and it may be tried again."""


class Clock(Protocol):
    """Time, passed in."""

    def now(self) -> datetime:
        """Return the present time, timezone-aware UTC."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    async def wait_for(self, awaitable: Awaitable[T], seconds: float) -> T:
        """Wait for something, at most so long; raises TimeoutError."""


# --- nodes ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A block as the newest of a node's chain."""

    number: int
    block_hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block with the hashes of its marker transactions (those to the privacy precompile, and all others too)."""

    number: int
    block_hash: str
    transactions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTraits:
    """What does not change while a node runs.

    Attributes:
        besu_version: (major, minor, patch).
        chain_id: Chain id.
        native_abi: ``"bytes"`` or ``"bytes32"``: the additions that this version recognises.
        validator: Whether the node proposes blocks; None when it can't be told.
    """

    besu_version: tuple[int, int, int]
    chain_id: int
    native_abi: str
    validator: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PmtOutcome:
    """What one PMT came to.

    Attributes:
        pmt_hash: The PMT.
        block_number: Block that mined it; None while unmined.
        block_hash: Hash of that block.
        executed: Whether the private transaction executed with status 0x1; None when this node has no private receipt.
        reason: Why it did not, in the words of the rules.
    """

    pmt_hash: str
    block_number: int | None = None
    block_hash: str | None = None
    executed: bool | None = None
    reason: Reason | None = None


class NodePort(Protocol):
    """One Besu node. Every method may raise `NodeError`."""

    @property
    def name(self) -> str:
        """The node's name in the configuration."""

    @property
    def enclave_keys(self) -> tuple[str, ...]:
        """The enclave keys that the node hosts; the first is the one it sends from."""

    async def traits(self) -> NodeTraits:
        """Return what does not change while the node runs (read once, kept until the connection fails)."""

    async def head(self) -> Head:
        """Return the newest block."""

    async def syncing(self) -> bool:
        """Return whether the node says that it is catching up."""

    async def block(self, number: int) -> Block | None:
        """Return a block; None when the node has none of that number yet."""

    async def view(self, privacy_group_id: str, block_number: int) -> GroupView:
        """Return the group at a block, everything read in one round trip."""

    async def roots(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[GroupView, ...]:
        """Return the group at several blocks in one round trip: the state root only, all else left empty."""

    async def abi(self, privacy_group_id: str) -> str | None:
        """Return the dialect of the group's contract: ``"bytes"``, ``"bytes32"``, ``"unusable"``, None for no group."""

    async def owns(self, privacy_group_id: str, account: str) -> bool | None:
        """Return whether an account owns the group; None when it can't be told."""

    async def private_nonce(self, privacy_group_id: str, account: str) -> int:
        """Return how many private transactions of the account were executed in the group."""

    async def send(self, raw: bytes) -> str:
        """Send a signed private transaction; returns the PMT's hash. `NodeError.certain` tells what a failure means."""

    async def outcomes(self, pmt_hashes: Sequence[str]) -> tuple[PmtOutcome, ...]:
        """Return what each PMT came to, in one or two round trips."""

    async def markers(self, raw: bytes, first_block: int, last_block: int) -> tuple[str, ...]:
        """Return the hashes of the PMTs from block to block, both included, that carry a signed private transaction."""

    async def has_state(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[bool, ...]:
        """Return, for each block, whether the node has replayed the group that far, in one round trip.

        A node answers a historical ``getVersion`` with nothing for blocks that it has not replayed (PROTOCOL.md,
        Replay, measured).
        """

    async def groups(self, enclave_keys: Sequence[str]) -> tuple[str, ...]:
        """Return the ids of the groups that exactly these members share."""

    def heads(self) -> AsyncIterator[Head]:
        """Yield new heads as the node announces them; ends or raises `NodeError` when the subscription is lost."""


class Signers(Protocol):
    """Signs private transactions as one of the configured accounts."""

    @property
    def accounts(self) -> tuple[str, ...]:
        """Checksum addresses, in the order of the configuration."""

    def sign(
        self,
        *,
        account: str,
        chain_id: int,
        private_nonce: int,
        privacy_group_id: str,
        private_from: str,
        payload: bytes,
    ) -> bytes:
        """Return the signed bytes; raises KeyError for an account that is not configured."""


class Contract(Protocol):
    """Encodes calls of the management contract."""

    def payload(self, action: Action, members: Sequence[str], abi: str) -> bytes:
        """Return the call data for an action.

        Args:
            action: The intent.
            members: Enclave keys that it adds, or the one that it removes; none for lock and unlock.
            abi: ``"bytes"`` or ``"bytes32"``.
        """

    def unlock_by_empty_add(self, abi: str) -> bytes:
        """Return the call data of an addition of nobody, which unlocks on every version."""


# --- store ---------------------------------------------------------------------------------------------------------


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
    """

    privacy_group_id: str
    token: int
    active: tuple[Change, ...]
    queued: tuple[Change, ...]


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
"""Makes the record of an operator's request from the change as it is in the same transaction; may raise."""


class ChangeStore(Protocol):
    """The durable record of changes. Every method may raise `StoreError`."""

    async def accept(self, change: Change, body_hash: str, events: Sequence[StatusEvent]) -> Acceptance:
        """Store a new change with its events, unless its request id is known.

        Raises:
            ConflictingRequestError: The request id is known with another body hash.
        """

    async def reject(self, events: Sequence[StatusEvent]) -> None:
        """Store events that belong to no change."""

    async def claim(self, *, holder: str, lease: timedelta, limit: int, now: datetime) -> tuple[Lane, ...]:
        """Take up to `limit` lanes that have something to do and that nobody holds, those due longest first."""

    async def renew(self, *, holder: str, lease: timedelta, now: datetime) -> frozenset[str]:
        """Prolong all leases of a holder; returns the groups that it still holds."""

    async def release(self, lane: Lane, *, now: datetime) -> None:
        """Give a lane back; it is due again when one of its changes is."""

    async def load(self, lane: Lane, *, now: datetime) -> Lane:
        """Return the same lane with its changes as they are now (new ones may have been queued)."""

    async def record(self, lane: Lane, record: Record) -> None:
        """Commit one step.

        Raises:
            LeaseLostError: The lane's token is not the newest.
        """

    async def amend(self, change_id: str, amendment: Amendment) -> Change:
        """Commit an operator's request on a change that rests.

        Raises:
            KeyError: No such change.
            LeaseLostError: The change is being worked on now.
        """

    async def change(self, change_id: str) -> Change | None:
        """Return a change."""

    async def changes(
        self, *, privacy_group_id: str | None = None, states: Sequence[State] = (), limit: int = 100, before: str = ""
    ) -> tuple[Change, ...]:
        """Return changes, newest first; `before` is the change id to go on after."""

    async def history(self, change_id: str) -> tuple[HistoryEntry, ...]:
        """Return what happened to a change, oldest first."""

    async def attempts(self, change_id: str) -> tuple[Attempt, ...]:
        """Return the attempts of a change (of its lead, for a follower), oldest first."""

    async def next_due(self) -> datetime | None:
        """Return when the next unheld lane is due; None when none is."""

    async def wait_for_work(self, seconds: float) -> None:
        """Return when a change was accepted or a lane came due by another's doing, at the latest after so long."""


# --- triggers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """One message that came in.

    Attributes:
        body: The message's bytes (bounded by the broker adapter).
        headers: Headers, lower-case names (CloudEvents' binary mode has its attributes here).
        acknowledge: To be awaited after the change is committed.
        postpone: Gives the message back, to be delivered again after some seconds.
        bury: Puts the message and a reason on the dead-letter subject, then acknowledges it.
    """

    body: bytes
    headers: dict[str, str]
    acknowledge: Callable[[], Awaitable[None]]
    postpone: Callable[[float], Awaitable[None]]
    bury: Callable[[str], Awaitable[None]]


class TriggerSource(Protocol):
    """Where triggers come from."""

    def triggers(self) -> AsyncIterator[Trigger]:
        """Yield triggers until cancelled; reconnects by itself; holds at most a bounded number unacknowledged."""
