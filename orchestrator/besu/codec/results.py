"""What was read from a node, as typed values. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Head:
    """A block header, as ``newHeads`` delivers it.

    Attributes:
        number: block number.
        hash: block hash.
        parent_hash: hash of the block before it.
        timestamp: seconds since 1970.
        transaction_hashes: public transactions of the block, in order; None when the node did not say.
    """

    number: int
    hash: str
    parent_hash: str
    timestamp: int
    transaction_hashes: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class PublicTransaction:
    """A transaction on the public chain, such as a PMT.

    Attributes:
        transaction_hash: its hash.
        sender: account that signed it; random for each PMT unless the node has a fixed marker key.
        sender_nonce: public nonce of the sender.
        to: address called, or None.
        data: its input; of a PMT 32 bytes (payload key), 64 when it adds to a group (payload key, history key).
        value: in wei.
        gas_limit: in gas.
        gas_price: the most wei that it pays for a gas.
    """

    transaction_hash: str
    sender: str
    sender_nonce: int
    to: str | None
    data: bytes
    value: int = 0
    gas_limit: int = 0
    gas_price: int = 0


@dataclass(frozen=True, slots=True)
class Block:
    """A block with its transactions in full; ``gas_limit`` is the block's, in gas."""

    head: Head
    transactions: tuple[PublicTransaction, ...]
    gas_limit: int = 0


@dataclass(frozen=True, slots=True)
class PublicReceipt:
    """Says that a PMT was mined; its status is 0x1 whatever became of the private transaction."""

    transaction_hash: str
    block_number: int
    block_hash: str
    sender: str


@dataclass(frozen=True, slots=True)
class Log:
    """A log of a public or private contract.

    Attributes:
        address: contract that wrote it.
        topics: "0x…" of 32 bytes each.
        data: its data.
        block_number, block_hash: the block.
        transaction_hash: the public transaction, for a private log the PMT.
        log_index: place in the block.
        removed: True when a reorganisation took it back.
    """

    address: str
    topics: tuple[str, ...]
    data: bytes
    block_number: int
    block_hash: str
    transaction_hash: str
    log_index: int
    removed: bool


@dataclass(frozen=True, slots=True)
class PrivateReceipt:
    """What became of a private transaction on one node.

    Attributes:
        pmt_hash: hash of its PMT.
        status: 1 executed, 2 rejected before execution, 0 failed.
        output: what the contract answered.
        revert_data: what it reverted with; empty bytes for a ``require`` without text; None when none is given.
        logs: logs of the execution.
    """

    pmt_hash: str
    block_number: int
    block_hash: str
    status: int
    output: bytes
    revert_data: bytes | None
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True)
class FoundGroup:
    """A group as the find method lists it."""

    privacy_group_id: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClientVersion:
    """What a node says that it is.

    Attributes:
        product: "besu", or another client's name.
        version: (major, minor, patch); None when the node does not say it.
        text: the whole answer.
    """

    product: str
    version: tuple[int, int, int] | None
    text: str


@dataclass(frozen=True, slots=True)
class Syncing:
    """A node that is catching up.

    Attributes:
        current_block: how far it is.
        highest_block: how far it knows the chain to be.
    """

    current_block: int
    highest_block: int


@dataclass(frozen=True, slots=True)
class GroupView:
    """A group's state on one node at one block.

    Attributes:
        block_number, block_hash: the block that was read at.
        exists: False when the node has no state for the group at that block (unknown, no member, not replayed yet).
        participants: enclave keys in the contract's order.
        locked: nobody but the owner's lock, unlock and add can execute.
        version: ``getVersion``, "0x…"; empty when there is no group.
        state_root: ``priv_debugGetStateRoot``, "0x…"; empty when there is no group.
        private_nonce: of the account asked for, at the node's head, since it has no block parameter; None when not
            asked.
        code: the management contract's code; None when not asked.
    """

    block_number: int
    block_hash: str
    exists: bool
    participants: tuple[str, ...] = ()
    locked: bool = False
    version: str = ""
    state_root: str = ""
    private_nonce: int | None = None
    code: bytes | None = None
