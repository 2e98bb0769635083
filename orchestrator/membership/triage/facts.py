"""Reading facts: what each means for a change in its state, and what the change remembers of it."""

from dataclasses import replace
from datetime import datetime

from orchestrator.membership import facts
from orchestrator.membership.attempt import Action, AttemptStatus
from orchestrator.membership.errors import RefusedRequestError
from orchestrator.membership.model import ACTION_OF, Change, Effect, Kind, State, Verdict
from orchestrator.membership.preflight import plan_for, plan_to_unlock
from orchestrator.membership.reasons.table import Reason
from orchestrator.membership.repair import OVERTAKEN, readds, repair_of, said_of_repair, withdraws
from orchestrator.membership.retry import WIDEN_AFTER_BLOCKS
from orchestrator.membership.triage.attempts import (
    given_up,
    read_burnt,
    read_gave_way,
    read_hindered,
    read_moved,
    read_send_failed,
    read_sent,
    read_settled,
    read_signed,
    read_unmined,
    relocks,
)
from orchestrator.membership.triage.proofs import read_converged
from orchestrator.membership.triage.reasons import counted, judge
from orchestrator.membership.triage.signals import Signal

Read = tuple[Signal, Change]

_NO_EFFECT = (Action.LOCK, Action.UNLOCK)
"""What changes no member; a lock of ours that is left is `lock_block`."""

REPLAY_OVERDUE = "replay_overdue"
"""Reason of a change whose deadline passed while its members were not in sync yet."""


def read(change: Change, fact: facts.Fact, now: datetime) -> Read:
    """Return what a fact means for a change, and the change with what it remembers of the fact (its state as before).

    Args:
        change: The change as it was last committed.
        fact: What was observed.
        now: The present time.

    Raises:
        ImpossibleStepError: The fact is about something that the change does not have.
        RefusedRequestError: An operator's request that the change's state does not allow.
    """
    match fact:
        case facts.Claimed():
            return Signal.CLAIMED, replace(change, lead_id=fact.lead_id, batch=fact.batch, not_before=None)
        case facts.Surveyed():
            return _surveyed(change, fact, now)
        case facts.AttemptSigned():
            return read_signed(change, fact)
        case facts.AttemptSent():
            return read_sent(change, fact)
        case facts.SendFailed():
            return read_send_failed(change, fact, now)
        case facts.AttemptUnmined():
            return read_unmined(change, fact)
        case facts.AttemptSettled():
            return read_settled(change, fact, now)
        case facts.AttemptBurnt():
            return read_burnt(change, now)
        case facts.GroupMoved():
            return read_moved(change, fact)
        case facts.GaveWay():
            return read_gave_way(change, fact)
        case facts.ConvergenceObserved():
            return read_converged(change, fact, now)
        case facts.Hindered():
            return _hindered(change, fact, now)
        case facts.DeadlinePassed():
            return _deadline_passed(change, fact)
        case facts.CancelRequested():
            return _cancelled(change, fact, now)
        case facts.ParkRequested():
            return _parked(change, fact)
        case facts.RetryRequested():
            return _retried(change, now)
        case facts.RepairRequested():
            return _repaired(change)


def waiting_for(change: Change, fact: facts.Fact) -> Reason | None:
    """Return what a change waits for after a fact that left it where it was; None when it gets on.

    Args:
        change: The change before the fact.
        fact: What was observed.
    """
    match fact:
        case facts.Hindered() | facts.SendFailed():
            return fact.reason
        case facts.AttemptUnmined() if change.attempt is not None:
            attempt = change.attempt
            if change.giving_up or attempt.action is not ACTION_OF.get(change.state):
                detail = f"neither the marker of its {attempt.action} nor what burns it is in a block up to {fact.head}"
                return Reason(slug="marker_not_burnt", detail=detail)
            # Sooner it is waiting as every transaction does, and nothing to tell of.
            if fact.head - attempt.since_block > WIDEN_AFTER_BLOCKS:
                detail = (
                    f"no block up to {fact.head} holds the marker of its {attempt.action}, {attempt.marker.pmt_hash}"
                )
                return Reason(slug="marker_unmined", detail=detail)
    return None


def _surveyed(change: Change, fact: facts.Surveyed, now: datetime) -> Read:
    plan = plan_for(change, fact)
    if isinstance(plan, Reason) and plan.slug == "locked_by_other" and fact.own_lock is not None:
        # A lock in our attempts is never another's, however it came back: it is undone before anything else.
        detail = f"at block {fact.head} the group is locked by an earlier lock of ours"
        reason = Reason(slug="group_moved", detail=detail)
        unlocking = plan_to_unlock(change, fact, fact.own_lock)
        undoing = replace(change, plan=unlocking, lock_block=fact.head, reason=counted(change, reason))
        return Signal.OWN_LOCK_FOUND, undoing
    if isinstance(plan, Reason):
        plan = replace(plan, detail=said_of_repair(change) + plan.detail)
        return judge(change, counted(change, plan), now)
    # The reason of the try before is kept until this one has its effect: the same again uses up patience.
    change = replace(change, plan=plan)
    if change.kind is Kind.CREATE_GROUP and plan.to_add:
        return Signal.NO_GROUP, change
    if change.kind is Kind.UNLOCK_GROUP and fact.view.locked:
        return Signal.LOCKED, change
    if readds(plan):
        return Signal.MEMBERS_TO_GO, change
    if plan.to_add:
        return Signal.MEMBERS_MISSING, change
    if plan.to_remove:
        return Signal.MEMBERS_TO_GO, change
    # It is as asked already (somebody else did it, or we did before a crash); the proof is owed all the same.
    effect = Effect(block_number=fact.view.block_number, block_hash=fact.head_hash, view=fact.view)
    return Signal.AS_ASKED, replace(change, effect=effect, reason=None, waiting_since=None)


def _hindered(change: Change, fact: facts.Hindered, now: datetime) -> Read:
    match change.state:
        case State.PREFLIGHT:
            return judge(change, counted(change, fact.reason), now)
        case State.REPLAYING | State.VERIFYING:
            return Signal.UNDECIDED, replace(change, failures=change.failures + 1)
        case _:
            return read_hindered(change, fact.reason, now)


def _deadline_passed(change: Change, fact: facts.DeadlinePassed) -> Read:
    reason = Reason(slug="deadline_passed", detail=f"it was {fact.deadline.isoformat()}")
    match change.state:
        case State.ADDING:
            kept = change if change.in_flight is not None else given_up(change)
            return Signal.DEADLINE_PASSED_LOCKED, replace(kept, reason=reason, failures=0)
        case State.LOCKING | State.CREATING | State.REMOVING if change.in_flight is not None:
            return Signal.UNDECIDED, replace(change, reason=reason, giving_up=True, failures=0)
        case State.LOCKING if relocks(change):
            return Signal.DEADLINE_PASSED_LOCKED, replace(given_up(change), reason=reason, failures=0)
        case State.REPLAYING | State.VERIFYING:
            behind = tuple(e.enclave_key for e in change.progress if e.verdict is not Verdict.IN_SYNC)
            overdue = Reason(slug=REPLAY_OVERDUE, detail=reason.detail, members=behind)
            return Signal.DEADLINE_PASSED, replace(change, reason=overdue)
        case _:
            return Signal.DEADLINE_PASSED, replace(given_up(change), reason=reason)


def _cancelled(change: Change, fact: facts.CancelRequested, now: datetime) -> Read:
    proving = change.state in (State.REPLAYING, State.VERIFYING, State.PARKED)
    if withdraws(change) and not proving:
        raise RefusedRequestError(
            f"change {change.change_id} can't be cancelled: it takes out members whose guard refused the group's "
            "history, and leaves nothing else behind. Let it end."
        )
    resting = change.kind is Kind.CURE_GROUP and change.repairs and change.state in (State.QUEUED, State.PREFLIGHT)
    if change.repair is not None and not change.repair.refused and not proving and not resting:
        raise RefusedRequestError(
            f"change {change.change_id} can't be cancelled: it removes members to add them again, and would leave them "
            "out. Let it end; to take its members out, ask for their removal."
        )
    if change.state in ACTION_OF or change.state in (State.REPLAYING, State.VERIFYING):
        # At work it is given up as by its deadline: what can be mined is burnt, a lock of ours undone.
        return Signal.UNDECIDED, replace(change, deadline=now)
    if change.transacted:
        if _can_be_closed(change):
            return Signal.CLOSE_ASKED, replace(change, reason=Reason(slug="closed_by_operator", detail=fact.detail))
        raise RefusedRequestError(
            f"change {change.change_id} can't be cancelled: it has sent a transaction to the group. "
            "Retry it when it is parked; to take its members out again, ask for their removal."
        )
    if not fact.detail:
        return Signal.CANCEL_ASKED, change
    return Signal.CANCEL_ASKED, replace(change, reason=Reason(slug="cancelled_by_operator", detail=fact.detail))


def _can_be_closed(change: Change) -> bool:
    """Whether a parked change left nothing in the group and nothing of it is to come: a failed one had no effect."""
    attempt = change.attempt
    acted = attempt is not None and attempt.status is AttemptStatus.EFFECTIVE and attempt.action not in _NO_EFFECT
    repair = change.repair
    out = repair is not None and bool(repair.refused) and repair.removed_block is not None
    undone = out and repair is not None and set(change.members) <= set(repair.members)
    done = not undone and (acted or change.effect is not None or repair is not None)
    return change.state is State.PARKED and change.in_flight is None and change.lock_block is None and not done


def _parked(change: Change, fact: facts.ParkRequested) -> Read:
    if change.state not in (State.QUEUED, State.PREFLIGHT, State.REPLAYING, State.VERIFYING):
        raise RefusedRequestError(
            f"change {change.change_id} is {change.state}: it can be parked while it is queued or being proven"
        )
    if change.effect is not None and not change.effect.deep:
        raise RefusedRequestError(
            f"change {change.change_id} can't be parked before its effect is deep; try again soon"
        )
    return Signal.PARK_ASKED, replace(change, reason=Reason(slug="parked_by_operator", detail=fact.detail))


def _retried(change: Change, now: datetime) -> Read:
    if change.state is not State.PARKED:
        raise RefusedRequestError(f"change {change.change_id} is {change.state}: only a parked change can be retried")
    # A deadline that is over would end it at once; who retries it wants it done. The clock that parked it for its
    # deadline may be ahead of this one.
    overdue = change.reason is not None and change.reason.slug == REPLAY_OVERDUE
    over = change.deadline is not None and (overdue or change.deadline <= now)
    reason = None if change.reason is None else replace(change.reason, times=0)
    overtaken = change.reason is not None and change.reason.slug == OVERTAKEN
    if change.repairs and overtaken and change.kind is not Kind.CURE_GROUP:
        change = replace(change, repair=None)  # whoever retries it has seen what somebody else did
    change = replace(change, tries=0, not_before=None, waiting_since=None, reason=reason)
    return Signal.RETRY_ASKED, replace(change, deadline=None) if over else change


def _repaired(change: Change) -> Read:
    repair = repair_of(change)
    if repair is None:
        raise RefusedRequestError(f"change {change.change_id} is {change.state}: there is no lost addition to repair")
    # By itself, and to its end: once the member is removed, a deadline that passes would leave it out.
    afresh = replace(change, repair=repair, batch_limit=1, deadline=None, tries=0, not_before=None)
    return Signal.RETRY_ASKED, replace(afresh, waiting_since=None, reason=None)
