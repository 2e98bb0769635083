"""Reading facts about attempts: signed, sent, refused, not mined, mined, burnt.

Three rules keep a group's state ours to know. An attempt has one marker, whose account signs nothing else but what
burns it; the attempt is given up only once one of the two is mined, however long that takes. A batch that may have
locked the group goes back to the queue only through `State.UNLOCKING`. And while an addition's marker can be mined the
group stays locked and gets no other transaction from us: its bundle ends with our lock, and mined after anything else
it makes the sending and the new member's node fall back to that lock, alone among the members
(docs/besu.md#stale-bundles).
"""

from dataclasses import replace
from datetime import datetime

from orchestrator.membership import facts
from orchestrator.membership.attempt import Action, Attempt, AttemptStatus
from orchestrator.membership.errors import ImpossibleStepError
from orchestrator.membership.model import ACTION_OF, Change, Effect, GroupView, Kind, Plan, State
from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.table import Reason, rule_of
from orchestrator.membership.repair import readds, withdraws
from orchestrator.membership.retry import ADD_WITHIN_BLOCKS, FAILURES_WHILE_LOCKED, WIDEN_AFTER_BLOCKS
from orchestrator.membership.triage.reasons import counted, judge
from orchestrator.membership.triage.signals import Signal

Read = tuple[Signal, Change]

MINED_ALREADY = "marker_nonce_used"
"""Reason of a refused broadcast: the marker's account nonce is used, by the marker or by what burnt it."""

_UNLOCKED = {
    Signal.MET_PASSING: Signal.UNLOCKED_PASSING,
    Signal.MET_FINAL: Signal.UNLOCKED_FINAL,
    Signal.MET_FOR_A_PERSON: Signal.UNLOCKED_FOR_A_PERSON,
}
"""What the judgement of a reason is called once the group is unlocked again."""


def read_signed(change: Change, fact: facts.AttemptSigned) -> Read:
    """The next transaction was distributed and its marker signed; both are stored before anything is broadcast."""
    signed = replace(change, attempt=fact.attempt, failures=0)
    # The node counts past the old lock's nonce: that lock has executed.
    if relocks(change) and change.plan is not None and fact.attempt.private_nonce > (change.plan.lock_nonce or 0):
        # The lock that a reorganisation had taken back was mined again: the group may be locked by it.
        signed = replace(given_up(signed), lock_block=fact.attempt.since_block)
        reason = Reason(slug="group_moved", detail="the lock was reorganised away and came back")
        return _undo(signed, reason, Signal.GROUP_MOVED)
    return Signal.UNDECIDED, signed


def read_sent(change: Change, fact: facts.AttemptSent) -> Read:
    """A node has the marker."""
    attempt = replace(_attempt(change), status=AttemptStatus.SENT, sent_block=fact.head, seen_block=None)
    if not attempt.marker.ours:
        attempt = replace(attempt, marker=replace(attempt.marker, pmt_hash=fact.pmt_hash))
    return Signal.UNDECIDED, replace(change, attempt=attempt, transacted=True, failures=0)


def read_send_failed(change: Change, fact: facts.SendFailed, now: datetime) -> Read:
    """No node took the marker."""
    attempt = _attempt(change)
    # Every node refused it, and none was asked before: no pool can have it, and there is nothing to burn.
    if fact.certain and attempt.sent_block is None and fact.reason.slug != MINED_ALREADY:
        return read_hindered(change, fact.reason, now)
    # A pool may have it, or a block: only the chain can tell.
    attempt = replace(attempt, status=AttemptStatus.SENT, sent_block=fact.head, seen_block=None)
    return Signal.UNDECIDED, replace(change, attempt=attempt, transacted=True, failures=change.failures + 1)


def read_unmined(change: Change, fact: facts.AttemptUnmined) -> Read:
    """No block holds the marker so far, nor what burns it."""
    if _lock_rolled_back(change, fact.private_nonce):
        return _relock(change)
    attempt = replace(_attempt(change), seen_block=fact.head)
    if attempt.marker.ours and fact.head < (attempt.sent_block or 0):
        # The node overstated its head when the marker was sent, or the chain was reorganised: waiting begins here.
        attempt = replace(attempt, sent_block=fact.head, since_block=min(attempt.since_block, fact.head))
    change = replace(change, attempt=attempt, failures=0)
    # Only the addition has a limit: while it waits the group is locked for everybody.
    if change.state is State.ADDING and fact.head - attempt.since_block >= ADD_WITHIN_BLOCKS:
        return _undo(change, Reason(slug="add_unmined", detail=f"no block up to {fact.head} holds the addition"))
    return Signal.UNDECIDED, change


def read_moved(change: Change, fact: facts.GroupMoved) -> Read:
    """Somebody acted under our lock: the addition must not be mined any more."""
    if _lock_rolled_back(change, fact.private_nonce):
        return _relock(change)
    return _undo(change, fact.reason, Signal.GROUP_MOVED)


def read_gave_way(change: Change, fact: facts.GaveWay) -> Read:
    """Another addition to the same node goes first: this one begins again later, with a lock of its own."""
    return _undo(change, fact.reason, Signal.GIVES_WAY)


def read_settled(change: Change, fact: facts.AttemptSettled, now: datetime) -> Read:
    """The marker was mined, or the group's state tells that nothing has to be sent."""
    attempt = change.attempt
    # What was given up comes first: until it is decided the state's own transaction is not signed.
    if attempt is not None and attempt.live and attempt.action is not ACTION_OF.get(change.state):
        return _outlived(change, attempt, fact)
    if _lock_rolled_back(change, fact.private_nonce):
        return _relock(change)
    if fact.effect is not None and fact.reason is not None:
        return _split(change, fact.reason)
    if fact.effect is None:
        return _without_effect(change, fact.reason or Reason(slug="execution_refused"), now)
    if attempt is not None and attempt.live:
        change = replace(change, attempt=replace(attempt, status=AttemptStatus.EFFECTIVE))
    change = replace(change, failures=0)
    if change.state is State.UNLOCKING and change.kind is not Kind.UNLOCK_GROUP:
        return _undone(change, now)
    match change.state:
        case State.LOCKING:
            return _locked(change, fact.effect)
        case State.REMOVING:
            return _removed(replace(change, giving_up=False), fact.effect, now)
        case _:
            done = replace(change, effect=fact.effect, lock_block=None, giving_up=False)
            return Signal.EXECUTED, replace(done, reason=None, waiting_since=None)


def read_burnt(change: Change, now: datetime) -> Read:
    """The marker can never be mined: what gave it up goes on."""
    attempt = _attempt(change)
    change = replace(change, attempt=replace(attempt, status=AttemptStatus.BURNT), failures=0)
    if attempt.action is not ACTION_OF.get(change.state):
        return Signal.UNDECIDED, change  # the state's own transaction may be signed now
    reason = change.reason or Reason(slug="execution_refused", detail="its marker was burnt by somebody else")
    return _end_without(change, reason, now)


def read_hindered(change: Change, reason: Reason, now: datetime) -> Read:
    """The present transaction could not be signed, sent or watched."""
    failures = change.failures + 1
    if change.in_flight is not None:
        return Signal.UNDECIDED, replace(change, failures=failures)  # the chain goes on; only it can tell the end
    passing = rule_of(reason).judgement is Judgement.RETRY
    if change.state is State.ADDING:
        # The group waits, locked. The unlock may go through another node, with the same private nonce.
        # Enclaves that took a small transaction meanwhile would not take this one the next time either.
        if passing and reason.slug != "bundle_not_taken" and failures < FAILURES_WHILE_LOCKED:
            return Signal.UNDECIDED, replace(change, failures=failures)
        return _undo(given_up(change), reason)
    return _set_back(given_up(change), counted(change, reason), now)


def given_up(change: Change) -> Change:
    """Return the change with its attempt void, if no node can have its marker.

    Raises:
        ImpossibleStepError: A node may have it: it has to be burnt.
    """
    attempt = change.attempt
    if attempt is None or not attempt.live:
        return change
    if attempt.sent_block is not None:
        raise ImpossibleStepError(f"change {change.change_id}: the marker of its {attempt.action} may be mined yet")
    return replace(change, attempt=replace(attempt, status=AttemptStatus.VOID))


def to_be_sent_again(attempt: Attempt) -> Attempt:
    """Return an attempt that may have been sent, and shall be broadcast (again) through every node.

    One whose marker a node signs is not sent twice: each send makes a marker, with the history as it is then.
    """
    seen = max(attempt.since_block, attempt.seen_block or 0)
    if not attempt.marker.ours:
        return replace(attempt, status=AttemptStatus.SENT, sent_block=seen, seen_block=None)
    return replace(attempt, status=AttemptStatus.SENT, sent_block=seen - WIDEN_AFTER_BLOCKS, seen_block=seen)


def relocks(change: Change) -> bool:
    """Return whether an earlier lock of this batch was reorganised away: it may be back at any time."""
    return change.state is State.LOCKING and change.plan is not None and change.plan.lock_nonce is not None


def _attempt(change: Change) -> Attempt:
    if change.attempt is None:
        raise ImpossibleStepError(f"change {change.change_id} has no attempt that this fact could be about")
    return change.attempt


def _decided(change: Change, reason: Reason) -> Reason:
    """What it was given up for stays the reason; that it was then not executed is no news."""
    return change.reason if change.giving_up and change.reason is not None else counted(change, reason)


def _undo(change: Change, reason: Reason, seen: Signal = Signal.NOT_EXECUTED) -> Read:
    decided = _decided(change, reason)
    # One that a pool may have stays live: the next state burns it before it signs anything.
    if change.in_flight is None:
        change = given_up(change)
    return seen, replace(change, reason=decided, giving_up=False, failures=0)


def _set_back(change: Change, reason: Reason, now: datetime) -> Read:
    """The present transaction can't bring the change forward: undo the lock if there may be one, else judge."""
    if change.state is State.ADDING or relocks(change):
        return _undo(change, reason)
    if change.state is State.UNLOCKING and change.kind is not Kind.UNLOCK_GROUP:
        # A group is never left locked by us: go on trying, more and more slowly.
        return Signal.UNDECIDED, replace(change, failures=change.failures + 1)
    return judge(replace(change, failures=0, giving_up=False), reason, now)


def _end_without(change: Change, reason: Reason, now: datetime) -> Read:
    """The present transaction was given up and will never be mined."""
    if change.state is State.UNLOCKING and change.kind is not Kind.UNLOCK_GROUP:
        return Signal.UNDECIDED, change
    return _set_back(change, reason, now)


def _without_effect(change: Change, reason: Reason, now: datetime) -> Read:
    attempt = change.attempt
    if attempt is not None and attempt.live:
        change = replace(change, attempt=replace(attempt, status=AttemptStatus.VOID))
    return _set_back(change, _decided(change, reason), now)


def _outlived(change: Change, attempt: Attempt, fact: facts.AttemptSettled) -> Read:
    """A transaction that was given up was mined before what was to burn it."""
    status = AttemptStatus.VOID if fact.effect is None else AttemptStatus.EFFECTIVE
    change = replace(change, attempt=replace(attempt, status=status), failures=0)
    if fact.effect is None or attempt.action is not Action.ADD:
        return Signal.UNDECIDED, change
    if fact.reason is not None:
        return _split(change, fact.reason)
    change = replace(change, lock_block=None)
    return Signal.ADDED_AFTER_ALL, replace(change, effect=fact.effect, giving_up=False, reason=None, waiting_since=None)


def _split(change: Change, reason: Reason) -> Read:
    """The addition executed on some members' nodes only: nothing that we could still send would mend that."""
    attempt = replace(_attempt(change), status=AttemptStatus.EFFECTIVE)
    change = replace(change, attempt=attempt, lock_block=None, giving_up=False)
    return Signal.GROUP_SPLIT, replace(change, reason=reason, failures=0)


def _locked(change: Change, effect: Effect) -> Read:
    plan, attempt = change.plan, change.attempt
    if plan is None or attempt is None:
        raise ImpossibleStepError(f"change {change.change_id} locked without a plan and an attempt")
    # By these it is told later whether the group is still as this lock left it.
    plan = replace(plan, lock_nonce=attempt.private_nonce, lock_root=effect.view.state_root)
    change = replace(change, lock_block=effect.block_number, plan=plan)
    if not effect.view.locked:
        # A reorganisation may bring the lock back alone: that the group is unlocked has to be seen deep enough.
        reason = Reason(slug="group_moved", detail="somebody undid the lock within its own block")
        return _undo(change, reason, Signal.GROUP_MOVED)
    if change.giving_up:
        return _undo(change, change.reason or Reason(slug="deadline_passed"), Signal.DEADLINE_PASSED_LOCKED)
    return Signal.EXECUTED, change


def _lock_rolled_back(change: Change, private_nonce: int | None) -> bool:
    """Whether a reorganisation took our lock back: the private nonce that it had used is unused again."""
    if private_nonce is None or change.plan is None or change.plan.lock_nonce is None:
        return False
    return change.state in (State.ADDING, State.UNLOCKING) and private_nonce <= change.plan.lock_nonce


def _relock(change: Change) -> Read:
    """Lock with the same private nonce: the lock that may be mined again and this one exclude each other."""
    undone = change.state is State.UNLOCKING
    if change.in_flight is None:
        change = given_up(change)
    return Signal.LOCK_ROLLED_BACK, replace(change, lock_block=None, giving_up=undone, failures=0)


def _removed(change: Change, effect: Effect, now: datetime) -> Read:
    if change.plan is None:
        raise ImpossibleStepError(f"change {change.change_id} removes without a plan")
    plan = replace(change.plan, last_block=effect.block_number)
    present = effect.view.participants
    left = tuple(key for key in plan.to_remove if key in present)
    # Those that are out stay in the plan: a reorganisation may bring them back.
    done = tuple(key for key in plan.to_remove if key not in left)
    if change.repair is not None and readds(plan):
        change = replace(change, repair=replace(change.repair, removed_block=effect.block_number))
    if left:
        return Signal.MORE_TO_GO, replace(change, plan=replace(plan, to_remove=left + done))
    if readds(plan):
        return _removed_to_repair(change, plan, effect.view)
    if change.kind is Kind.SET_MEMBERS and not withdraws(change) and set(present) != set(change.members):
        reason = Reason(slug="group_moved", detail="somebody else, or a reorganisation, changed the members meanwhile")
        return judge(change, counted(change, reason), now)
    return Signal.EXECUTED, replace(change, effect=effect, reason=None, waiting_since=None)


def _removed_to_repair(change: Change, plan: Plan, view: GroupView) -> Read:
    """Go on to the addition within the batch: nothing else of the group may come between."""
    plan = replace(plan, to_remove=(), participants=view.participants, version=view.version)
    return Signal.TO_BE_ADDED_AGAIN, replace(change, plan=plan, reason=None, waiting_since=None)


def _undone(change: Change, now: datetime) -> Read:
    """The group is unlocked again, by our unlock or by somebody else."""
    change = replace(change, lock_block=None, giving_up=False, failures=0)
    signal, change = judge(change, change.reason or Reason(slug="execution_refused"), now)
    return _UNLOCKED[signal], change
