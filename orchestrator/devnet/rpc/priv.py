"""Methods of private transactions: ``eea_``, ``priv_`` and ``privx_``.

Source: the recorded exchanges; Besu 23.10.3, the sources of the methods, for what the recordings do not show.
"""

from typing import Any, Final

from orchestrator.besu.codec.management_contract import PRIVACY_PRECOMPILE
from orchestrator.devnet import errors
from orchestrator.devnet.enclaves.enclave import EnclaveDownError
from orchestrator.devnet.encoding import data, from_base64, quantity, to_base64
from orchestrator.devnet.network.submission import Submission, distribute, submit
from orchestrator.devnet.nodes.private_view import (
    FoundPrivateTransaction,
    find_private_transaction,
    members_at,
    receipt_of,
    state_at,
)
from orchestrator.devnet.private.contract import MANAGEMENT_ADDRESSES, contract_code
from orchestrator.devnet.private.private_state import EMPTY_ROOT
from orchestrator.devnet.rpc.call import Call, MethodTable
from orchestrator.devnet.rpc.simulation import simulate
from orchestrator.devnet.rpc.views import private_receipt_view, private_transaction_view

_GROUP_BYTES: Final = 32


def group_of(call: Call) -> bytes:
    """The privacy group id that a call begins with, as bytes.

    Raises:
        RpcError: it is no text, or not 32 bytes of base64.
    """
    group = from_base64(call.text(0, "privacy group params"))
    if group is None or len(group) != _GROUP_BYTES:
        raise errors.internal_error()
    return group


def check_tenant(call: Call, group: bytes, block_number: int | None = None) -> None:
    """Refuse a tenant that is no member of a group that exists on this node.

    Raises:
        RpcError: Unauthorized.
    """
    if call.tenant is None:
        return
    members = members_at(call.node, group, call.node.head.number if block_number is None else block_number)
    if members and call.tenant not in members:
        raise errors.unauthorized()


def _send(call: Call) -> Submission:
    return submit(call.network, call.node, call.text(0, "transaction params (missing or incorrect)"), call.tenant)


def _distribute(call: Call) -> Submission:
    return distribute(call.network, call.node, call.text(0, "transaction params (missing or incorrect)"), call.tenant)


def _call(call: Call) -> str | None:
    block_number = call.block_number(2)
    given = call.mapping(1, "call params")
    group = group_of(call)
    check_tenant(call, group, block_number)
    return simulate(call, group, given, block_number)


def _transaction_count(call: Call) -> str:
    if len(call.params) != 2:
        raise call.invalid("number of params")
    account = call.address(0)
    group = from_base64(call.text(1, "privacy group params"))
    if group is None or len(group) != _GROUP_BYTES:
        raise errors.nonce_unknown()
    try:
        check_tenant(call, group)
    except errors.RpcError as error:
        raise errors.nonce_unknown() from error
    state = state_at(call.node, group, call.node.head.number)
    return quantity(state.private_nonces.get(account, 0) if state is not None else 0)


def _eea_transaction_count(call: Call) -> str:
    if len(call.params) != 3:
        raise call.invalid("number of params")
    call.address(0)
    private_from = call.text(1, "private from params")
    call.texts(2, "private for params")
    if private_from != call.key:
        raise errors.privacy("Private from does not match enclave public key")
    # Groups without an id do not exist on a flexible network, so nobody has a nonce in one.
    return quantity(0)


def _find_transaction(call: Call) -> FoundPrivateTransaction | None:
    pmt_hash = call.hash(0)
    try:
        return find_private_transaction(call.network.chain, call.network.enclaves, call.node, pmt_hash, call.key)
    except EnclaveDownError as error:
        raise errors.internal_error() from error


def _receipt(call: Call) -> Any:
    found = _find_transaction(call)
    if found is None:
        return None
    late_seconds = call.network.receipts_late_seconds.get(call.node.number, 0.0)
    if late_seconds and call.network.now < call.network.chain.arrived_at(found.block.number) + late_seconds:
        return None
    return private_receipt_view(found, receipt_of(call.node, found), call.network.behaviour)


def _private_transaction(call: Call) -> Any:
    found = _find_transaction(call)
    return private_transaction_view(found, call.network.behaviour) if found is not None else None


def _code(call: Call) -> str | None:
    block_number = call.block_number(2)
    group = group_of(call)
    address = call.address(1)
    check_tenant(call, group)
    state = state_at(call.node, group, block_number) if block_number <= call.node.head.number else None
    if state is None:
        return None
    if address in MANAGEMENT_ADDRESSES:
        return data(contract_code(state.contract.abi))
    code = state.codes.get(address)
    return data(code) if code is not None else "0x" if address in state.private_nonces else None


def _state_root(call: Call) -> str:
    block_number = call.block_number(1)
    group = from_base64(call.text(0, "privacy group params"))
    if group is None or len(group) != _GROUP_BYTES:
        raise call.invalid("privacy group params")
    head = call.node.head.number
    members = members_at(call.node, group, head)
    if state_at(call.node, group, head) is None or (call.tenant is not None and call.tenant not in members):
        raise errors.group_not_found()
    if block_number > head:
        raise errors.internal_error()
    check_tenant(call, group, block_number)
    state = state_at(call.node, group, block_number)
    return data(state.root if state is not None else EMPTY_ROOT)


def find_groups(call: Call) -> list[dict[str, Any]]:
    """The groups of this node that have all of the given members, under whatever name the version calls it."""
    behaviour, wanted = call.network.behaviour, set(call.texts(0, "address params"))
    failed = errors.privacy(f"Error finding {behaviour.group_word.lower()} privacy group")
    if call.tenant is not None and call.tenant not in wanted:
        raise failed
    found = []
    head = call.node.head.number
    for group, timeline in call.node.timelines.items():
        if timeline.head_at(head) is None:
            continue
        members = members_at(call.node, group, head)
        if call.tenant is not None and members and call.tenant not in members:
            raise failed
        if members and wanted.issubset(members):
            found.append(
                {
                    "privacyGroupId": to_base64(group),
                    "name": "",
                    "description": "",
                    "type": behaviour.group_word.upper(),
                    "members": list(members),
                }
            )
    return found


def _not_enabled(_: Call) -> None:
    raise errors.method_not_enabled()


METHODS: Final[MethodTable] = {
    "eea_sendRawTransaction": _send,
    "priv_distributeRawTransaction": _distribute,
    "priv_call": _call,
    "priv_getTransactionCount": _transaction_count,
    "priv_getEeaTransactionCount": _eea_transaction_count,
    "priv_getTransactionReceipt": _receipt,
    "priv_getPrivateTransaction": _private_transaction,
    "priv_getCode": _code,
    "priv_debugGetStateRoot": _state_root,
    "priv_getPrivacyPrecompileAddress": lambda _: PRIVACY_PRECOMPILE,
    "priv_createPrivacyGroup": _not_enabled,
    "priv_findPrivacyGroup": _not_enabled,
    "priv_deletePrivacyGroup": _not_enabled,
}
