"""Repairing a member that lost its addition: remove it and add it again, once, as changes of their own.

An addition can get lost one block later although it succeeded (docs/besu.md#how-members-silently-diverge, 1); removing
and adding the member again repaired it on real nodes. The two changes are known by their request ids, so that however
often this is decided anew, after a crash or by another replica, each is made once.
"""

from dataclasses import dataclass
from enum import StrEnum

from orchestrator.membership.model import Change, Kind, State, Verdict

PREFIX = "repair."
LOST = frozenset({Verdict.MISSING, Verdict.DIVERGED})
REASONS = frozenset({"member_missing", "member_diverged"})


class Step(StrEnum):
    """What a repair needs next."""

    REMOVE = "remove"
    ADD = "add"
    RETRY = "retry"
    WAIT = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairIds:
    """The request ids of one repair's changes."""

    removal: str
    addition: str


def repair_ids(change: Change) -> RepairIds:
    """Return the request ids of a change's repair."""
    return RepairIds(removal=f"{PREFIX}{change.change_id}.remove", addition=f"{PREFIX}{change.change_id}.add")


def lost_members(change: Change) -> tuple[str, ...]:
    """Return the members whose addition got lost, when that is all that a parked change is parked for; else none.

    A repair's own changes are never repaired, and an old member that differs is no lost addition.

    Args:
        change: A change.
    """
    parked = change.state is State.PARKED and change.reason is not None and change.reason.slug in REASONS
    if not parked or change.kind not in (Kind.ADD_MEMBERS, Kind.SET_MEMBERS) or change.request_id.startswith(PREFIX):
        return ()
    lost = tuple(entry.enclave_key for entry in change.progress if entry.verdict in LOST)
    added = change.plan.to_add if change.plan is not None else ()
    return lost if set(lost) <= set(added) else ()


def next_step(removal: Change | None, addition: Change | None) -> Step:
    """Return what a repair needs next.

    Args:
        removal: The change that removes the lost members, if it was asked for.
        addition: The change that adds them again, if it was asked for.
    """
    if removal is None:
        return Step.REMOVE
    if removal.state is not State.SUCCEEDED:
        return Step.WAIT  # it runs, or it needs a person; so does the change that is repaired
    if addition is None:
        return Step.ADD
    return Step.RETRY if addition.state is State.SUCCEEDED else Step.WAIT
