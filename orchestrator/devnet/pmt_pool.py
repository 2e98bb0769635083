"""Public transactions that wait for a block. Pure."""

from collections.abc import Callable, Iterable
from typing import Final

from orchestrator.devnet.chain import PublicTransaction

MAX_PENDING: Final = 100_000


class PoolFullError(Exception):
    """More transactions wait than the devnet keeps."""


class PmtPool:
    """Waiting transactions by sender and public nonce: a second one of the same place pushes the first out.

    That is how a node with a fixed marker key loses sends that were made at the same time (PROTOCOL.md, Nonces).
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[str, int], PublicTransaction] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, transaction: PublicTransaction) -> PublicTransaction | None:
        """Add a transaction and return the one that it pushed out.

        Raises:
            PoolFullError: ``MAX_PENDING`` transactions wait already.
        """
        place = (transaction.sender, transaction.account_nonce)
        if len(self._waiting) >= MAX_PENDING and place not in self._waiting:
            raise PoolFullError(f"{MAX_PENDING} transactions wait for a block; mine one")
        pushed_out = self._waiting.pop(place, None)
        self._waiting[place] = transaction
        return pushed_out

    def put_back(self, transactions: Iterable[PublicTransaction]) -> None:
        """Return transactions of blocks that were reorganised away."""
        for transaction in transactions:
            self._waiting.setdefault((transaction.sender, transaction.account_nonce), transaction)

    def pending(self) -> list[PublicTransaction]:
        """Every waiting transaction, in order of arrival."""
        return list(self._waiting.values())

    def find(self, transaction_hash: bytes) -> PublicTransaction | None:
        """A waiting transaction."""
        return next((waiting for waiting in self._waiting.values() if waiting.hash == transaction_hash), None)

    def next_account_nonce(self, sender: str, mined: int) -> int:
        """The public nonce after a sender's mined and waiting transactions."""
        account_nonce = mined
        while (sender, account_nonce) in self._waiting:
            account_nonce += 1
        return account_nonce

    def take_executable(self, mined_account_nonce: Callable[[str], int]) -> list[PublicTransaction]:
        """Take what the next block holds, in the block's order.

        A sender's transactions keep the order of their nonces and a gap holds the rest back. Between senders the
        order is that of the hashes, so a marker signed by a random key may overtake an earlier one.
        """
        by_sender: dict[str, dict[int, PublicTransaction]] = {}
        for (sender, account_nonce), transaction in self._waiting.items():
            by_sender.setdefault(sender, {})[account_nonce] = transaction
        queues = []
        for sender, waiting in by_sender.items():
            account_nonce = mined_account_nonce(sender)
            queue = []
            while account_nonce in waiting:
                queue.append(waiting[account_nonce])
                account_nonce += 1
            if queue:
                queues.append(queue)
        queues.sort(key=lambda queue: queue[0].hash)
        taken = [transaction for queue in queues for transaction in queue]
        for transaction in taken:
            del self._waiting[transaction.sender, transaction.account_nonce]
        return taken

    def clear(self) -> list[PublicTransaction]:
        """Drop everything that waits and return it."""
        dropped = list(self._waiting.values())
        self._waiting.clear()
        return dropped
