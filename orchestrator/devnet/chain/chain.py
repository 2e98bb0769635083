"""The public chain that all nodes of the network share: blocks, forks, and the accounts after each block. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from eth_hash.auto import keccak

from orchestrator.devnet.chain.public_state import PublicAccount, PublicState
from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.encoding import minimal_bytes, rlp_list

GAS_LIMIT: Final = 0x1FFFFFFFFFFFFF
_EMPTY_TRIE: Final = bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A block of the public chain.

    Attributes:
        number: height; 0 is the genesis block.
        hash, parent_hash: 32 bytes.
        timestamp: in seconds since the epoch.
        miner: address of the proposer.
        transactions: in order of execution.
        state_root, transactions_root, receipts_root: 32 bytes; derived from the content, not Merkle roots.
    """

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    miner: str
    transactions: tuple[PublicTransaction, ...]
    state_root: bytes
    transactions_root: bytes
    receipts_root: bytes

    @property
    def gas_used(self) -> int:
        """In gas."""
        return sum(transaction.gas_used for transaction in self.transactions)

    @property
    def markers(self) -> int:
        """How many marker transactions it has: importing one needs the enclave."""
        return sum(transaction.is_marker for transaction in self.transactions)


def make_block(
    parent: Block | None, *, timestamp: int, miner: str, transactions: Sequence[PublicTransaction], salt: bytes = b""
) -> Block:
    """Make the block that follows ``parent`` (None: the genesis block); ``salt`` sets forks apart."""
    number = 0 if parent is None else parent.number + 1
    parent_hash = bytes(32) if parent is None else parent.hash
    hashes = b"".join(transaction.hash for transaction in transactions)
    transactions_root = keccak(hashes) if hashes else _EMPTY_TRIE
    receipts_root = (
        keccak(b"".join(transaction.gas_used.to_bytes(8) for transaction in transactions)) if hashes else _EMPTY_TRIE
    )
    before = _EMPTY_TRIE if parent is None else parent.state_root
    state_root = keccak(before + hashes) if hashes else before
    header = [
        parent_hash,
        state_root,
        transactions_root,
        receipts_root,
        bytes.fromhex(miner[2:]),
        minimal_bytes(number),
        minimal_bytes(timestamp),
        salt,
    ]
    return Block(
        number=number,
        hash=keccak(rlp_list(header)),
        parent_hash=parent_hash,
        timestamp=timestamp,
        miner=miner,
        transactions=tuple(transactions),
        state_root=state_root,
        transactions_root=transactions_root,
        receipts_root=receipts_root,
    )


class Chain:
    """The canonical chain, and the blocks that a reorganisation left behind."""

    def __init__(self, genesis: Block, now: float = 0.0, balances_wei: Mapping[str, int] | None = None) -> None:
        self._canonical = [genesis]
        self._arrived_at = [now]
        self._orphans: dict[bytes, Block] = {}
        self._number_by_hash = {genesis.hash: 0}
        self._locations: dict[bytes, tuple[int, int]] = {}
        self._accounts = PublicState(balances_wei or {})

    @property
    def head(self) -> Block:
        """The newest canonical block."""
        return self._canonical[-1]

    def block(self, number: int) -> Block | None:
        """The canonical block of a height."""
        return self._canonical[number] if 0 <= number < len(self._canonical) else None

    def by_hash(self, block_hash: bytes) -> Block | None:
        """A canonical block, or one that was reorganised away."""
        number = self._number_by_hash.get(block_hash)
        return self._canonical[number] if number is not None else self._orphans.get(block_hash)

    def is_canonical(self, block: Block) -> bool:
        """True unless the block was reorganised away."""
        return self.block(block.number) is block

    def locate(self, transaction_hash: bytes) -> tuple[Block, int] | None:
        """The canonical block of a transaction, and the place in it."""
        found = self._locations.get(transaction_hash)
        return (self._canonical[found[0]], found[1]) if found is not None else None

    def account(self, address: str, block_number: int | None = None) -> PublicAccount:
        """Public nonce and balance of an account after a canonical block; after the head when the number is None."""
        return self._accounts.account(address, block_number)

    def arrived_at(self, number: int) -> float:
        """When the nodes had the canonical block of a height to import, in seconds of the network's clock."""
        return self._arrived_at[number]

    def append(self, block: Block, now: float = 0.0) -> None:
        """Add the next canonical block."""
        self._canonical.append(block)
        self._arrived_at.append(now)
        self._number_by_hash[block.hash] = block.number
        self._accounts.append(block.transactions, block.miner)
        for index, transaction in enumerate(block.transactions):
            self._locations[transaction.hash] = (block.number, index)

    def drop(self, depth: int) -> list[Block]:
        """Take the newest ``depth`` blocks off and return them, oldest first; the genesis block stays."""
        depth = max(0, min(depth, len(self._canonical) - 1))
        dropped = self._canonical[len(self._canonical) - depth :]
        del self._canonical[len(self._canonical) - depth :]
        del self._arrived_at[len(self._arrived_at) - depth :]
        for block in dropped:
            del self._number_by_hash[block.hash]
            self._orphans[block.hash] = block
            self._accounts.take_off()
            for transaction in block.transactions:
                self._locations.pop(transaction.hash, None)
        return dropped
