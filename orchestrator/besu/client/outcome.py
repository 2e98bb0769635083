"""What became of a change that was mined, read from state and logs, never from the status alone. Pure.

Source: docs/besu.md#outcomes.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator.besu.codec.management_contract import (
    MAX_MEMBERS,
    NOT_OWNER_MESSAGE,
    ContractLog,
    ManagementCall,
    Method,
    ParticipantAdded,
    ParticipantRemoved,
    decode_log,
)
from orchestrator.besu.codec.results import GroupView, PrivateReceipt
from orchestrator.besu.codec.rpc_errors import revert_reason_of

_EXECUTED: Final = 1
NOT_EXECUTED: Final = 2
"""Status of a private transaction that was rejected before execution."""


class MemberOutcome(StrEnum):
    """What became of one enclave key of an add or a remove."""

    ADDED = "added"
    ALREADY_MEMBER = "already_member"
    REMOVED = "removed"
    NOT_MEMBER = "not_member"


class Rejection(StrEnum):
    """Why a mined private transaction had no effect."""

    WRONG_NONCE = "wrong_nonce"
    """Its private nonce was not the next one; sign anew with the node's count."""
    NOT_OWNER = "not_owner"
    """The account did not create the group."""
    REQUIRE_FAILED = "require_failed"
    """The contract refused: locked when it was locked, unlocked when it was unlocked, removed while locked."""
    REFUSED_TO_EXECUTE = "refused_to_execute"
    """The node did not run it: group locked, not locked for an add, version changed, or the sender is no member."""
    UNEXPLAINED = "unexplained"
    """The node gave no reason and the states before and after do not tell either."""


@dataclass(frozen=True, slots=True)
class Done:
    """The transaction executed.

    Attributes:
        members: what became of each key of an add or a remove, in the call's order; empty for the other calls.
    """

    members: tuple[tuple[str, MemberOutcome], ...] = ()


@dataclass(frozen=True, slots=True)
class Rejected:
    """The transaction was mined and had no effect."""

    rejection: Rejection
    detail: str


@dataclass(frozen=True, slots=True)
class Unseen:
    """This node cannot tell: it has no private receipt and the group's state does not show an effect."""


Outcome = Done | Rejected | Unseen


def read_outcome(
    call: ManagementCall,
    private_nonce: int,
    receipt: PrivateReceipt | None,
    before: GroupView | None,
    after: GroupView | None,
) -> Outcome:
    """Tell what a mined change did.

    Args:
        call: what the transaction asked of the contract.
        private_nonce: the transaction's own.
        receipt: its private receipt; None when the node has none.
        before: the group before the transaction's block; its ``private_nonce``, where asked, is the one to expect.
        after: the group at the transaction's block.
    """
    if receipt is None:
        return _by_state(call, before, after)
    if receipt.status == _EXECUTED:
        return Done(_members(call, receipt, after))
    if receipt.status == NOT_EXECUTED:
        return Rejected(Rejection.WRONG_NONCE, f"private nonce {private_nonce} was not the next one")
    return _failure(call, private_nonce, receipt, before)


def _members(
    call: ManagementCall, receipt: PrivateReceipt, after: GroupView | None
) -> tuple[tuple[str, MemberOutcome], ...]:
    # One for each member; a node may list thousands more.
    logs = receipt.logs[: 2 * MAX_MEMBERS]
    logged = [decode_log(ContractLog(log.address, log.topics, log.data)) for log in logs]
    if call.method is Method.REMOVE_PARTICIPANT:
        gone = {log.member for log in logged if isinstance(log, ParticipantRemoved)}
        return tuple(
            (member, MemberOutcome.REMOVED if member in gone else MemberOutcome.NOT_MEMBER) for member in call.members
        )
    if call.method is not Method.ADD_PARTICIPANTS:
        return ()
    success = {log.member: log.success for log in reversed(logged) if isinstance(log, ParticipantAdded)}
    present = set(after.participants) if after is not None else set()
    return tuple(
        (member, MemberOutcome.ADDED if success.get(member, member in present) else MemberOutcome.ALREADY_MEMBER)
        for member in dict.fromkeys(call.members)
    )


def _failure(call: ManagementCall, private_nonce: int, receipt: PrivateReceipt, before: GroupView | None) -> Rejected:
    reverted = receipt.revert_data
    if reverted:
        reason = revert_reason_of("0x" + reverted.hex())
        if reason == NOT_OWNER_MESSAGE:
            return Rejected(Rejection.NOT_OWNER, reason)
        return Rejected(Rejection.REQUIRE_FAILED, reason or "the contract refused with data that are no text")
    if reverted is not None:
        return Rejected(Rejection.REQUIRE_FAILED, _lock_state(call, before))
    return _bare_failure(call, private_nonce, before)


def _bare_failure(call: ManagementCall, private_nonce: int, before: GroupView | None) -> Rejected:
    """A failure without a reason: on 21.x also what later versions explain, so the state before has to tell."""
    if before is None:
        return Rejected(Rejection.UNEXPLAINED, "the node gave no reason and the state before is not known")
    if before.private_nonce is not None and before.private_nonce != private_nonce:
        detail = f"private nonce {private_nonce} was sent, {before.private_nonce} was the next one"
        return Rejected(Rejection.WRONG_NONCE, detail)
    refused = {
        Method.ADD_PARTICIPANTS: before.exists and not before.locked,
        Method.REMOVE_PARTICIPANT: before.locked,
        Method.LOCK: before.locked,
        Method.UNLOCK: not before.locked,
    }
    if refused.get(call.method, False):
        return Rejected(Rejection.REFUSED_TO_EXECUTE, _lock_state(call, before))
    detail = "the group changed while it was under way, or the sender's enclave key is no member"
    if call.method is Method.UNLOCK:
        detail += "; before Besu 21.7.4 unlock never works: send an empty addParticipants instead"
    return Rejected(Rejection.REFUSED_TO_EXECUTE, detail)


def _lock_state(call: ManagementCall, before: GroupView | None) -> str:
    if before is None:
        return f"{call.method.value} does not suit the group's lock state"
    return f"{call.method.value} while the group was {'locked' if before.locked else 'unlocked'}"


def _by_state(call: ManagementCall, before: GroupView | None, after: GroupView | None) -> Outcome:
    """Without a receipt an effect still shows when the state changed as the call would change it."""
    if after is None or not after.exists:
        return Unseen()
    earlier = set(before.participants) if before is not None and before.exists else None
    present = set(after.participants)
    if call.method is Method.ADD_PARTICIPANTS and call.members and earlier is not None:
        added = [member for member in dict.fromkeys(call.members) if member in present - earlier]
        if added and set(call.members) <= present:
            return Done(
                tuple(
                    (member, MemberOutcome.ADDED if member in added else MemberOutcome.ALREADY_MEMBER)
                    for member in dict.fromkeys(call.members)
                )
            )
    if call.method is Method.REMOVE_PARTICIPANT and earlier is not None and set(call.members) <= earlier - present:
        return Done(tuple((member, MemberOutcome.REMOVED) for member in call.members))
    return Unseen()
