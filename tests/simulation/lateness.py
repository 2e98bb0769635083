"""What a node's address answers when a replica behind it lags: it doesn't know yet what exists, and says so by null."""

from typing import Any

from orchestrator.besu.codec.json_rpc import Call
from orchestrator.devnet.encoding import from_base64
from orchestrator.devnet.nodes.private_view import state_at
from orchestrator.devnet.rpc.dispatch import NodeApi

BLOCK_AT = {
    "eth_getBlockByNumber": 0,
    "eth_getTransactionCount": 1,
    "priv_call": 2,
    "priv_debugGetStateRoot": 1,
    "priv_getCode": 2,
}
"""By method, the place of the block among the parameters."""

BEYOND = hex(1 << 40)
"""A block that no node has: what is answered of it is what a replica answers of a block that it lacks."""

RECEIPTS = frozenset({"eth_getTransactionReceipt", "priv_getTransactionReceipt"})


def asked_of(call: Call, known: int) -> Call:
    """Return a call as a replica means it whose newest block is `known`."""
    place = BLOCK_AT.get(call.method)
    if place is None or place >= len(call.params):
        return call
    params = list(call.params)
    if params[place] == "latest":
        params[place] = hex(known)
    elif int(params[place], 16) > known:
        params[place] = BEYOND
    return Call(call.method, tuple(params))


def answered(api: NodeApi, call: Call, result: Any, known: int) -> Any:
    """Return what a replica answers whose newest block is `known`, from what the node answers."""
    if call.method == "eth_blockNumber":
        return hex(known)
    if call.method == "priv_getTransactionCount":
        account, group = call.params
        state = state_at(api.node, from_base64(group) or b"", known)
        return hex(state.private_nonces.get(account.lower(), 0)) if state is not None else result
    if call.method in RECEIPTS and result is not None and int(result["blockNumber"], 16) > known:
        return None
    return result
