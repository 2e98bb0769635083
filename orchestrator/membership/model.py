"""What the rules speak of: groups as seen on a node, changes, plans and progress.

All types are frozen: a step makes a new value. Times are timezone-aware UTC datetimes; blocks are numbers on the public
chain.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from orchestrator.membership.attempt import Action, Attempt
from orchestrator.membership.reasons.table import Reason
from orchestrator.membership.replay_time import TimeLeft
from orchestrator.membership.tracing import TraceContext


class Kind(StrEnum):
    """What was asked for."""

    CREATE_GROUP = "create_group"
    ADD_MEMBERS = "add_members"
    REMOVE_MEMBERS = "remove_members"
    SET_MEMBERS = "set_members"
    UNLOCK_GROUP = "unlock_group"
    CURE_GROUP = "cure_group"


class State(StrEnum):
    """Where a change is. The arrows between states are `machine.TRANSITIONS`."""

    QUEUED = "queued"
    PREFLIGHT = "preflight"
    CREATING = "creating"
    LOCKING = "locking"
    ADDING = "adding"
    REPLAYING = "replaying"
    REMOVING = "removing"
    VERIFYING = "verifying"
    UNLOCKING = "unlocking"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PARKED = "parked"


ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
"""States that nothing leaves."""

RESTING = ENDED | {State.QUEUED, State.PARKED}
"""States in which a change does not occupy its group's lane."""

ACTION_OF = {
    State.CREATING: Action.CREATE,
    State.LOCKING: Action.LOCK,
    State.ADDING: Action.ADD,
    State.REMOVING: Action.REMOVE,
    State.UNLOCKING: Action.UNLOCK,
}
"""The transaction that each transacting state sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """The group's state on one node at one block.

    Attributes:
        block_number: The block that the view was read at.
        exists: False when the node has no state for the group at that block.
        participants: Enclave keys in the contract's order, base64.
        locked: ``canExecute()`` is false.
        version: ``getVersion()``, 0x-prefixed 32 bytes; empty when the group does not exist.
        state_root: ``priv_debugGetStateRoot``, 0x-prefixed; empty when the node has none.
    """

    block_number: int
    exists: bool
    participants: tuple[str, ...] = ()
    locked: bool = False
    version: str = ""
    state_root: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vouched:
    """A new member whose node we can't see, and of which its own operator's daemon says that it may be added.

    Attributes:
        enclave_key: The member.
        account: The account that signed it.
        block_number: The node's head that it was looked at.
    """

    enclave_key: str
    account: str
    block_number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedReplay:
    """What a new member's node has to replay.

    Attributes:
        enclave_key: The member.
        node: Its node's name; None when we have no access to it.
        blocks: How many of the group's blocks.
        transactions: How many transactions are in them, those of other groups included; 0 where it is not known.
        former: Whether the node has part of the group already, so that nothing else may be added to it meanwhile.
    """

    enclave_key: str
    node: str | None
    blocks: int
    former: bool = False
    transactions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What preflight found to be done.

    Attributes:
        node: Name of the member's node that transactions go through.
        abi: Dialect of the group's management contract, ``"bytes"`` or ``"bytes32"``.
        to_add: Enclave keys that are no members yet.
        to_remove: Enclave keys that are members and shall not be.
        participants: The members before the change.
        version: The group's version before the change; empty when it did not exist.
        unlock_by_empty_add: The network is older than 21.7.4, where ``unlock()`` fails (docs/besu.md#versions).
        first_block: The sending node's head at preflight.
        last_block: The newest block that is known to hold a transaction of the group, before its lock; 0 for none.
        lock_nonce: The private nonce of the batch's lock, once that was mined: while the account's private nonce in the
            group is not beyond it, a reorganisation has taken the lock back and it may be mined again.
        lock_root: The group's state root right after that lock. While the group shows it, its lock, version and private
            nonce are as the lock left them; another one means that somebody acted under our lock.
        replays: What new members' nodes have to replay, by the forecast.
        bundling_seconds: What bundling took at the last addition; None when nothing is to be added or it is not known.
        vouched: New members that others vouch for.
        unforeseen: New members whose node nobody could look at: what it makes of the group's history is not known.
    """

    node: str
    abi: str
    to_add: tuple[str, ...]
    to_remove: tuple[str, ...]
    participants: tuple[str, ...]
    version: str
    unlock_by_empty_add: bool
    first_block: int
    last_block: int = 0
    lock_nonce: int | None = None
    lock_root: str = ""
    replays: tuple[ExpectedReplay, ...] = ()
    bundling_seconds: float | None = None
    vouched: tuple[Vouched, ...] = ()
    unforeseen: tuple[str, ...] = ()


class Verdict(StrEnum):
    """How one member's node stands to the group at the proof's blocks."""

    REPLAYING = "replaying"
    IN_SYNC = "in_sync"
    MISSING = "missing"
    DIVERGED = "diverged"
    STALLED = "stalled"
    UNOBSERVED = "unobserved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far a replay was at some time, to tell its rate.

    Attributes:
        at: When.
        blocks: Blocks that were replayed then.
        transactions: Transactions in them; 0 while unknown.
    """

    at: datetime
    blocks: int
    transactions: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberProgress:
    """One member's way to being in sync.

    Attributes:
        enclave_key: The member.
        verdict: See `Verdict`.
        blocks_replayed: Blocks of the group's span that the node has replayed.
        blocks_total: Blocks of the group's span; 0 while unknown.
        head: The node's head; None while it does not answer.
        moved_at: When `blocks_replayed`, `head` or `verdict` last changed.
        in_sync_through: The newest block at which the member was seen equal to the reference; None before the first.
        marks: Where the replay was within the last minute, oldest first (a bounded number).
        attested_by: The account whose signed word the verdict rests on; None when we looked ourselves, or nobody could.
        transactions_replayed, transactions_total: Transactions in those blocks; 0 while unknown.
        left: What the replay will still take, as it was told last; None before its rate can be told.
    """

    enclave_key: str
    verdict: Verdict
    blocks_replayed: int
    blocks_total: int
    head: int | None
    moved_at: datetime
    in_sync_through: int | None = None
    marks: tuple[Mark, ...] = ()
    attested_by: str | None = None
    transactions_replayed: int = 0
    transactions_total: int = 0
    left: TimeLeft | None = None

    @property
    def blocks_per_second(self) -> float | None:
        """How fast the replay went within the last minute in which it moved; None while that can't be told."""
        if self.verdict is not Verdict.REPLAYING or not self.marks:
            return None
        first = self.marks[0]
        seconds = (self.moved_at - first.at).total_seconds()
        return (self.blocks_replayed - first.blocks) / seconds if seconds > 0 else None

    @property
    def remaining_seconds(self) -> float | None:
        """How long the replay will likely still take; None while not to be told. It rises only as `TimeLeft` does."""
        return None if self.left is None or self.verdict is not Verdict.REPLAYING else self.left.likely_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Where the group's state first showed what was asked for.

    Attributes:
        block_number: That block.
        block_hash: Its hash, to notice a reorganisation.
        view: The group at that block.
        witness: Name of the node that showed it; empty when that was not kept.
        deep: No reorganisation is expected to take it back: it lies as deep as is configured. Before that no change
            rests whose lock would come back.
    """

    block_number: int
    block_hash: str
    view: GroupView
    witness: str = ""
    deep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What a change does about lost additions: removed and added again, once; where a guard refused it, removed.

    Attributes:
        members: Their enclave keys.
        since_block: The block of that addition: a member that came or went after it is somebody else's. 0 for a cure.
        removed_block: The block in which they were removed; None before.
        refused: Why their guard refused, for a person: then they are not added again. Empty for a repair.
        stale_pmt: For a cure, the marker whose stale bundle made them fall back; empty for a repair.
    """

    members: tuple[str, ...]
    since_block: int
    removed_block: int | None = None
    refused: str = ""
    stale_pmt: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One asked-for change of a group's membership, and how far it is.

    Attributes:
        change_id: Unique, made at intake.
        request_id: The trigger's idempotency key.
        kind: What was asked.
        privacy_group_id: base64 of 32 bytes.
        members: Enclave keys that were named, base64.
        account: Checksum address of the owner account to act as.
        created_at, deadline: When it was accepted, and when to give up; None for never.
        state: See `State`.
        lead_id: The change whose transactions carry this one: its own id when it leads its batch, None while queued.
        batch_limit, batch: How many queued adds may share its next batch, and how many changes share its present one.
        tries: How often it has been queued again.
        not_before: A queued change is not claimed before this.
        waiting_since: Since when it has been queued again for the same reason.
        reason: Why it waits, failed, was parked or is being undone; else why the try before did not do it.
        plan: Preflight's result.
        attempt: The newest attempt that it signed (in a shared batch, the lead does).
        waits_for: What the present command waits for, when it does not get on; None while it does, and at rest.
        failures: Commands of the present state that failed in a row; they lengthen the pause before the next.
        lock_block: Block of the lock that we hold; None when we hold none.
        giving_up: The present attempt is to be taken back: its marker is burnt, unless it was mined before.
        transacted: A transaction that it signed was sent, in any of its batches, or may have been.
        effect: Where the asked-for state was first seen.
        progress: One entry for each member that is watched for the proof.
        repair: The repair that it gets, or got; None when none was needed so far.
        trace: The trace that it is in; None when nobody follows it in one.
        revision: Counts committed steps.
    """

    change_id: str
    request_id: str
    kind: Kind
    privacy_group_id: str
    members: tuple[str, ...]
    account: str
    created_at: datetime
    deadline: datetime | None = None
    state: State = State.QUEUED
    lead_id: str | None = None
    batch_limit: int = 20
    batch: int = 1
    tries: int = 0
    not_before: datetime | None = None
    waiting_since: datetime | None = None
    reason: Reason | None = None
    plan: Plan | None = None
    attempt: Attempt | None = None
    waits_for: Reason | None = None
    failures: int = 0
    lock_block: int | None = None
    giving_up: bool = False
    transacted: bool = False
    effect: Effect | None = None
    progress: tuple[MemberProgress, ...] = ()
    repair: Repair | None = None
    trace: TraceContext | None = None
    revision: int = 0

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED

    @property
    def leads(self) -> bool:
        """Whether it carries its batch's transactions."""
        return self.lead_id == self.change_id

    @property
    def repairs(self) -> bool:
        """Whether it is to repair members of which none was removed for it so far."""
        return self.repair is not None and self.repair.removed_block is None

    @property
    def in_flight(self) -> Attempt | None:
        """The newest attempt, if its marker may be mined: None while no node can have it, or once it is decided."""
        attempt = self.attempt
        return attempt if attempt is not None and attempt.live and attempt.sent_block is not None else None
