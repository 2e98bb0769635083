"""Which calls make a snapshot of a group, and how their answers are put together. Pure."""

from collections.abc import Sequence
from typing import Final

from orchestrator.besu import answers
from orchestrator.besu.errors import GroupUnknownError, ProtocolError
from orchestrator.besu.identifiers import bytes_to_hex
from orchestrator.besu.json_rpc import Answer, Call, result_of
from orchestrator.besu.management_contract import (
    MANAGEMENT_PROXY,
    ManagementContractError,
    Method,
    decode_flag,
    decode_participants,
    decode_version,
    encode_call,
)
from orchestrator.besu.results import GroupView

EMPTY_ROOT: Final = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
"""Root of a state that holds nothing: what a node that has the group says of blocks before its first."""

_READS: Final = (Method.GET_PARTICIPANTS, Method.CAN_EXECUTE, Method.GET_VERSION)


def group_calls(privacy_group_id: str, block_number: int, *, account: str | None, with_code: bool) -> list[Call]:
    """Return the calls that read one group at one block; ``read_group_view`` takes their answers in this order."""
    at = hex(block_number)
    calls = [Call("eth_getBlockByNumber", (at, False)), Call("priv_debugGetStateRoot", (privacy_group_id, at))]
    for method in _READS:
        asked = {"to": MANAGEMENT_PROXY, "data": bytes_to_hex(encode_call(method))}
        calls.append(Call("priv_call", (privacy_group_id, asked, at)))
    if account is not None:
        calls.append(Call("priv_getTransactionCount", (account, privacy_group_id)))
    if with_code:
        calls.append(Call("priv_getCode", (privacy_group_id, MANAGEMENT_PROXY, at)))
    return calls


def read_group_view(answered: Sequence[Answer], *, with_nonce: bool, with_code: bool) -> GroupView | None:
    """Put the answers to ``group_calls`` together; None when the node does not have the block.

    Raises:
        RpcError: a call was answered with an error other than that there is no such group.
        ProtocolError: an answer is not what the contract answers.
    """
    block, root, *rest = answered
    head = answers.optional(answers.read_head, result_of(block))
    if head is None:
        return None
    outputs = [answers.optional(answers.read_data, result_of(answer)) or b"" for answer in rest[: len(_READS)]]
    extra = list(rest[len(_READS) :])
    private_nonce = _nonce(extra.pop(0)) if with_nonce else None
    code = (answers.optional(answers.read_data, result_of(extra.pop(0))) or b"") if with_code else None
    participants, can_execute, version = outputs
    if not version:
        return GroupView(head.number, head.hash, exists=False, private_nonce=private_nonce, code=code)
    try:
        return GroupView(
            block_number=head.number,
            block_hash=head.hash,
            exists=True,
            participants=decode_participants(participants),
            locked=decode_flag(can_execute) is not True,
            version=decode_version(version) or "",
            state_root=read_root(root) or "",
            private_nonce=private_nonce,
            code=code,
        )
    except ManagementContractError as error:
        raise ProtocolError(f"the group's contract answered something else than it should: {error}") from error


def read_root(answer: Answer) -> str | None:
    """Read ``priv_debugGetStateRoot``; None when the node has no state for the group at that block."""
    if isinstance(answer.error, GroupUnknownError):
        return None
    root = answers.optional(answers.read_hash, result_of(answer))
    return None if root == EMPTY_ROOT else root


def _nonce(answer: Answer) -> int | None:
    # A tenant that is no member is told so; a node without tenants says 0 (PROTOCOL.md, Multi-tenancy).
    if isinstance(answer.error, GroupUnknownError):
        return None
    return answers.read_quantity(result_of(answer))
