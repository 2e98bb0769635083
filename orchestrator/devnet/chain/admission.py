"""What a node checks before a public transaction enters its pool. Pure.

Source: the recorded answers to markers of one's own; Besu 22.4.4, 23.10.3 and 25.4.1, ``TransactionPool`` and
``MainnetTransactionValidator``, for the order of the checks.
"""

from collections.abc import Set
from dataclasses import dataclass

from orchestrator.devnet.chain.chain import GAS_LIMIT
from orchestrator.devnet.chain.public_state import PublicAccount
from orchestrator.devnet.chain.public_transaction import PublicTransaction, intrinsic_gas
from orchestrator.devnet.errors import RpcError


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionTerms:
    """What one node asks of a transaction.

    Attributes:
        chain_id: of the network.
        min_gas_price_wei: the least price; 0 on a free network.
        local_priority: what comes through a validator's own API may pay less (Besu's default).
        permitted: accounts that may send, in lower case; None for all.
    """

    chain_id: int
    min_gas_price_wei: int = 0
    local_priority: bool = True
    permitted: Set[str] | None = None


def check_admission(
    transaction: PublicTransaction, account: PublicAccount, terms: AdmissionTerms, *, has_priority: bool
) -> None:
    """Refuse a transaction that the node does not let into its pool.

    Args:
        transaction: what came; the pool does not hold it yet.
        account: the sender's, after the node's head.
        terms: of the node.
        has_priority: it came through the API of a node that makes blocks, or from an account that did before.

    Raises:
        RpcError: as the node answers who sent it.
    """
    if transaction.gas_price < terms.min_gas_price_wei and not (has_priority and terms.local_priority):
        raise RpcError(-32009, "Gas price below configured minimum gas price")
    if intrinsic_gas(transaction.input, creates=transaction.to is None) > transaction.gas_limit:
        raise RpcError(-32003, "Intrinsic gas exceeds gas limit")
    if transaction.chain_id is not None and transaction.chain_id != terms.chain_id:
        raise RpcError(-32000, "Wrong chainId")
    if transaction.gas_limit > GAS_LIMIT:
        raise RpcError(-32005, "Transaction gas limit exceeds block gas limit")
    if transaction.upfront_cost_wei > account.balance_wei:
        raise RpcError(-32004, "Upfront cost exceeds account balance")
    if transaction.account_nonce < account.account_nonce:
        raise RpcError(-32001, "Nonce too low")
    if terms.permitted is not None and transaction.sender not in terms.permitted:
        raise RpcError(-32007, "Sender account not authorized to send transactions")
