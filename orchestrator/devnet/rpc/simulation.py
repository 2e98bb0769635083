"""``priv_call``: a private transaction that is not sent.

Source: docs/besu.md#looking-before-leaping; the recorded simulations.
"""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.devnet import errors
from orchestrator.devnet.chain.chain import Block
from orchestrator.devnet.encoding import data
from orchestrator.devnet.errors import RpcError
from orchestrator.devnet.nodes.private_view import state_at
from orchestrator.devnet.private.contract import MANAGEMENT_ADDRESSES, NO_ADDRESS, BlockContext, call_contract
from orchestrator.devnet.rpc.call import Call, read_address, read_bytes, read_quantity

_REASON_WORDS: Final = 68


def simulate(call: Call, privacy_group_id: bytes, given: Mapping[str, Any], block_number: int) -> str | None:
    """Run a call on a group's state after a block; None for a block that the node does not have.

    Raises:
        RpcError: the parameters cannot be read, or the call fails.
    """
    to = read_address(given.get("to"))
    origin = read_address(given["from"]) if given.get("from") is not None else NO_ADDRESS
    call_data = given.get("data", given.get("input"))
    payload = b"" if call_data is None else read_bytes(call_data)
    value = given.get("value")
    if to is None or origin is None or payload is None or (value is not None and read_quantity(value) is None):
        raise call.invalid("call params")
    block = call.network.chain.block(block_number) if block_number <= call.node.head.number else None
    if block is None:
        return None
    if value is not None and read_quantity(value):
        raise errors.privacy("We cannot transfer ether in a private transaction yet.")
    state = state_at(call.node, privacy_group_id, block_number)
    if state is None or to not in MANAGEMENT_ADDRESSES:
        return "0x"
    outcome = call_contract(state.contract, to=to, origin=origin, call_data=payload, block=_context(block))
    if outcome.reverted:
        raise _failure(call, outcome.output)
    return data(outcome.output)


def _failure(call: Call, reason: bytes) -> RpcError:
    behaviour = call.network.behaviour
    if not behaviour.call_reverts_named:
        return RpcError(errors.INVALID_PARAMS, "Invalid params")
    if len(reason) < 4:
        return errors.privacy("Private transaction failed")
    text = reason[_REASON_WORDS : _REASON_WORDS + int.from_bytes(reason[36:68])].decode("utf-8", "replace")
    message = f"Execution reverted ({text})" if behaviour.revert_in_brackets else f"Execution reverted: {text}"
    return RpcError(-32000, message, data=data(reason))


def _context(block: Block) -> BlockContext:
    return BlockContext(number=block.number, parent_hash=block.parent_hash, coinbase=block.miner)
