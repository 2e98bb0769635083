"""What the engine needs of nodes, of the management contract's codec and of accounts, as protocols.

Every method that leaves the process is bounded in time by its adapter; what it raises is `NodeError`.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestrator.membership.forecast.blocks import ChainBlock
from orchestrator.membership.forecast.memberships import MembershipLog
from orchestrator.membership.model import Action, GroupView
from orchestrator.membership.reasons import Reason


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
        """Return the group at a block, everything read in one round trip."""

    async def lock_view(self, privacy_group_id: str, block_number: int) -> GroupView:
        """Return the group at a block in one call: whether it is there and locked only, all else left empty."""

    async def roots(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[GroupView, ...]:
        """Return the group at several blocks in one round trip: the state root only, all else left empty."""

    async def roots_of(self, privacy_group_ids: Sequence[str], block_number: int) -> tuple[GroupView, ...]:
        """Return many groups at one block in few round trips: the state root only, all else left empty."""

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

    async def pooled(self, pmt_hashes: Sequence[str]) -> bool:
        """Return whether any of the PMTs waits in the node's pool, to be mined."""

    async def markers(self, raw: bytes, first_block: int, last_block: int) -> tuple[str, ...]:
        """Return the hashes of the PMTs from block to block, both included, that carry a signed private transaction."""

    async def additions(self, first_block: int, last_block: int) -> tuple[int, ...]:
        """Return the blocks, from one to another, that hold an addition to a group that had existed before.

        Its PMT carries two keys, of the transaction and of the group's history (PROTOCOL.md, Looking before leaping).
        Which group it is can't be seen.
        """

    async def has_state(self, privacy_group_id: str, block_numbers: Sequence[int]) -> tuple[bool, ...]:
        """Return, for each block, whether the node has replayed the group that far, in one round trip.

        A node answers a historical ``getVersion`` with nothing for blocks that it has not replayed (PROTOCOL.md,
        Replay, measured).
        """

    async def groups(self, enclave_keys: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        """Return the groups that all of these keys are members of, by id, with all members that the node lists.

        A node lists what its own state says: a removed member's node shows the group as it was. Asked for no keys, it
        lists all groups that it holds, those that a failed addition brought included (docs/besu.md, How replay damages
        other groups, 8).
        """

    async def enclave_trouble(self) -> str | None:
        """Return what is wrong with the node's enclave, for a person; None when it is up, or has no known address."""

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
