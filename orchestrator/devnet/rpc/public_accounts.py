"""Methods of accounts and pools: sending public transactions, nonces, balances, what waits.

Source: the recorded exchanges; Besu 23.10.3, ``EthSendRawTransaction``.
"""

from typing import Any, Final

from orchestrator.devnet.chain.public_signatures import (
    InvalidPublicTransactionError,
    TypedTransactionError,
    decode_public_transaction,
)
from orchestrator.devnet.chain.public_state import PublicAccount
from orchestrator.devnet.chain.transaction_pool import PoolFullError
from orchestrator.devnet.encoding import data, quantity
from orchestrator.devnet.errors import INVALID_PARAMS, RpcError, internal_error
from orchestrator.devnet.rpc.call import Call, MethodTable, read_bytes


def _account(call: Call) -> PublicAccount:
    """The account of the first parameter after the block of the second, as far as the node has imported it."""
    address = call.address(0)
    number = call.block_number(1, default="latest")
    return call.network.chain.account(address, min(number, call.node.head.number))


def _transaction_count(call: Call) -> str:
    if call.optional(1) != "pending":
        return quantity(_account(call).account_nonce)
    sender = call.address(0)
    mined = call.network.chain.account(sender, call.node.head.number).account_nonce
    return quantity(call.network.pool.of(call.node).next_account_nonce(sender, mined))


def _balance(call: Call) -> str:
    return quantity(_account(call).balance_wei)


def _send_raw(call: Call) -> str:
    raw = read_bytes(call.optional(0)) if len(call.params) == 1 else None
    if raw is None:
        raise call.invalid("transaction params (missing or incorrect)")
    try:
        transaction = decode_public_transaction(raw)
    except TypedTransactionError as error:
        raise RpcError(INVALID_PARAMS, "Invalid transaction type") from error
    except InvalidPublicTransactionError as error:
        raise call.invalid("transaction params (missing or incorrect)") from error
    try:
        call.network.pool.submit(call.node, transaction)
    except PoolFullError as error:
        raise internal_error() from error
    return data(transaction.hash)


def _send_unsigned(_: Call) -> None:
    raise RpcError(
        -32604,
        "The method eth_sendTransaction is not supported. "
        "Use eth_sendRawTransaction to send a signed transaction to Besu.",
    )


def _pool_transactions(call: Call) -> list[dict[str, Any]]:
    return [
        {
            "hash": data(waiting.transaction.hash),
            "isReceivedFromLocalSource": waiting.origin == call.node.number,
            "addedToPoolAt": "1970-01-01T00:00:00Z",
        }
        for waiting in call.network.pool.of(call.node).entries()
    ]


def _pool_statistics(call: Call) -> dict[str, int]:
    entries = call.network.pool.of(call.node).entries()
    local = sum(waiting.origin == call.node.number for waiting in entries)
    return {"maxSize": 4096, "localCount": local, "remoteCount": len(entries) - local}


METHODS: Final[MethodTable] = {
    "eth_getTransactionCount": _transaction_count,
    "eth_getBalance": _balance,
    "eth_gasPrice": lambda call: quantity(call.network.terms_of(call.node).min_gas_price_wei),
    "eth_sendRawTransaction": _send_raw,
    "eth_sendTransaction": _send_unsigned,
    "txpool_besuTransactions": _pool_transactions,
    "txpool_besuStatistics": _pool_statistics,
}
