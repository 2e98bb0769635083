"""The outcome of every recorded change is read as it was."""

from typing import Any

import pytest

from orchestrator.besu.client.outcome import Done, MemberOutcome, Outcome, Rejected, Rejection, read_outcome
from orchestrator.besu.codec import answers
from orchestrator.besu.codec.management_contract import (
    MANAGEMENT_PROXY,
    ManagementCall,
    Method,
    decode_call,
    decode_flag,
    decode_participants,
    decode_version,
)
from orchestrator.besu.codec.private_transaction import decode_private_transaction
from orchestrator.besu.codec.results import GroupView

VERSIONS = ["21.1.7", "22.4.4", "23.10.3", "25.4.1", "25.5.0"]
ADDED, ALREADY = MemberOutcome.ADDED, MemberOutcome.ALREADY_MEMBER
REMOVED, STRANGER = MemberOutcome.REMOVED, MemberOutcome.NOT_MEMBER

EXPECTED: dict[str, Any] = {
    "create group with members 1 and 2": [ADDED, ADDED],
    "lock": [],
    "add member 3": [ADDED],
    "remove member 3": [REMOVED],
    "add without lock": Rejection.REFUSED_TO_EXECUTE,
    "unlock when unlocked": Rejection.REQUIRE_FAILED,
    "lock by a non-owner account": Rejection.NOT_OWNER,
    "lock when locked": Rejection.REQUIRE_FAILED,
    "remove while locked": Rejection.REQUIRE_FAILED,
    "unlock": [],
    "lock again": [],
    "add a present member": [ALREADY],
    "remove a non-member": [STRANGER],
}
EXPECTED_21: dict[str, Any] = {
    **EXPECTED,
    "lock when locked": Rejection.REFUSED_TO_EXECUTE,
    "remove while locked": Rejection.REFUSED_TO_EXECUTE,
    "unlock": Rejection.REFUSED_TO_EXECUTE,
    "lock again": Rejection.REFUSED_TO_EXECUTE,
}


def told(outcome: Outcome) -> Any:
    if isinstance(outcome, Done):
        return [member for _, member in outcome.members]
    assert isinstance(outcome, Rejected)
    return outcome.rejection


def changes(exchanges: Any) -> Any:
    """Yield (step, call, private nonce, receipt, state before) of each management transaction in order."""
    parts: dict[str, Any] = {}
    view = GroupView(0, "", exists=False, private_nonce=0)
    sent: dict[str, tuple[Any, int, GroupView]] = {}
    count = 0
    for exchange in exchanges:
        if exchange.method == "priv_getTransactionCount" and exchange.result is not None:
            count = answers.read_quantity(exchange.result)
        if exchange.method == "priv_call" and exchange.node == 1 and exchange.result:
            parts[exchange.params[1]["data"]] = answers.read_data(exchange.result)
        if exchange.method == "eea_sendRawTransaction" and exchange.result is not None:
            transaction = decode_private_transaction(exchange.params[0]).transaction
            call = decode_call(transaction.data) if transaction.to == MANAGEMENT_PROXY else None
            if parts.get("0x0d8e6e2c"):
                view = GroupView(
                    0,
                    "",
                    exists=True,
                    participants=decode_participants(parts["0x5aa68ac0"]),
                    locked=decode_flag(parts["0x78b90337"]) is False,
                    version=decode_version(parts["0x0d8e6e2c"]) or "",
                    private_nonce=count,
                )
            if call is not None:
                sent[exchange.result] = (call, transaction.private_nonce, view)
        settled = exchange.method == "priv_getTransactionReceipt" and exchange.result is not None
        if settled and exchange.params[0] in sent and exchange.step not in {"find", "new member reads"}:
            yield exchange.step, *sent[exchange.params[0]], answers.read_private_receipt(exchange.result)


@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_changes_ended_as_read(scenario: Any, version: str) -> None:
    """Each change of the scenario is read as what it did, with what 21.1 does not explain told by the state before."""
    read = {
        step: told(read_outcome(call, private_nonce, receipt, before, None))
        for step, call, private_nonce, before, receipt in changes(scenario(version))
        if step in EXPECTED
    }
    assert read == (EXPECTED_21 if version == "21.1.7" else EXPECTED)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_future_nonce_is_a_wrong_nonce(scenario: Any, version: str) -> None:
    """The transaction that was sent with a future private nonce was rejected for it."""
    (receipt,) = [
        answers.read_private_receipt(exchange.result)
        for exchange in scenario(version)
        if exchange.step == "private nonce in the future"
        and exchange.method == "priv_getTransactionReceipt"
        and exchange.result is not None
    ]
    assert told(read_outcome(ManagementCall(Method.LOCK), 99, receipt, None, None)) is Rejection.WRONG_NONCE
