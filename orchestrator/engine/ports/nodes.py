"""What the engine needs of nodes, of the management contract's codec and of accounts, as protocols.

Every method that leaves the process is bounded in time by its adapter; what it raises is `NodeError`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from orchestrator.membership.attempt import Action, Marker
from orchestrator.membership.forecast.blocks import ChainBlock
from orchestrator.membership.forecast.memberships import MembershipLog
from orchestrator.membership.model import GroupView
from orchestrator.membership.reasons.table import Reason


class Said(StrEnum):
    """What a node said when it did not say a value. Only a value decides anything; none of these is a no to a question.

    A late replica, a block beyond the head and a receipt that is not there yet all look like emptiness, and an answer
    that is lost looks like a failure (docs/besu.md#outcomes, #looking-before-leaping). ``0x`` from a call at a block
    that the node has is a value: there is no such group.
    """

    NOT_KNOWN = "not_known"
    """It has no answer to this here, or not yet, or none came: ask again, or at another node."""
    REFUSED = "refused"
    """It refused for certain: nothing was done, nor will be because of this request."""
    PERHAPS_DONE = "perhaps_done"
    """No answer or an unclear one to a request that changes something: it may have been done, or may be still."""


class NodeError(Exception):
    """A node gave no value.

    Attributes:
        reason: Why, in the words of the rules.
        said: What can be concluded; reads never say `Said.PERHAPS_DONE`.
    """

    def __init__(self, reason: Reason, said: Said = Said.NOT_KNOWN) -> None:
        super().__init__(f"{reason.slug}: {reason.detail}")
        self.reason = reason
        self.said = said

    @property
    def certain(self) -> bool:
        """Whether nothing was done, nor will be: for a send, that it can't execute."""
        return self.said is Said.REFUSED


def is_silence(error: Exception) -> bool:
    """Return whether an error says that a node does not answer: whatever else it is asked now finds the same."""
    return isinstance(error, NodeError) and error.reason.slug == "node_unreachable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A block as the newest of a node's chain.

    Attributes:
        number: Its number.
        block_hash: Its hash.
        parent_hash: The hash of the block before it.
        transactions: Hashes of its transactions; None when they were not told along.
    """

    number: int
    block_hash: str
    parent_hash: str
    transactions: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block with the hashes of its marker transactions (those to the privacy precompile, and all others too).

    Attributes:
        number: Its number.
        block_hash: Its hash.
        transactions: The hashes.
        content: Its transactions in full; None where only a head was announced.
    """

    number: int
    block_hash: str
    transactions: tuple[str, ...]
    content: ChainBlock | None = None


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
    """What one PMT came to, as far as this node knows.

    Attributes:
        pmt_hash: The PMT.
        block_number: Block that mined it; None when this node knows of none, which does not say that there is none.
        block_hash: Hash of that block.
        executed: Whether the private transaction executed with status 0x1. None, also when it was mined, while this
            node has no private receipt: not known here, never refused.
        reason: Why it did not execute, in the words of the rules; only where ``executed`` is False.
    """

    pmt_hash: str
    block_number: int | None = None
    block_hash: str | None = None
    executed: bool | None = None
    reason: Reason | None = None


class NodePort(Protocol):
    """One Besu node. Every method may raise `NodeError`.

    A reader raises it with `Said.NOT_KNOWN` for every kind of silence (null, a block beyond the head, no answer, a
    failure inside the node), and with `Said.REFUSED` only where the node will not tell until a person acts. A sender
    raises it with `Said.REFUSED` or `Said.PERHAPS_DONE`.

    Attributes:
        barred: Why the node is not to be asked; empty while it is. All but what tells its chain (`traits`, `head`,
            `block`) then raises `NodeError`.
    """

    barred: str

    @property
    def name(self) -> str:
        """The node's name in the configuration."""

    @property
    def enclave_keys(self) -> tuple[str, ...]:
        """The enclave keys that the node hosts; the first is the one it sends from."""

    @property
    def bundle_limit_bytes(self) -> int | None:
        """The largest history that its enclave takes, as it keeps it; None when that is not known."""

    async def traits(self) -> NodeTraits:
        """Return what does not change while the node runs (read once, kept until the connection fails)."""

    async def head(self) -> Head:
        """Return the newest block."""

    async def syncing(self) -> bool:
        """Return whether the node says that it is catching up."""

    async def block(self, number: int) -> Block:
        """Return a block."""

    async def blocks(self, block_numbers: Sequence[int]) -> tuple[Block, ...]:
        """Return blocks with their transactions in full, in batches; `NodeError` when the node has not all of them."""

    async def balances(self, accounts: Sequence[str], block_number: int) -> Mapping[str, int]:
        """Return what accounts have after a block, in wei, in one round trip."""

    async def memberships(
        self, privacy_group_ids: Sequence[str], first_block: int, last_block: int
    ) -> tuple[MembershipLog, ...]:
        """Return who came into groups and who left them, from one block to another, both included.

        Group by group, each in the order of the chain; what had no effect (adding a member again) is left out.
        """

    async def view(self, privacy_group_id: str, block_number: int) -> GroupView:
        """Return the group at a block, everything read in one round trip; ``exists`` is false only for no group."""

    async def lock_view(self, privacy_group_id: str, block_number: int) -> GroupView:
        """Return the group at a block in two calls: its state root and whether it is locked, all else left empty."""

    async def roots(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[GroupView, ...]:
        """Return the group at several blocks in one round trip: the state root only, all else left empty."""

    async def root_if_any(self, privacy_group_id: str, block_number: int) -> GroupView:
        """Return the same as `roots` of one block, where there mostly is no such group: then one call tells it."""

    async def roots_of(self, privacy_group_ids: Sequence[str], block_number: int) -> tuple[GroupView, ...]:
        """Return many groups at one block in few round trips: the state root only, all else left empty."""

    async def public_roots(self, block_numbers: Sequence[int]) -> tuple[tuple[str, str], ...]:
        """Return the hashes of several blocks, each with the state root of the public chain after it, in batches.

        Two roots that are equal have no transaction between them (docs/besu.md#looking-before-leaping, 10).
        """

    async def abi(self, privacy_group_id: str) -> str | None:
        """Return the dialect of the group's contract: ``"bytes"``, ``"bytes32"``, ``"unusable"``, None for no group."""

    async def owns(self, privacy_group_id: str, account: str) -> bool | None:
        """Return whether an account owns the group; None when it can't be told."""

    async def private_nonce(self, privacy_group_id: str, account: str) -> int:
        """Return how many private transactions of the account were executed in the group."""

    async def send(self, raw: bytes) -> str:
        """Send a signed private transaction with a marker that the node signs; returns the PMT's hash.

        For additions on Besu before 21.10.2 only, where a distribution brings no history.
        """

    async def pooled(self, pmt_hashes: Sequence[str]) -> bool | None:
        """Return True when one of the PMTs waits in the node's pool, False when all are in blocks; None: not known."""

    async def distribute(self, raw: bytes, from_block: int | None = None) -> bytes:
        """Store a signed private transaction in the enclaves of its group and return its payload key.

        What answers must have `from_block`, else it is an error: a late node behind the same address would bundle a
        history that lacks its end.

        The key has 32 bytes; 64 for an addition to a group with history, which discloses that history to the new
        members whether a marker follows or not (docs/besu.md#disclosure). Doing it again gives
        another key and harms nothing.
        """

    async def broadcast(self, raw: bytes, transaction_hash: str) -> None:
        """Hand a signed marker, or a burn, to the node's pool; that the pool has it already is a success.

        `NodeError.reason` tells refusals apart: ``marker_nonce_used`` (this or another transaction of that account and
        nonce was mined: look at the receipts), ``marker_outbid`` (the pool holds another one of that account and nonce,
        and keeps it), ``marker_account_refused`` (the account is not permitted, or can't pay), ``marker_gas_refused``.
        """

    async def account_nonce(self, account: str, block_number: int | None = None) -> int:
        """Return how many public transactions of an account are mined, up to a block or up to the node's head."""

    async def outcomes(self, pmt_hashes: Sequence[str]) -> tuple[PmtOutcome, ...]:
        """Return what each PMT came to, in one or two round trips."""

    async def private_sizes(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[int, ...]:
        """Return the sizes in bytes of a group's signed transactions in some blocks, as far as the node has them."""

    async def additions(self, first_block: int, last_block: int) -> tuple[int, ...]:
        """Return the blocks, from one to another, that hold an addition to a group that had existed before.

        Its PMT carries two keys, of the transaction and of the group's history (docs/besu.md#looking-before-leaping).
        Which group it is can't be seen.
        """

    async def has_state(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[bool, ...]:
        """Return, for each block, whether the node has replayed the group that far, in one round trip.

        A node answers a historical ``getVersion`` with nothing for blocks that it has not replayed
        (docs/besu.md#replay-measured).
        """

    async def groups(self, enclave_keys: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """Return the groups that all of these keys are members of, by id, with all members that the node lists.

        A node lists what its own state says: a removed member's node shows the group as it was. Asked for no keys, it
        lists all groups that it holds, those that a failed addition brought included
        (docs/besu.md#addresses-and-events, 6).
        """

    async def peers(self) -> int:
        """Return how many nodes it is connected to."""

    async def enclave_trouble(self) -> str | None:
        """Return what is wrong with the node's enclave, for a person; None when it is up, or has no known address."""

    async def enclave_knows(self) -> frozenset[str] | None:
        """Return the keys that the node's enclave knows a host of; None when it does not tell."""

    def heads(self) -> AsyncIterator[Head]:
        """Yield new heads as the node announces them; ends or raises `NodeError` when the subscription is lost."""


class Burning(Protocol):
    """The transaction that takes a marker's account nonce."""

    @property
    def raw(self) -> bytes:
        """Its signed bytes."""

    @property
    def transaction_hash(self) -> str:
        """Their hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkerAccount:
    """Who signs one marker.

    Attributes:
        account: Its address, "0x…" in lower case.
        account_nonce: The nonce on the public chain that the marker takes.
        key: The private key of a one-time account; empty when `Markers` has it.
    """

    account: str
    account_nonce: int = 0
    key: bytes = field(default=b"", repr=False)


class Markers(Protocol):
    """Makes marker transactions, each with an account and nonce of its own."""

    def make(self, payload_key: bytes, chain_id: int, account: MarkerAccount) -> Marker:
        """Return the marker of a distributed private transaction."""

    def renew(self, marker: Marker) -> Marker:
        """Return the same marker with one more gas, and a higher price where it has one, under the same nonce.

        Raises:
            NodeError: Its account is not configured any more; so do the others.
        """

    def burn(self, marker: Marker, more_gas: int = 0) -> Burning:
        """Return the transaction that makes a marker impossible to mine: same account and nonce, to itself.

        Args:
            marker: The marker.
            more_gas: Beyond what it needs; each amount makes another transaction, of which one can be mined.
        """


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
