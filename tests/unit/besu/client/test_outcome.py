import pytest

from orchestrator.besu.client.outcome import Done, MemberOutcome, Outcome, Rejected, Rejection, Unseen, read_outcome
from orchestrator.besu.codec.management_contract import (
    Abi,
    ContractLog,
    ManagementCall,
    Method,
    participant_added_log,
    participant_removed_log,
)
from orchestrator.besu.codec.results import GroupView, Log, PrivateReceipt

HASH = "0x" + "11" * 32
A = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="
B = "QfeDAys9MPDs2XHExtc84jKGHxZg/aj52DTh0vtA3Xc="
C = "1iTZde/ndBHvzhcl7V68x44Vx7pl8nwx9LqnM/AfJUg="
NOT_OWNER = bytes.fromhex(
    "08c379a00000000000000000000000000000000000000000000000000000000000000020"
    "00000000000000000000000000000000000000000000000000000000000000154f726967696e206e6f7420746865206f776e65722e"
    "0000000000000000000000"
)


def receipt(status: int, *, revert: bytes | None = None, logs: tuple[ContractLog, ...] = ()) -> PrivateReceipt:
    written = tuple(Log(log.address, log.topics, log.data, 5, HASH, HASH, i, False) for i, log in enumerate(logs))
    return PrivateReceipt(HASH, 5, HASH, status, b"", revert, written)


def view(*members: str, locked: bool = False, private_nonce: int | None = 3) -> GroupView:
    exists = bool(members)
    return GroupView(5, HASH, exists=exists, participants=members, locked=locked, private_nonce=private_nonce)


def outcome(
    call: ManagementCall,
    received: PrivateReceipt | None,
    before: GroupView | None = None,
    after: GroupView | None = None,
) -> Outcome:
    return read_outcome(call, 3, received, before, after)


def add(*members: str) -> ManagementCall:
    return ManagementCall(Method.ADD_PARTICIPANTS, members, Abi.BYTES)


def remove(member: str) -> ManagementCall:
    return ManagementCall(Method.REMOVE_PARTICIPANT, (member,), Abi.BYTES)


LOCK, UNLOCK = ManagementCall(Method.LOCK), ManagementCall(Method.UNLOCK)


def test_each_key_of_an_add_has_its_own_outcome() -> None:
    """The logs say for each key whether it was added, whatever the output of the whole call is."""
    logs = (
        participant_added_log(Abi.BYTES, A, success=False),
        participant_added_log(Abi.BYTES, B, success=True),
        participant_added_log(Abi.BYTES, B, success=False),
    )
    assert outcome(add(A, B, B), receipt(1, logs=logs)) == Done(
        ((A, MemberOutcome.ALREADY_MEMBER), (B, MemberOutcome.ADDED))
    )


def test_an_add_without_logs_is_read_off_the_state() -> None:
    """A node that kept no logs still shows who is a member afterwards."""
    assert outcome(add(C), receipt(1), after=view(A, B, C)) == Done(((C, MemberOutcome.ADDED),))


def test_a_removal_is_told_by_its_log() -> None:
    """Removing a stranger executes too, without a log."""
    assert outcome(remove(B), receipt(1, logs=(participant_removed_log(Abi.BYTES, B),))) == Done(
        ((B, MemberOutcome.REMOVED),)
    )
    assert outcome(remove(B), receipt(1)) == Done(((B, MemberOutcome.NOT_MEMBER),))


def test_locks_have_no_members() -> None:
    """An executed lock or unlock is done, and nothing more is said."""
    assert outcome(LOCK, receipt(1)) == outcome(UNLOCK, receipt(1)) == Done()


@pytest.mark.parametrize(
    ("call", "received", "before", "rejection"),
    [
        (LOCK, receipt(2), None, Rejection.WRONG_NONCE),
        (LOCK, receipt(0), view(A, private_nonce=4), Rejection.WRONG_NONCE),
        (LOCK, receipt(0, revert=NOT_OWNER), None, Rejection.NOT_OWNER),
        (LOCK, receipt(0, revert=b"other"), None, Rejection.REQUIRE_FAILED),
        (LOCK, receipt(0, revert=b""), view(A, locked=True), Rejection.REQUIRE_FAILED),
        (LOCK, receipt(0, revert=b""), None, Rejection.REQUIRE_FAILED),
        (LOCK, receipt(0), view(A, locked=True), Rejection.REFUSED_TO_EXECUTE),
        (UNLOCK, receipt(0), view(A, locked=False), Rejection.REFUSED_TO_EXECUTE),
        (UNLOCK, receipt(0), view(A, locked=True), Rejection.REFUSED_TO_EXECUTE),
        (add(B), receipt(0), view(A, locked=False), Rejection.REFUSED_TO_EXECUTE),
        (add(B), receipt(0), view(A, locked=True), Rejection.REFUSED_TO_EXECUTE),
        (remove(A), receipt(0), view(A, B, locked=True), Rejection.REFUSED_TO_EXECUTE),
        (remove(A), receipt(0), None, Rejection.UNEXPLAINED),
    ],
)
def test_failures_are_told_apart(
    call: ManagementCall, received: PrivateReceipt, before: GroupView | None, rejection: Rejection
) -> None:
    """The receipt, and where it gives no reason the state before, say why nothing happened."""
    read = outcome(call, received, before)
    assert isinstance(read, Rejected)
    assert read.rejection is rejection
    assert read.detail


def test_old_nodes_are_told_how_to_unlock() -> None:
    """An unlock that fails on a locked group is what Besu before 21.7.4 does, and the detail says what works there."""
    read = outcome(UNLOCK, receipt(0), view(A, locked=True))
    assert isinstance(read, Rejected)
    assert "empty addParticipants" in read.detail


@pytest.mark.parametrize(
    ("call", "before", "after", "expected"),
    [
        (add(C), view(A, B, locked=True), view(A, B, C), Done(((C, MemberOutcome.ADDED),))),
        (
            add(B, C),
            view(A, B, locked=True),
            view(A, B, C),
            Done(((B, MemberOutcome.ALREADY_MEMBER), (C, MemberOutcome.ADDED))),
        ),
        (add(C), view(A, B), view(A, B), Unseen()),
        (add(B, C), view(A), view(A, B), Unseen()),
        (add(C), None, view(A, B, C), Unseen()),
        (remove(B), view(A, B), view(A), Done(((B, MemberOutcome.REMOVED),))),
        (remove(B), view(A, B), view(A, B), Unseen()),
        (remove(C), view(A, B), view(A, B), Unseen()),
        (LOCK, view(A), view(A, locked=True), Unseen()),
        (LOCK, None, None, Unseen()),
        (add(C), view(A), view(), Unseen()),
    ],
)
def test_without_a_receipt_only_an_effect_counts(
    call: ManagementCall, before: GroupView | None, after: GroupView | None, expected: Outcome
) -> None:
    """A node without the payload cannot tell, unless the members changed exactly as asked."""
    assert outcome(call, None, before, after) == expected
