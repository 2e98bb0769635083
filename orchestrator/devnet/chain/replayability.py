"""Whether a block can be replayed: each of its public transactions alone on the state of the parent. Pure.

Source: docs/besu.md#what-a-replay-needs; Besu 1.5.4 to 25.5.0, PrivateGroupRehydrationBlockProcessor, which carries
nothing from one public transaction of the block to the next.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from orchestrator.devnet.chain.public_state import PublicAccount
from orchestrator.devnet.chain.public_transaction import PublicTransaction


@dataclass(frozen=True, slots=True)
class InvalidTransaction:
    """A public transaction that isn't valid on the parent's state alone.

    Attributes:
        transaction: the first such transaction of the block.
        why: as a Besu node logs it.
    """

    transaction: PublicTransaction
    why: str


def find_invalid(
    transactions: Sequence[PublicTransaction], account_at_parent: Callable[[str], PublicAccount]
) -> InvalidTransaction | None:
    """Find the first public transaction of a mined block that is invalid on the parent's state; None: it has none.

    Args:
        transactions: of the block, marker transactions included, in its order.
        account_at_parent: an account's nonce and balance after the parent.
    """
    for transaction in transactions:
        account = account_at_parent(transaction.sender)
        if transaction.account_nonce != account.account_nonce:
            why = (
                f"transaction nonce {transaction.account_nonce} does not match sender account nonce "
                f"{account.account_nonce}"
            )
            return InvalidTransaction(transaction, why)
        cost = transaction.value + transaction.gas_limit * transaction.gas_price
        if cost > account.balance_wei:
            why = (
                f"transaction up-front cost {cost:#x} exceeds transaction sender account balance "
                f"{account.balance_wei:#x}"
            )
            return InvalidTransaction(transaction, why)
    return None
