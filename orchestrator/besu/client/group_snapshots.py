"""Which calls make a snapshot of a group, and how their answers are put together. Pure."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from orchestrator.besu.codec import answers
from orchestrator.besu.codec.identifiers import bytes_to_hex
from orchestrator.besu.codec.json_rpc import Answer, Call, result_of
from orchestrator.besu.codec.management_contract import (
    MANAGEMENT_PROXY,
    ManagementContractError,
    Method,
    decode_flag,
    decode_participants,
    decode_version,
    encode_call,
)
from orchestrator.besu.codec.results import GroupView
from orchestrator.besu.errors import GroupUnknownError, NotKnownError, ProtocolError, UnauthorizedError

EMPTY_ROOT: Final = "0x56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421"
"""Root of a state that holds nothing: what a node that has the group says of blocks before its first."""

_READS: Final = (Method.GET_PARTICIPANTS, Method.CAN_EXECUTE, Method.GET_VERSION)
_STATE_CALLS: Final = 1 + len(_READS)


def group_calls(privacy_group_id: str, block_number: int, *, account: str | None, with_code: bool) -> list[Call]:
    """Return the calls that read one group at one block; ``read_group_view`` takes their answers in this order."""
    at = hex(block_number)
    calls = [Call("eth_getBlockByNumber", (at, False)), *state_calls(privacy_group_id, block_number)]
    if account is not None:
        calls.append(Call("priv_getTransactionCount", (account, privacy_group_id)))
    if with_code:
        calls.append(Call("priv_getCode", (privacy_group_id, MANAGEMENT_PROXY, at)))
    return calls


def state_calls(privacy_group_id: str, block_number: int) -> list[Call]:
    """Return the calls that read a group's state alone at a block; ``read_state`` takes their answers in this order."""
    at = hex(block_number)
    calls = [Call("priv_debugGetStateRoot", (privacy_group_id, at))]
    return [*calls, *(_state_call(method, privacy_group_id, at) for method in _READS)]


def _state_call(method: Method, privacy_group_id: str, at: str) -> Call:
    asked = {"to": MANAGEMENT_PROXY, "data": bytes_to_hex(encode_call(method))}
    return Call("priv_call", (privacy_group_id, asked, at))


def version_call(privacy_group_id: str, block: str) -> Call:
    """Return the call that tells whether a node has a group's state at a block; ``read_presence`` takes its answer."""
    return _state_call(Method.GET_VERSION, privacy_group_id, block)


def read_presence(answer: Answer) -> bool:
    """Read the answer to ``version_call``: whether the group's state is there; a tenant that is no member has none.

    Of all calls this one tells a block that the node doesn't have (null) from a group that it doesn't have (``0x``)
    (docs/besu.md#looking-before-leaping).

    Raises:
        NotKnownError: the node does not have the block.
        RpcError: the call was answered with another error than that the tenant is no member.
        ProtocolError: the answer is not what the contract answers.
    """
    if isinstance(answer.error, UnauthorizedError):
        return False
    return bool(answers.known(answers.read_data, result_of(answer), "such block"))


def read_state(answered: Sequence[Answer], block_number: int, block_hash: str) -> GroupView:
    """Put the answers to ``state_calls`` together.

    Raises:
        NotKnownError: the node does not have the block, or the answers are not of one state: replicas behind one
            address may answer a part each.
        RpcError: a call was answered with an error other than that there is no such group.
        ProtocolError: an answer is not what the contract answers.
    """
    root_answer, *rest = answered
    nothing = GroupView(block_number, block_hash, exists=False)
    if isinstance(root_answer.error, GroupUnknownError) and all(isinstance(a.error, UnauthorizedError) for a in rest):
        return nothing  # a tenant that is no member is refused the calls, and told this of the root
    participants, can_execute, version = (
        answers.known(answers.read_data, result_of(answer), f"block {block_number}") for answer in rest
    )
    root = read_root(root_answer)
    if not (participants or can_execute or version or root):
        return nothing
    if not (participants and can_execute and version and root):
        raise NotKnownError(f"parts of the group's state at block {block_number} are there and others are not")
    try:
        return GroupView(
            block_number=block_number,
            block_hash=block_hash,
            exists=True,
            participants=decode_participants(participants),
            locked=decode_flag(can_execute) is not True,
            version=decode_version(version) or "",
            state_root=root,
        )
    except ManagementContractError as error:
        raise ProtocolError(f"the group's contract answered something else than it should: {error}") from error


def read_group_view(answered: Sequence[Answer], *, with_nonce: bool, with_code: bool) -> GroupView:
    """Put the answers to ``group_calls`` together.

    Raises:
        NotKnownError: the node does not have the block, or the answers are not of one state.
        RpcError: a call was answered with an error other than that there is no such group.
        ProtocolError: an answer is not what the contract answers.
    """
    head = answers.known(answers.read_head, result_of(answered[0]), "such block")
    extra = list(answered[1 + _STATE_CALLS :])
    private_nonce = _nonce(extra.pop(0)) if with_nonce else None
    code = (answers.optional(answers.read_data, result_of(extra.pop(0))) or b"") if with_code else None
    state = read_state(answered[1 : 1 + _STATE_CALLS], head.number, head.hash)
    if state.exists and code == b"":
        raise NotKnownError(f"the group's contract at block {head.number} is not told")
    return replace(state, private_nonce=private_nonce, code=code)


def lock_call(privacy_group_id: str, block_number: int) -> Call:
    """Return the call that tells whether a group is locked at a block; ``read_lock`` takes its answer."""
    return _state_call(Method.CAN_EXECUTE, privacy_group_id, hex(block_number))


def read_lock(answer: Answer) -> bool | None:
    """Read the answer to ``lock_call``; None when the node has no such group.

    Raises:
        NotKnownError: the node does not have the block.
        RpcError: the call was answered with an error.
        ProtocolError: the answer is not what the contract answers.
    """
    output = answers.known(answers.read_data, result_of(answer), "such block")
    try:
        free = decode_flag(output)
    except ManagementContractError as error:
        raise ProtocolError(f"the group's contract answered something else than it should: {error}") from error
    return None if free is None else not free


def read_root(answer: Answer) -> str | None:
    """Read ``priv_debugGetStateRoot``; None when the node has no state for the group, or perhaps not the block.

    Raises:
        NotKnownError: null.
        RpcError: the call was answered with an error other than that there is no such group.
        ProtocolError: the answer is no root.
    """
    if isinstance(answer.error, GroupUnknownError):
        return None
    root = answers.known(answers.read_hash, result_of(answer), "state root")
    return None if root == EMPTY_ROOT else root


def _nonce(answer: Answer) -> int | None:
    # A tenant that is no member is told so; a node without tenants says 0 (docs/besu.md#multi-tenancy).
    if isinstance(answer.error, GroupUnknownError):
        return None
    return answers.read_number(result_of(answer))
