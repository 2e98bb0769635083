"""Executing a private transaction in a group. Pure.

Source: docs/besu.md#outcomes, #nonces; Besu 23.10.3 and 21.1.7, the precompiled contract of flexible (onchain) groups,
for what is checked before a transaction may run at all, and in which order.
"""

from dataclasses import dataclass, replace
from typing import Final

from eth_hash.auto import keccak

from orchestrator.besu.codec.management_contract import MANAGEMENT_PROXY, ManagementContractError
from orchestrator.besu.codec.private_transaction import SignedPrivateTransaction
from orchestrator.devnet.encoding import contract_address, from_base64
from orchestrator.devnet.private.contract import (
    MANAGEMENT_ADDRESSES,
    BlockContext,
    ContractState,
    added_keys,
    call_contract,
    is_addition,
)
from orchestrator.devnet.private.init_code import run_init_code
from orchestrator.devnet.private.private_state import (
    NOT_EXECUTED,
    REJECTED,
    ExecutedTransaction,
    GroupState,
    PrivateReceipt,
)
from orchestrator.devnet.versions import BesuBehaviour


@dataclass(frozen=True, slots=True)
class ExecutionRules:
    """How private transactions are executed on a network.

    Attributes:
        behaviour: of the Besu version.
        nonce_always_increments: ``--privacy-nonce-always-increments``: a failed transaction uses its nonce up.
        revert_reasons: ``--revert-reason-enabled``.
    """

    behaviour: BesuBehaviour
    nonce_always_increments: bool = False
    revert_reasons: bool = True


@dataclass(frozen=True, slots=True)
class Execution:
    """What became of a private transaction: a receipt, and a record when the state changed."""

    receipt: PrivateReceipt
    record: ExecutedTransaction | None = None


_REFUSED: Final = Execution(NOT_EXECUTED)


def fresh_state(rules: ExecutionRules) -> GroupState:
    """The state of a group that does not exist yet: locked, without owner or version."""
    return GroupState(contract=ContractState(abi=rules.behaviour.abi))


def may_execute(state: GroupState, signed: SignedPrivateTransaction, version: bytes, rules: ExecutionRules) -> bool:
    """Tell whether a node executes a transaction at all: lock, version and membership, in this order.

    Args:
        state: of the group before the transaction.
        signed: the transaction.
        version: the group's version that the sender's node attached at submission.
        rules: of the network.
    """
    transaction, contract, behaviour = signed.transaction, state.contract, rules.behaviour
    to_proxy = transaction.to == MANAGEMENT_PROXY
    adding = is_addition(behaviour.abi, transaction.data) and (to_proxy or not behaviour.add_needs_proxy)
    locked = not contract.can_execute
    if adding and not locked:
        return False
    if locked and not (to_proxy if behaviour.proxy_open_while_locked else adding):
        return False
    if contract.version != version:
        return False
    members = contract.participants
    if not members and adding:
        try:
            members = added_keys(transaction.data)
        except ManagementContractError:
            return False
    return transaction.private_from in members


def execute(
    state: GroupState, signed: SignedPrivateTransaction, pmt_hash: bytes, block: BlockContext, rules: ExecutionRules
) -> Execution:
    """Execute a transaction that may be executed: the nonce, then the code.

    The same state, transaction and block give the same result on every node and in every replay.
    """
    transaction = signed.transaction
    private_nonce = state.private_nonces.get(signed.sender, 0)
    if transaction.private_nonce != private_nonce:
        return _failed(state, signed, pmt_hash, REJECTED, rules)
    private_nonces = {**state.private_nonces, signed.sender: private_nonce + 1}
    if transaction.to in MANAGEMENT_ADDRESSES:
        outcome = call_contract(
            state.contract, to=transaction.to, origin=signed.sender, call_data=transaction.data, block=block
        )
        if outcome.reverted:
            reason = outcome.output if rules.revert_reasons else None
            return _failed(state, signed, pmt_hash, PrivateReceipt(status=0, revert_reason=reason), rules)
        changed = replace(state, contract=outcome.state, private_nonces=private_nonces)
        receipt = PrivateReceipt(status=1, output=outcome.output, logs=outcome.logs)
    else:
        digest = keccak(state.application_digest + signed.raw)
        if transaction.to is None:
            code = run_init_code(transaction.data)
            address = contract_address(signed.sender, private_nonce, _group_bytes(signed))
            codes = {**state.codes, address: code}
            changed = replace(state, private_nonces=private_nonces, codes=codes, application_digest=digest)
            receipt = PrivateReceipt(status=1, output=code)
        else:
            changed = replace(state, private_nonces=private_nonces, application_digest=digest)
            receipt = PrivateReceipt(status=1)
    return Execution(receipt, ExecutedTransaction(pmt_hash, signed, changed, receipt))


def process(
    state: GroupState,
    signed: SignedPrivateTransaction,
    version: bytes,
    pmt_hash: bytes,
    block: BlockContext,
    rules: ExecutionRules,
) -> Execution:
    """Check and execute a transaction, as a node does for each marker transaction of a block that it imports."""
    if not may_execute(state, signed, version, rules):
        return _REFUSED
    return execute(state, signed, pmt_hash, block, rules)


def _failed(
    state: GroupState,
    signed: SignedPrivateTransaction,
    pmt_hash: bytes,
    receipt: PrivateReceipt,
    rules: ExecutionRules,
) -> Execution:
    if not (rules.nonce_always_increments and rules.behaviour.nonce_option):
        return Execution(receipt)
    private_nonces = {**state.private_nonces, signed.sender: state.private_nonces.get(signed.sender, 0) + 1}
    # Besu stores such a transaction like a successful one, with status 0 (24.8.0, PrivacyPrecompiledContract).
    stored = replace(receipt, status=0)
    return Execution(
        stored, ExecutedTransaction(pmt_hash, signed, replace(state, private_nonces=private_nonces), stored)
    )


def _group_bytes(signed: SignedPrivateTransaction) -> bytes:
    return from_base64(signed.transaction.privacy_group_id or "") or b""
