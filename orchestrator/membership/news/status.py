"""Status events: what a step means to those who listen outside.

Events are made here, from a change before and after a step, and stored in the same transaction as the step; their
schema on the wire belongs to `orchestrator.events`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from orchestrator.membership.facts import AttemptSettled, Fact
from orchestrator.membership.model import ENDED, RESTING, Change, Effect, Kind, MemberProgress, State
from orchestrator.membership.proof.comparison import is_independent
from orchestrator.membership.reasons.table import Reason, describe, rule_of

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class EventType(StrEnum):
    """The types of status events; the values are their CloudEvents types."""

    CHANGE_ACCEPTED = "membership.change.accepted.v1"
    CHANGE_STARTED = "membership.change.started.v1"
    CHANGE_PROGRESSED = "membership.change.progressed.v1"
    CHANGE_SUCCEEDED = "membership.change.succeeded.v1"
    CHANGE_FAILED = "membership.change.failed.v1"
    CHANGE_PARKED = "membership.change.parked.v1"
    CHANGE_CANCELLED = "membership.change.cancelled.v1"
    REQUEST_REJECTED = "membership.request.rejected.v1"
    GROUP_LOCKING = "membership.group.locking.v1"
    GROUP_LOCKED = "membership.group.locked.v1"
    GROUP_UNLOCKED = "membership.group.unlocked.v1"
    GROUP_MEMBERS_CHANGED = "membership.group.members_changed.v1"
    GROUP_DIVERGED = "membership.group.diverged.v1"
    GROUP_CONVERGED = "membership.group.converged.v1"
    GROUP_JOINING = "membership.group.joining.v1"
    GROUP_JOINED = "membership.group.joined.v1"
    GROUP_UNEXTENDABLE = "membership.group.unextendable.v1"
    GROUP_GUARDED = "membership.group.guarded.v1"
    GROUP_ADDITION_REPEATED = "membership.group.addition_repeated.v1"
    NODE_STANDING_STILL = "membership.node.standing_still.v1"
    NODE_MOVING = "membership.node.moving.v1"
    NODE_AHEAD = "membership.node.ahead.v1"
    GROUP_ADDITION_UNEXPECTED = "membership.group.addition_unexpected.v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusEvent:
    """One status event before it has a sequence.

    Attributes:
        type: Its type.
        privacy_group_id: The group it is about: events are ordered within a group. Empty for a rejected request that
            names no valid group, and for what is about a node.
        change_id: The change it is about, if any.
        request_id: The trigger's id, if any.
        data: What it says, beyond the ids.
        traceparent, tracestate: The trace that its change is in, to go on from; empty for none.
    """

    type: EventType
    privacy_group_id: str
    change_id: str | None = None
    request_id: str | None = None
    data: Mapping[str, Json] = field(default_factory=dict)
    traceparent: str = ""
    tracestate: str = ""


_ON_ENTERING = {
    State.SUCCEEDED: EventType.CHANGE_SUCCEEDED,
    State.FAILED: EventType.CHANGE_FAILED,
    State.PARKED: EventType.CHANGE_PARKED,
    State.CANCELLED: EventType.CHANGE_CANCELLED,
    State.PREFLIGHT: EventType.CHANGE_STARTED,
}


def announce(before: Change | None, after: Change, fact: Fact | None = None) -> tuple[StatusEvent, ...]:
    """Return the status events of one step, in the order in which they are to be published.

    What concerns the whole group is told by the change that leads the batch, so that it is told once.

    Args:
        before: The change before the step; None when it was just accepted.
        after: The change after it.
        fact: What was observed.
    """
    if before is None:
        return (_about_change(EventType.CHANGE_ACCEPTED, after),)
    found = _about_group(before, after, _effect(after, fact)) if (after.leads or before.leads) else []
    if after.state is not before.state:
        found.append(_about_change(_ON_ENTERING.get(after.state, EventType.CHANGE_PROGRESSED), after, before))
    elif visible(after.progress) != visible(before.progress):
        found.append(_about_change(EventType.CHANGE_PROGRESSED, after, before))
    return tuple(found)


PROGRESS_STEPS = 50
"""A replay is told of at most so often, however long it takes; what is seen more often is read from the change."""


def visible(progress: tuple[MemberProgress, ...]) -> list[tuple[str, str, int, int, int | None]]:
    """Return what is worth an event when it changes: a replay moves on in steps of some percent."""
    return [
        (p.enclave_key, p.verdict, _step(p.blocks_replayed, p.blocks_total), p.blocks_total, p.in_sync_through)
        for p in progress
    ]


def _step(replayed: int, total: int) -> int:
    return replayed * PROGRESS_STEPS // total if total > 0 else 0


def _effect(after: Change, fact: Fact | None) -> Effect | None:
    return fact.effect if isinstance(fact, AttemptSettled) else after.effect


def _about_group(before: Change, after: Change, effect: Effect | None) -> list[StatusEvent]:
    found = []
    repaired = before.state is State.REMOVING and after.state is State.LOCKING
    if repaired and effect is not None:
        found.append(_group_event(EventType.GROUP_MEMBERS_CHANGED, after, _membership(before, effect)))
    if repaired or (before.state is State.PREFLIGHT and after.state is State.LOCKING):
        found.append(_group_event(EventType.GROUP_LOCKING, after, {}))
    if after.lock_block is not None and before.lock_block is None:
        found.append(_group_event(EventType.GROUP_LOCKED, after, {"block_number": after.lock_block}))
    released = before.lock_block is not None and after.lock_block is None
    if released or (before.state is State.UNLOCKING and after.state is State.VERIFYING):
        found.append(_group_event(EventType.GROUP_UNLOCKED, after, _unlocked(before, effect)))
    elif before.state is State.LOCKING and after.state in RESTING:
        # Whoever holds back since `locking` has to hear that the lock never came.
        data: dict[str, Json] = {"locked_since_block": None}
        if before.plan is not None:
            data["version"] = before.plan.version
        found.append(_group_event(EventType.GROUP_UNLOCKED, after, data))
    moved = before.effect is None and after.state in (State.VERIFYING, State.REPLAYING)
    told = moved and before.state is not State.PREFLIGHT and after.kind is not Kind.UNLOCK_GROUP
    if told and after.effect is not None:
        found.append(_group_event(EventType.GROUP_MEMBERS_CHANGED, after, _membership(before, after.effect)))
    return found


def _unlocked(before: Change, effect: Effect | None) -> dict[str, Json]:
    data: dict[str, Json] = {"locked_since_block": before.lock_block}
    if effect is not None:
        data |= {
            "block_number": effect.block_number,
            "block_hash": effect.block_hash,
            "version": effect.view.version,
        }
        if before.lock_block is not None:
            data["locked_blocks"] = effect.block_number - before.lock_block
    return data


def _membership(before: Change, effect: Effect) -> dict[str, Json]:
    earlier = before.plan.participants if before.plan is not None else ()
    now = effect.view.participants
    return {
        "participants": list(now),
        "added": [key for key in now if key not in earlier],
        "removed": [key for key in earlier if key not in now],
        "version": effect.view.version,
        "block_number": effect.block_number,
        "block_hash": effect.block_hash,
    }


def _group_event(kind: EventType, change: Change, data: Mapping[str, Json]) -> StatusEvent:
    return StatusEvent(
        type=kind,
        privacy_group_id=change.privacy_group_id,
        change_id=change.change_id,
        request_id=change.request_id,
        data=data,
        traceparent="" if change.trace is None else change.trace.traceparent,
        tracestate="" if change.trace is None else change.trace.state,
    )


def _about_change(kind: EventType, change: Change, before: Change | None = None) -> StatusEvent:
    data: dict[str, Json] = {
        "kind": change.kind.value,
        "members": list(change.members),
        "account": change.account,
        "state": change.state.value,
    }
    if before is not None:
        data["previous_state"] = before.state.value
    shown = change if change.effect is not None or before is None else before
    if shown.effect is not None:
        data["effect"] = {
            "block_number": shown.effect.block_number,
            "block_hash": shown.effect.block_hash,
            "version": shown.effect.view.version,
            "state_root": shown.effect.view.state_root,
            "participants": list(shown.effect.view.participants),
        }
    if change.progress:
        data["progress"] = [progress_data(entry) for entry in change.progress]
    if change.state in ENDED:
        data["unobserved"] = [p.enclave_key for p in change.progress if p.verdict == "unobserved"]
        data["attested"] = [p.enclave_key for p in change.progress if p.attested_by is not None]
    if change.state is State.SUCCEEDED:
        data["independent"] = is_independent(change)
    if change.reason is not None and change.state in (State.QUEUED, State.FAILED, State.PARKED, State.UNLOCKING):
        data["reason"] = reason_data(change.reason)
    if change.state is State.QUEUED and change.not_before is not None:
        data["not_before"] = change.not_before.isoformat()
    return _group_event(kind, change, data)


def reason_data(reason: Reason) -> dict[str, Json]:
    """Return a reason as others see it: slug, sentence and remedy."""
    return {
        "slug": reason.slug,
        "detail": reason.detail,
        "message": describe(reason),
        "remedy": rule_of(reason).remedy,
        "members": list(reason.members),
    }


def progress_data(entry: MemberProgress) -> dict[str, Json]:
    """Return one member's progress as others see it."""
    return {
        "member": entry.enclave_key,
        "verdict": entry.verdict.value,
        "blocks_replayed": entry.blocks_replayed,
        "blocks_total": entry.blocks_total,
        "blocks_per_second": _rounded(entry.blocks_per_second, 2),
        "remaining_seconds": _rounded(entry.remaining_seconds, 1),
        "head": entry.head,
        "in_sync_through": entry.in_sync_through,
        "attested_by": entry.attested_by,
    }


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
