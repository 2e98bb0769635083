"""Public transactions that wait for a block in one node's pool. Pure.

Source: docs/besu.md#markers; Besu 22.4.4, 23.10.2 and 24.5.0, the rules of replacement, the
limit by sender and what the prioritised layer of the pool takes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from orchestrator.devnet.chain.public_state import PublicAccount
from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.errors import RpcError
from orchestrator.devnet.versions import BesuBehaviour

MAX_PENDING: Final = 100_000


class PoolFullError(Exception):
    """More transactions wait than the devnet keeps."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A transaction in a pool.

    Attributes:
        transaction: the transaction.
        origin: number of the node through whose API it came.
        shelved: it waits where no block is made from (``BesuBehaviour.shelves_unpriced``).
    """

    transaction: PublicTransaction
    origin: int
    shelved: bool = False


class TransactionPool:
    """The waiting transactions of one node by account and public nonce: one at each place."""

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, int], Waiting] = {}
        self._places: dict[bytes, tuple[str, int]] = {}
        self._count_of: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, transaction_hash: bytes) -> bool:
        return transaction_hash in self._places

    def entries(self) -> list[Waiting]:
        """Everything that waits, in order of arrival."""
        return list(self._waiting.values())

    def find(self, transaction_hash: bytes) -> PublicTransaction | None:
        """A waiting transaction."""
        place = self._places.get(transaction_hash)
        return self._waiting[place].transaction if place is not None else None

    def add(self, waiting: Waiting, account: PublicAccount, behaviour: BesuBehaviour) -> PublicTransaction | None:
        """Add a transaction and return the one that it replaced.

        Args:
            waiting: what to add; the pool does not hold it yet.
            account: the sender's, after the node's head.
            behaviour: of the Besu version.

        Raises:
            PoolFullError: ``MAX_PENDING`` transactions wait already.
            RpcError: the sender has too many waiting, or the one at the same place is not replaced.
        """
        transaction = waiting.transaction
        place = transaction.place
        replaced = self._waiting.get(place)
        if replaced is not None and not _replaces(transaction, replaced.transaction, behaviour):
            raise RpcError(-32000, "Replacement transaction underpriced")
        if replaced is None:
            self._check_limit(transaction, account, behaviour)
            if len(self._waiting) >= MAX_PENDING:
                raise PoolFullError(f"{MAX_PENDING} transactions wait for a block; mine one")
        self.remove(place)
        self._put(waiting)
        return replaced.transaction if replaced is not None else None

    def put_back(self, entries: Iterable[Waiting]) -> None:
        """Return transactions of blocks that were reorganised away, where no other took their place."""
        for entry in entries:
            if entry.transaction.place not in self._waiting:
                self._put(entry)

    def remove(self, place: tuple[str, int]) -> None:
        """Forget what waits at a place: the place was used, or is about to be taken by another."""
        found = self._waiting.pop(place, None)
        if found is None:
            return
        del self._places[found.transaction.hash]
        self._count_of[place[0]] -= 1
        if not self._count_of[place[0]]:
            del self._count_of[place[0]]

    def next_account_nonce(self, sender: str, mined: int) -> int:
        """The public nonce after a sender's mined and waiting transactions."""
        account_nonce = mined
        while (sender, account_nonce) in self._waiting:
            account_nonce += 1
        return account_nonce

    def executable(self, account_of: Callable[[str], PublicAccount]) -> list[PublicTransaction]:
        """What the node puts into the next block, in the block's order; nothing is taken out.

        A sender's transactions keep the order of their nonces; a gap, a shelved one and one that the sender cannot pay
        hold the rest back. Between senders the order is that of the hashes, so a marker signed by a random key may
        overtake an earlier one.
        """
        queues = []
        for sender in self._count_of:
            account = account_of(sender)
            account_nonce, balance_wei, queue = account.account_nonce, account.balance_wei, []
            while (found := self._waiting.get((sender, account_nonce))) is not None and not found.shelved:
                if found.transaction.upfront_cost_wei > balance_wei:
                    break
                queue.append(found.transaction)
                account_nonce += 1
                balance_wei -= found.transaction.value + found.transaction.gas_used * found.transaction.gas_price
            if queue:
                queues.append(queue)
        queues.sort(key=lambda queue: queue[0].hash)
        return [transaction for queue in queues for transaction in queue]

    def clear(self) -> None:
        """Forget everything, as a node does that is restarted."""
        self._waiting.clear()
        self._places.clear()
        self._count_of.clear()

    def _put(self, waiting: Waiting) -> None:
        place = waiting.transaction.place
        self._waiting[place] = waiting
        self._places[waiting.transaction.hash] = place
        self._count_of[place[0]] = self._count_of.get(place[0], 0) + 1

    def _check_limit(self, transaction: PublicTransaction, account: PublicAccount, behaviour: BesuBehaviour) -> None:
        limit, future = behaviour.pending_by_sender, behaviour.future_by_sender
        too_many = limit and self._count_of.get(transaction.sender, 0) >= limit
        if too_many or (future and transaction.account_nonce - account.account_nonce > future):
            word = behaviour.too_distant_word
            raise RpcError(-32000, f"Transaction nonce {word} too distant from current sender nonce")


def _replaces(new: PublicTransaction, old: PublicTransaction, behaviour: BesuBehaviour) -> bool:
    if behaviour.equal_price_replaces:
        return new.gas_price >= old.gas_price
    return new.gas_price > old.gas_price * 110 // 100
