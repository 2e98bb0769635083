"""A group's private state and its history on one node. Pure.

States and records are immutable and shared by all nodes that reach them, so that fifty thousand transactions on twenty
nodes cost one record each and a pointer a node.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from eth_hash.auto import keccak

from orchestrator.besu.management_contract import ContractLog
from orchestrator.besu.private_transaction import SignedPrivateTransaction
from orchestrator.devnet.contract import ContractState

EMPTY_ROOT: Final = bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")
"""Root of the empty trie: what a group has before its first transaction."""


@dataclass(frozen=True, slots=True)
class GroupState:
    """Everything that a group's private state holds; its root comes from all of it.

    Attributes:
        contract: the management contract's storage.
        private_nonces: by account, "0x…" in lower case.
        codes: code by address of contracts that applications created.
        application_digest: grows with every application transaction; stands for the storage that is not emulated.
        root: equal on two nodes exactly when the rest is.
    """

    contract: ContractState
    private_nonces: Mapping[str, int] = field(default_factory=dict)
    codes: Mapping[str, bytes] = field(default_factory=dict)
    application_digest: bytes = bytes(32)
    root: bytes = field(init=False)

    def __post_init__(self) -> None:
        accounts = "".join(
            f"{account}{private_nonce};" for account, private_nonce in sorted(self.private_nonces.items())
        )
        seen = self.contract.digest + self.application_digest + accounts.encode("ascii")
        object.__setattr__(self, "root", keccak(seen))


@dataclass(frozen=True, slots=True)
class PrivateReceipt:
    """What ``priv_getTransactionReceipt`` says about the execution.

    Attributes:
        status: 1 done, 0 failed, 2 rejected before execution (docs/besu.md#outcomes).
        revert_reason: None when the node refused to execute.
    """

    status: int
    output: bytes = b""
    logs: tuple[ContractLog, ...] = ()
    revert_reason: bytes | None = None


NOT_EXECUTED: Final = PrivateReceipt(status=0)
REJECTED: Final = PrivateReceipt(status=2)


@dataclass(frozen=True, slots=True)
class ExecutedTransaction:
    """A private transaction that changed a group's state: an item of its history."""

    pmt_hash: bytes
    signed: SignedPrivateTransaction
    state: GroupState
    receipt: PrivateReceipt


@dataclass(slots=True)
class GroupTimeline:
    """The states of one group on one node, by block.

    Attributes:
        blocks: number of the block of each record, ascending.
        records: the group's history as this node executed it.
        lost_from: on a node that lost the group when it replayed (Besu 25.5.0), the block of the add: from it on the
            node knows nothing of the group; receipts, logs and states before it stay.
        covered_until: while a first replay runs, the last block whose state is known.
        history_keys: enclave payloads that this node replayed from.
    """

    blocks: list[int] = field(default_factory=list)
    records: list[ExecutedTransaction] = field(default_factory=list)
    lost_from: int | None = None
    covered_until: int | None = None
    history_keys: list[bytes] = field(default_factory=list)

    def append(self, block: int, record: ExecutedTransaction) -> None:
        """Add a record; those of later blocks are forgotten, as a replay overwrites them."""
        if self.blocks and self.blocks[-1] > block:
            self.forget_after(block)
        self.blocks.append(block)
        self.records.append(record)

    def forget_after(self, block: int) -> list[tuple[int, ExecutedTransaction]]:
        """Drop the records of blocks above ``block`` and return them, oldest first."""
        keep = bisect_right(self.blocks, block)
        dropped = list(zip(self.blocks[keep:], self.records[keep:], strict=True))
        del self.blocks[keep:]
        del self.records[keep:]
        return dropped

    def last_at(self, block: int) -> ExecutedTransaction | None:
        """The last record at or below a block; None when the group has none there."""
        if self.covered_until is not None and block > self.covered_until:
            return None
        if self.lost_from is not None and block >= self.lost_from:
            return None
        at = bisect_right(self.blocks, block)
        return self.records[at - 1] if at else None

    def state_at(self, block: int) -> GroupState | None:
        """The state after a block; None when this node has none for it."""
        record = self.last_at(block)
        return record.state if record is not None else None

    def between(self, first: int, last: int) -> Iterator[tuple[int, ExecutedTransaction]]:
        """Records of the blocks from ``first`` to ``last``, oldest first."""
        for at in range(bisect_right(self.blocks, first - 1), bisect_right(self.blocks, last)):
            yield self.blocks[at], self.records[at]
