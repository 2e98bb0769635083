"""Reading what was observed of the members' nodes: proven, not yet, in trouble, or reorganised away."""

from dataclasses import replace
from datetime import datetime, timedelta

from orchestrator.membership import facts
from orchestrator.membership.attempt import Action, AttemptStatus
from orchestrator.membership.errors import ImpossibleStepError
from orchestrator.membership.model import Change, Effect, Kind, MemberProgress, State, Verdict
from orchestrator.membership.proof.bystanders import rollback
from orchestrator.membership.proof.comparison import SETTLED_BLOCKS, assess, is_settled, last_proof_block
from orchestrator.membership.reasons.table import Reason
from orchestrator.membership.repair import lost_again, to_withdraw, withdrawal_of, withdrawn, withdraws
from orchestrator.membership.triage.attempts import to_be_sent_again
from orchestrator.membership.triage.reasons import counted
from orchestrator.membership.triage.signals import Signal

Read = tuple[Signal, Change]

OVERDUE_AFTER_PATIENCES = 10
"""A member that is stalled for so many times the time after which it is called stalled is left to a person."""

_ROLLED_BACK = {
    Action.CREATE: Signal.CREATE_ROLLED_BACK,
    Action.ADD: Signal.ADD_ROLLED_BACK,
    Action.REMOVE: Signal.REMOVE_ROLLED_BACK,
    Action.UNLOCK: Signal.UNLOCK_ROLLED_BACK,
}


def read_converged(change: Change, fact: facts.ConvergenceObserved, now: datetime) -> Read:
    """The members' nodes were compared."""
    effect = change.effect
    if effect is None:
        raise ImpossibleStepError(f"change {change.change_id} is compared before its effect was seen")
    seen = assess(change, fact, now)
    if seen.rolled_back:
        return _rolled_back(change, fact.head)
    # Once deep, always: a node that falls behind afterwards takes nothing back.
    effect = replace(effect, deep=effect.deep or fact.head >= effect.block_number + fact.confirmations)
    change = replace(change, progress=seen.progress, effect=effect, failures=0)
    # No verdict before: what a reorganisation may still take back is not told as proven, nor as trouble.
    if not effect.deep:
        return Signal.UNDECIDED, change
    if seen.proven and fact.bystanders is not None:
        harm = rollback(fact.bystanders.groups)
        return _proven(change, effect) if harm is None else (Signal.TROUBLE_SEEN, replace(change, reason=harm))
    last = last_proof_block(effect, change, fact)
    if fact.head > last + SETTLED_BLOCKS:
        patience = timedelta(seconds=fact.stalled_after_seconds)
        settled = tuple(entry for entry in seen.progress if is_settled(entry, last, now, patience))
        trouble = _trouble(settled, frozenset(found.enclave_key for found in fact.sightings if found.forgetful))
        if trouble is not None:
            # A guard that refused will refuse again: the member would be listed for ever and have nothing.
            withdrawal = withdrawal_of(change, trouble.members, fact.sightings)
            if withdrawal is not None:
                return Signal.FOUND_OTHERWISE, to_withdraw(change, withdrawal)
            trouble = replace(trouble, detail=trouble.detail + lost_again(change))
            return Signal.TROUBLE_SEEN, replace(change, reason=trouble)
    overdue = _overdue(seen.progress, now - OVERDUE_AFTER_PATIENCES * timedelta(seconds=fact.stalled_after_seconds))
    if overdue is not None:
        return Signal.TROUBLE_SEEN, replace(change, reason=overdue)
    return Signal.UNDECIDED, change


def _proven(change: Change, effect: Effect) -> Read:
    plan, present = change.plan, effect.view.participants
    if withdraws(change) and change.repair is not None and set(change.repair.members).isdisjoint(present):
        return Signal.TROUBLE_SEEN, withdrawn(change, effect.block_number)
    # After the proof of the additions: those who leave stay members until the new ones have the group.
    extra = tuple(key for key in present if key not in change.members)
    if change.kind is Kind.SET_MEMBERS and change.state is State.REPLAYING and extra and plan is not None:
        plan = replace(plan, to_remove=extra, last_block=effect.block_number)
        return Signal.MEMBERS_TO_GO, replace(change, plan=plan, effect=None, progress=())
    if not _is_as_asked(change, set(present)):
        # What was so already when it was looked at was not ours to do, and somebody else has undone it since.
        reason = Reason(slug="group_moved", detail="somebody else changed the members meanwhile")
        return Signal.FOUND_OTHERWISE, replace(change, reason=counted(change, reason))
    return Signal.PROVEN, change


def _is_as_asked(change: Change, present: set[str]) -> bool:
    asked = set(change.members)
    match change.kind:
        case Kind.CREATE_GROUP | Kind.ADD_MEMBERS | Kind.CURE_GROUP:
            return asked <= present
        case Kind.REMOVE_MEMBERS:
            return not asked & present
        case Kind.SET_MEMBERS:
            return asked == present
        case Kind.UNLOCK_GROUP:
            return True


def _trouble(progress: tuple[MemberProgress, ...], forgetful: frozenset[str]) -> Reason | None:
    for verdict, slug in ((Verdict.DIVERGED, "member_diverged"), (Verdict.MISSING, "member_missing")):
        keys = tuple(entry.enclave_key for entry in progress if entry.verdict is verdict)
        if keys:
            # Adding it again is refused there, or lost again (docs/besu.md#versions, 6).
            forgotten = verdict is Verdict.MISSING and not forgetful.isdisjoint(keys)
            return Reason(slug="member_forgotten" if forgotten else slug, detail=", ".join(keys), members=keys)
    return None


def _overdue(progress: tuple[MemberProgress, ...], since: datetime) -> Reason | None:
    """A member that has stood still for very long needs a person; meanwhile the group's other changes may go on."""
    still = [entry for entry in progress if entry.verdict is Verdict.STALLED and entry.moved_at <= since]
    if not still:
        return None
    oldest = min(entry.moved_at for entry in still)
    keys = tuple(entry.enclave_key for entry in still)
    return Reason(slug="replay_overdue", detail=f"no movement since {oldest.isoformat()}", members=keys)


def _rolled_back(change: Change, head: int) -> Read:
    """The effect's block is gone: broadcast the same marker again, or look anew when the effect was not ours."""
    attempt, plan = change.attempt, change.plan
    change = replace(change, effect=None, progress=())
    found_done = plan is None or not (plan.to_add or plan.to_remove or change.kind is Kind.UNLOCK_GROUP)
    if attempt is None or not change.leads or found_done:
        return Signal.FOUND_OTHERWISE, change
    if attempt.status is not AttemptStatus.EFFECTIVE or attempt.action not in _ROLLED_BACK:
        return Signal.FOUND_OTHERWISE, change
    # The lock may have been mined again in any block up to the head; the addition keeps its distance from the last.
    lock_block = head if attempt.action is Action.ADD else None
    attempt = to_be_sent_again(replace(attempt, seen_block=None))
    return _ROLLED_BACK[attempt.action], replace(change, attempt=attempt, lock_block=lock_block)
