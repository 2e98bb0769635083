"""A group's private state, and what a private transaction made of it. Pure.

States and records are immutable and shared by all nodes that reach them, so that fifty thousand transactions on twenty
nodes cost one record each and a pointer a node.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from eth_hash.auto import keccak

from orchestrator.besu.codec.management_contract import ContractLog
from orchestrator.besu.codec.private_transaction import SignedPrivateTransaction
from orchestrator.devnet.private.contract import ContractState

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


@dataclass(frozen=True, slots=True, eq=False)
class ExecutedTransaction:
    """A private transaction that a node stored in a group's history, with the state after it.

    Compared by identity: nodes that reach the same state share the record.
    """

    pmt_hash: bytes
    signed: SignedPrivateTransaction
    state: GroupState
    receipt: PrivateReceipt

    @property
    def root(self) -> bytes:
        """The state root after it."""
        return self.state.root
