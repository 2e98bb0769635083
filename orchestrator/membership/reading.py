"""Reading facts: what each means for a change in its state, and what the change remembers of it."""

from dataclasses import replace
from datetime import datetime

from orchestrator.membership import facts
from orchestrator.membership.errors import ImpossibleStepError
from orchestrator.membership.model import (
    Action,
    Attempt,
    AttemptStatus,
    Change,
    Effect,
    Kind,
    MemberProgress,
    State,
    Verdict,
)
from orchestrator.membership.preflight import plan_for
from orchestrator.membership.reasons import Judgement, Reason, rule_of
from orchestrator.membership.replay import assess, last_proof_block
from orchestrator.membership.retry import FAILURES_WHILE_LOCKED, decide
from orchestrator.membership.signals import Signal

Read = tuple[Signal, Change]


def read(change: Change, fact: facts.Fact, now: datetime) -> Read:
    """Return what a fact means for a change, and the change with what it remembers of the fact (its state as before).

    Args:
        change: The change as it was last committed.
        fact: What was observed.
        now: The present time.
    """
    match fact:
        case facts.Claimed():
            return Signal.CLAIMED, replace(change, lead_id=fact.lead_id, batch=fact.batch, not_before=None)
        case facts.Surveyed():
            return _surveyed(change, fact, now)
        case facts.AttemptSigned():
            return Signal.NOTED, replace(change, attempt=fact.attempt, failures=0)
        case facts.AttemptSent():
            return _sent(change, fact)
        case facts.SendFailed():
            return _send_failed(change, fact, now)
        case facts.AttemptUnmined():
            return _unmined(change, fact)
        case facts.AttemptSettled():
            return _settled(change, fact, now)
        case facts.ConvergenceObserved():
            return _converged(change, fact, now)
        case facts.Hindered():
            return _hindered(change, fact.reason, now)
        case facts.DeadlinePassed():
            return _deadline_passed(change, fact)
        case facts.CancelRequested():
            return Signal.CANCEL, change
        case facts.RetryRequested():
            return Signal.RETRY, replace(change, tries=0, not_before=None, waiting_since=None)


def _judged(change: Change, reason: Reason, now: datetime) -> Read:
    """Let the table of reasons say whether the change waits, fails or needs a person."""
    if change.batch > 1 and rule_of(reason).member_specific:
        # One member of the batch is to blame and the answer does not say which: halve it, the others go through.
        return Signal.RETRY, replace(change, reason=reason, not_before=now, batch_limit=max(1, change.batch // 2))
    decision = decide(change, reason, now)
    same = change.reason is not None and change.reason.slug == reason.slug
    change = replace(change, reason=reason)
    match decision.judgement:
        case Judgement.RETRY:
            since = change.waiting_since if same and change.waiting_since else now
            not_before = decision.not_before
            return Signal.RETRY, replace(change, tries=change.tries + 1, not_before=not_before, waiting_since=since)
        case Judgement.TERMINAL:
            return Signal.FAIL, change
        case Judgement.PARK:
            return Signal.PARK, change


def _set_back(change: Change, reason: Reason, now: datetime) -> Read:
    """The present transaction can't bring the change forward: undo the lock if there may be one, else judge."""
    change = replace(change, attempt=None)
    if change.state is State.ADDING:
        return Signal.UNDO, replace(change, reason=reason, failures=0)
    if change.state is State.UNLOCKING and change.kind is not Kind.UNLOCK_GROUP:
        # A group is never left locked by us: go on trying, more and more slowly.
        return Signal.NOTED, replace(change, failures=change.failures + 1)
    if change.undo_lock and change.reason is not None:
        reason = change.reason
    return _judged(replace(change, failures=0), reason, now)


def _surveyed(change: Change, fact: facts.Surveyed, now: datetime) -> Read:
    plan = plan_for(change, fact)
    if isinstance(plan, Reason):
        return _judged(change, plan, now)
    change = replace(change, plan=plan, reason=None, waiting_since=None)
    if change.kind is Kind.CREATE_GROUP and plan.to_add:
        return Signal.CAN_CREATE, change
    if change.kind is Kind.UNLOCK_GROUP and fact.view.locked:
        return Signal.CAN_UNLOCK, change
    if plan.to_add:
        return Signal.CAN_ADD, change
    if plan.to_remove:
        return Signal.CAN_REMOVE, change
    # It is as asked already (somebody else did it, or we did before a crash); the proof is owed all the same.
    effect = Effect(block_number=fact.view.block_number, block_hash=fact.head_hash, view=fact.view)
    return Signal.NOTHING_TO_DO, replace(change, effect=effect)


def _attempt(change: Change) -> Attempt:
    if change.attempt is None:
        raise ImpossibleStepError(f"change {change.change_id} has no attempt that this fact could be about")
    return change.attempt


def _sent(change: Change, fact: facts.AttemptSent) -> Read:
    attempt = _attempt(change)
    hashes = dict.fromkeys((*attempt.pmt_hashes, fact.pmt_hash))
    attempt = replace(
        attempt, status=AttemptStatus.SENT, pmt_hashes=tuple(hashes), sent_block=fact.head, seen_block=None
    )
    return Signal.NOTED, replace(change, attempt=attempt, failures=0)


def _send_failed(change: Change, fact: facts.SendFailed, now: datetime) -> Read:
    attempt = _attempt(change)
    touched = attempt.sent_block is not None
    if not fact.certain or fact.reason.slug == "private_nonce_used":
        # It may have got through (or an earlier send did): only the chain can tell.
        head = fact.head if fact.head is not None else attempt.sent_block or attempt.since_block
        attempt = replace(attempt, sent_block=head, seen_block=None)
        return Signal.NOTED, replace(change, attempt=attempt, failures=change.failures + 1)
    if touched:
        # Sending again was refused, but the earlier send may still be mined.
        attempt = replace(attempt, sent_block=fact.head or attempt.sent_block, seen_block=None)
        return Signal.NOTED, replace(change, attempt=attempt, failures=change.failures + 1)
    return _hindered(change, fact.reason, now)


def _unmined(change: Change, fact: facts.AttemptUnmined) -> Read:
    attempt = _attempt(change)
    hashes = tuple(dict.fromkeys((*attempt.pmt_hashes, *fact.found)))
    status = AttemptStatus.SENT if hashes else attempt.status
    attempt = replace(attempt, pmt_hashes=hashes, status=status, seen_block=fact.head)
    return Signal.NOTED, replace(change, attempt=attempt, failures=0)


def _settled(change: Change, fact: facts.AttemptSettled, now: datetime) -> Read:
    if fact.effect is None:
        if not fact.spent:
            return Signal.NOTED, replace(change, failures=0)
        return _set_back(change, fact.reason or Reason(slug="execution_refused"), now)
    attempt = None if change.attempt is None else replace(change.attempt, status=AttemptStatus.EFFECTIVE)
    change = replace(change, attempt=attempt, failures=0)
    match change.state:
        case State.LOCKING:
            change = replace(change, lock_block=fact.effect.block_number)
            return (Signal.UNDO if change.undo_lock else Signal.DONE), change
        case State.REMOVING:
            return _removed(change, fact.effect)
        case State.UNLOCKING if change.kind is not Kind.UNLOCK_GROUP:
            return _undone(change, fact.effect, now)
        case _:
            return Signal.DONE, replace(change, effect=fact.effect, lock_block=None, reason=None)


def _removed(change: Change, effect: Effect) -> Read:
    plan = change.plan
    if plan is None:
        raise ImpossibleStepError(f"change {change.change_id} removes without a plan")
    left = tuple(key for key in plan.to_remove if key in effect.view.participants)
    if left:
        return Signal.MORE_TO_REMOVE, replace(change, plan=replace(plan, to_remove=left), attempt=None)
    return Signal.DONE, replace(change, effect=effect, reason=None)


def _undone(change: Change, effect: Effect, now: datetime) -> Read:
    """The group is unlocked again: by our unlock, or by the add, if that got through after all."""
    change = replace(change, lock_block=None, undo_lock=False)
    if change.plan is not None and change.plan.to_add and set(change.plan.to_add) <= set(effect.view.participants):
        return Signal.ADDED_AFTER_ALL, replace(change, effect=effect, reason=None)
    signal, change = _judged(change, change.reason or Reason(slug="execution_refused"), now)
    undone = {
        Signal.RETRY: Signal.UNDONE_RETRY,
        Signal.FAIL: Signal.UNDONE_FAIL,
        Signal.PARK: Signal.UNDONE_PARK,
    }
    return undone[signal], change


def _converged(change: Change, fact: facts.ConvergenceObserved, now: datetime) -> Read:
    effect = change.effect
    if effect is None:
        raise ImpossibleStepError(f"change {change.change_id} is compared before its effect was seen")
    seen = assess(change, fact, now)
    if seen.rolled_back:
        return _rolled_back(change)
    change = replace(change, progress=seen.progress, failures=0)
    if seen.proven:
        plan = change.plan
        if change.state is State.REPLAYING and plan is not None and plan.to_remove:
            return Signal.CAN_REMOVE, replace(change, attempt=None, effect=None)
        return Signal.PROVEN, change
    if fact.head > last_proof_block(effect, change, fact):
        trouble = _trouble(seen.progress)
        if trouble is not None:
            return Signal.PARK, replace(change, reason=trouble)
    return Signal.NOTED, change


def _trouble(progress: tuple[MemberProgress, ...]) -> Reason | None:
    for verdict, slug in ((Verdict.DIVERGED, "member_diverged"), (Verdict.MISSING, "member_missing")):
        keys = tuple(entry.enclave_key for entry in progress if entry.verdict is verdict)
        if keys:
            return Reason(slug=slug, detail=", ".join(keys), members=keys)
    return None


_ROLLED_BACK = {
    Action.CREATE: Signal.CREATE_ROLLED_BACK,
    Action.ADD: Signal.ADD_ROLLED_BACK,
    Action.REMOVE: Signal.REMOVE_ROLLED_BACK,
    Action.UNLOCK: Signal.UNLOCK_ROLLED_BACK,
}


def _rolled_back(change: Change) -> Read:
    """The effect's block is gone: send the same bytes again, or look anew when the effect was not ours."""
    attempt = change.attempt
    change = replace(change, effect=None, progress=())
    if attempt is None or attempt.action not in _ROLLED_BACK:
        return Signal.VIEW_ROLLED_BACK, change
    attempt = replace(attempt, status=AttemptStatus.SIGNED, sent_block=None, seen_block=None)
    return _ROLLED_BACK[attempt.action], replace(change, attempt=attempt)


def _hindered(change: Change, reason: Reason, now: datetime) -> Read:
    match change.state:
        case State.PREFLIGHT:
            return _judged(change, reason, now)
        case State.REPLAYING | State.VERIFYING:
            return Signal.NOTED, replace(change, failures=change.failures + 1)
        case _:
            pass
    touched = change.attempt is not None and change.attempt.sent_block is not None
    locked = change.state in (State.ADDING, State.UNLOCKING)
    passing = rule_of(reason).judgement is Judgement.RETRY
    if touched or (locked and passing and change.failures < FAILURES_WHILE_LOCKED):
        return Signal.NOTED, replace(change, failures=change.failures + 1)
    return _set_back(change, reason, now)


def _deadline_passed(change: Change, fact: facts.DeadlinePassed) -> Read:
    reason = Reason(slug="deadline_passed", detail=f"it was {fact.deadline.isoformat()}")
    touched = change.attempt is not None and change.attempt.sent_block is not None
    match change.state:
        case State.LOCKING if touched:
            return Signal.NOTED, replace(change, reason=reason, undo_lock=True)
        case State.ADDING:
            return Signal.UNDO, replace(change, reason=reason, failures=0)
        case State.REPLAYING | State.VERIFYING:
            behind = tuple(e.enclave_key for e in change.progress if e.verdict is not Verdict.IN_SYNC)
            overdue = Reason(slug="replay_overdue", detail=reason.detail, members=behind)
            return Signal.PARK, replace(change, reason=overdue)
        case _:
            return Signal.FAIL, replace(change, reason=reason)
