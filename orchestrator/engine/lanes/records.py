"""From a step to the unit of work that commits it: the changes, their attempts, the status events and the history."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from orchestrator.engine.ports.records import HistoryEntry
from orchestrator.engine.ports.store import Record
from orchestrator.membership import facts
from orchestrator.membership.attempt import Attempt, AttemptStatus
from orchestrator.membership.model import RESTING, Change, MemberProgress
from orchestrator.membership.news.status import StatusEvent, announce
from orchestrator.membership.proof.bystanders import remarks
from orchestrator.membership.reasons.table import describe


def record_of(steps: Iterable[tuple[Change, Change]], fact: facts.Fact, now: datetime) -> Record:
    """Return the unit of work for the same fact applied to one or more changes.

    Args:
        steps: (before, after) pairs.
        fact: What was observed.
        now: When.
    """
    changes: list[Change] = []
    attempts: list[tuple[str, Attempt]] = []
    events: list[StatusEvent] = []
    history: list[HistoryEntry] = []
    for before, after in steps:
        changes.append(after)
        attempts += [(after.change_id, attempt) for attempt in _attempts(before, after)]
        events += announce(before, after, fact)
        # A replay of an hour is looked at each second: its history is where it began and where it ended.
        if after.state is not before.state or not isinstance(fact, facts.ConvergenceObserved):
            history.append(
                HistoryEntry(
                    change_id=after.change_id,
                    revision=after.revision,
                    at=now,
                    fact=type(fact).__name__,
                    from_state=before.state,
                    to_state=after.state,
                    detail=detail_of(fact, after),
                )
            )
    # What ends comes first: its lane's one leading place is free before another change takes it.
    changes.sort(key=lambda change: change.leads and change.state not in RESTING)
    return Record(changes=tuple(changes), attempts=tuple(attempts), events=tuple(events), history=tuple(history))


def is_lasting(before: Change, after: Change) -> bool:
    """Return whether a step saw anything that has to survive a restart.

    While a replay goes on its members are looked at each second, and mostly only a head has moved; when a thousand
    groups wait for one node, a commit for each look would be all that the store does.
    """
    return before.state is not after.state or _lasting(before) != _lasting(after)


def _lasting(change: Change) -> tuple[Change, tuple[MemberProgress, ...]]:
    progress = tuple(replace(entry, head=None, moved_at=change.created_at, marks=()) for entry in change.progress)
    return replace(change, progress=(), revision=0), progress


def _attempts(before: Change, after: Change) -> list[Attempt]:
    found = []
    dropped = before.attempt
    if dropped is not None and (after.attempt is None or after.attempt.attempt_id != dropped.attempt_id):
        found.append(replace(dropped, status=AttemptStatus.VOID) if dropped.live else dropped)
    if after.attempt is not None and after.attempt != before.attempt:
        found.append(after.attempt)
    return found


def detail_of(fact: facts.Fact, after: Change) -> str:
    """Return what was seen, in a sentence for the history; never a secret (signed bytes are not shown)."""
    match fact:
        case facts.AttemptSigned(attempt=attempt, seconds=seconds):
            marker = f"PMT {attempt.marker.pmt_hash}" + (f", distributed in {seconds:.1f} s" if seconds >= 1 else "")
            return f"{attempt.action} with private nonce {attempt.private_nonce} through {attempt.node}, {marker}"
        case facts.AttemptSent(head=head, nodes=nodes):
            return f"at head {head} through {', '.join(nodes)}"
        case facts.AttemptBurnt(head=head):
            return f"its marker is burnt for good, seen at head {head}"
        case facts.GroupMoved(reason=reason) | facts.GaveWay(reason=reason):
            return describe(reason)
        case facts.AttemptUnmined(head=head):
            return f"not mined up to block {head}"
        case facts.AttemptSettled(effect=effect) if effect is not None:
            return f"in block {effect.block_number}"
        case facts.SendFailed(reason=reason) | facts.Hindered(reason=reason):
            return describe(reason)
        case facts.ConvergenceObserved(bystanders=others) if others is not None and (seen := remarks(others)):
            return "; ".join((*([describe(after.reason)] if after.reason is not None else []), *seen))
        case _:
            return describe(after.reason) if after.reason is not None else ""
