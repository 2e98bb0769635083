"""Facts: what was observed, in the past tense. The only things that move a change."""

from dataclasses import dataclass
from datetime import datetime

from orchestrator.membership.attempt import Attempt
from orchestrator.membership.bundle_limits import BundleSize
from orchestrator.membership.forecast.verdict import Forecast
from orchestrator.membership.model import Effect, GroupView
from orchestrator.membership.reasons.table import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A worker took the change from the queue.

    Attributes:
        lead_id: The change that leads the batch.
        batch: How many changes were claimed together.
    """

    lead_id: str
    batch: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSurvey:
    """What could be learned of a member before anything is sent.

    Attributes:
        enclave_key: The member.
        node: Name of the configured node that hosts the key; None when we have no access to it.
        head: That node's head; None when there is no node or it does not answer.
        besu_version: (major, minor, patch) of that node; None when unknown.
        validator: Whether the node proposes blocks; None when unknown.
        of_another_group: Whether that state is of a group of the key's own that has the same id.
        enclave_trouble: What is wrong with that node's enclave, for a person; None when it is up or can't be asked.
        unheard: Whether the enclave of the node to send through knows nobody who hosts the key.
        agrees: Whether the node shows the group's state as the node to send through does; None: not known, not asked.
        moved_block: The newest block after the lost addition in which the member came or went; None: none, not asked.
    """

    enclave_key: str
    node: str | None = None
    head: int | None = None
    besu_version: tuple[int, int, int] | None = None
    validator: bool | None = None
    of_another_group: bool = False
    enclave_trouble: str | None = None
    unheard: bool = False
    agrees: bool | None = None
    moved_block: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """The group, the account and the members were looked at, at one block of the node to send through.

    Attributes:
        node: Name of the node to send through.
        head, head_hash: Its head, and that block's hash.
        newest_head: The newest head that two nodes of the members show, when the sender's was read.
        syncing: Whether the node says that it is syncing.
        view: The group there.
        abi: ``"bytes"``, ``"bytes32"``, ``"unusable"`` (made by Besu before 1.5.3) or None when there is no group.
        native_abi: The dialect that the node's own version recognises as an addition.
        besu_version: (major, minor, patch) of the node.
        owner: Whether the account owns the group; None when it could not be told.
        sender_key: The enclave key that the node sends from.
        members: One survey for each key that is asked for, and for each present member.
        own_lock: The private nonce of a lock of ours that holds the group and that no change knows; None: none.
        bundling_seconds: What sending the last addition to the group took the node; None when that is not known.
        bundle: How large the history of an addition is; None when that was not measured.
        forecast: What is to be expected of adding those who are no members yet; None when nobody is added.
    """

    node: str
    head: int
    head_hash: str
    newest_head: int
    syncing: bool
    view: GroupView
    abi: str | None
    native_abi: str
    besu_version: tuple[int, int, int]
    owner: bool | None
    sender_key: str
    members: tuple[MemberSurvey, ...]
    own_lock: int | None = None
    bundling_seconds: float | None = None
    bundle: BundleSize | None = None
    forecast: Forecast | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSigned:
    """The next transaction was distributed and its marker signed, or signed again with more gas; nothing is sent yet.

    Attributes:
        attempt: The attempt.
        seconds: What the distribution took: an addition's bundles the group's history.
    """

    attempt: Attempt
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSent:
    """A node took the marker, or had it already.

    Attributes:
        head: The newest head that is known.
        nodes: Names of the nodes that took it.
        pmt_hash: Hash of the marker that the node signed itself; empty for one of ours.
    """

    head: int
    nodes: tuple[str, ...] = ()
    pmt_hash: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendFailed:
    """No node took the marker.

    Attributes:
        reason: Why.
        certain: Every node that was asked refused it, so that no pool has it by this send; no answer was lost.
        head: The newest head that is known.
    """

    reason: Reason
    certain: bool
    head: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptUnmined:
    """No block up to `head` holds the marker, nor what burns it.

    Attributes:
        head: The newest block that was looked at.
        private_nonce: The account's private nonce in the group at that block; None when it was not read.
    """

    head: int
    private_nonce: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSettled:
    """The marker was mined and the private transaction's end is known; or nothing had to be sent.

    Attributes:
        effect: The block and the group's state there when the attempt itself executed; None when it was refused.
        reason: Why it was; with an effect ``group_split``, when other members' nodes did not execute it.
        private_nonce: The account's private nonce in the group at the newest block that was looked at; None when it was
            not read.
    """

    effect: Effect | None
    reason: Reason | None = None
    private_nonce: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptBurnt:
    """Another transaction with the marker's account nonce was mined, so deep as is configured.

    Attributes:
        head: The head at which that was seen.
    """

    head: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupMoved:
    """Under our lock the group is not as the lock left it: somebody acted, or a reorganisation took the lock back.

    Attributes:
        reason: What was seen.
        private_nonce: The account's private nonce in the group at the same block.
    """

    reason: Reason
    private_nonce: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GaveWay:
    """The addition that is signed lets another one to the same node go first; nothing of it was broadcast."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One member's node, as seen while a proof is gathered.

    Attributes:
        enclave_key: The member.
        node: Name of the node; None when we have no access to it.
        head: Its head; None when it does not answer.
        attested_by: The account whose signed word this is, when we have no access to the node; None for no such word.
        forgetful: Whether its version of Besu loses groups that it is added to.
        refused: The rule by which its guard refused this addition's history; empty when nobody says that it did.
        views: The group there at the proof's blocks that it has reached, oldest first.
        blocks_replayed, blocks_total: Blocks of the group's span that it has replayed, of all; 0 while unknown.
        transactions_replayed, transactions_total: The transactions in them; 0 while unknown.
    """

    enclave_key: str
    node: str | None
    head: int | None
    views: tuple[GroupView, ...] = ()
    blocks_replayed: int = 0
    blocks_total: int = 0
    transactions_replayed: int = 0
    transactions_total: int = 0
    attested_by: str | None = None
    forgetful: bool = False
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bystander:
    """Another group of a new member's node, as the node shows it before and after it replayed.

    Attributes:
        privacy_group_id: The group.
        enclave_key: The new member.
        node: Its node.
        block_before: The block before the addition.
        block_number: The last block of the proof.
        root_before: The group's root there before.
        root: Its root there at the end; empty when the node has no state for it any more.
        others_before: Before, on nodes of other members that could be seen.
        others: At the end, on the same nodes.
        older: Other roots that the node had in blocks before `block_before`, where it was looked.
    """

    privacy_group_id: str
    enclave_key: str
    node: str
    block_before: int
    block_number: int
    root_before: str
    root: str
    others_before: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    older: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bystanders:
    """The other groups of the new members' nodes.

    Attributes:
        groups: Those that were looked at.
        left_out: How many were not, being too many.
    """

    groups: tuple[Bystander, ...] = ()
    left_out: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvergenceObserved:
    """The members' nodes were compared.

    Attributes:
        effect_block_hash: Hash of the effect's block as the reference node has it now; None when it has no such block.
        head: The reference node's head.
        sightings: One for each member after the change; the first observed old member is the reference.
        proof_blocks: How many further blocks the proof needs.
        confirmations: How deep the effect's block must be.
        stalled_after_seconds: A replay that has not moved for this long is stalled.
        awaited: Unobserved members whose own daemon's word is still waited for: without it nothing is proven yet.
        bystanders: Other groups of the new members' nodes; None while not looked at: no addition is proven without.
    """

    effect_block_hash: str | None
    head: int
    sightings: tuple[Sighting, ...]
    proof_blocks: int
    confirmations: int
    stalled_after_seconds: float = 60.0
    awaited: tuple[str, ...] = ()
    bystanders: Bystanders | None = Bystanders()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindered:
    """Something outside the chain kept a command from being done (no node answers, a key is not configured)."""

    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlinePassed:
    """The change's deadline is over."""

    deadline: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested:
    """An operator asked to cancel; `detail` says why, in their words."""

    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkRequested:
    """An operator asked to let a change rest until somebody retries it."""

    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRequested:
    """An operator asked to try a parked change again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairRequested:
    """The policy asks to repair what a change is parked for."""


Fact = (
    Claimed
    | Surveyed
    | AttemptSigned
    | AttemptSent
    | SendFailed
    | AttemptUnmined
    | AttemptSettled
    | AttemptBurnt
    | GroupMoved
    | GaveWay
    | ConvergenceObserved
    | Hindered
    | DeadlinePassed
    | CancelRequested
    | ParkRequested
    | RetryRequested
    | RepairRequested
)
