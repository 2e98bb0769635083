"""Reading facts about attempts: signed, sent, refused, not mined, mined.

Three rules keep a group's state ours to know. While an attempt may still execute, nothing else with the same intent is
signed except with the same private nonce, of which one executes at most. A turn that may have locked the group goes
back to the queue only through `State.UNLOCKING`. And while an addition may wait in a pool nothing is sent to the group,
not even the addition itself: each of its PMTs brings the group's history as it was when it was sent, and when one is
mined after something else was, the sending node and the new member fall back to that history, alone among the members
(Besu 23.10.3, ``PrivacyBlockProcessor.maybeRehydrate``).
"""

from dataclasses import replace
from datetime import datetime

from orchestrator.membership import facts
from orchestrator.membership.errors import ImpossibleStepError
from orchestrator.membership.judging import counted, judge
from orchestrator.membership.model import ACTION_OF, Action, Attempt, AttemptStatus, Change, Effect, Kind, State
from orchestrator.membership.reasons import Judgement, Reason, rule_of
from orchestrator.membership.retry import (
    ADD_WITHIN_BLOCKS,
    FAILURES_WHILE_LOCKED,
    LOST_ADDITION_BLOCKS,
    POOLED_WITHIN_BLOCKS,
    RESEND_AFTER_BLOCKS,
)
from orchestrator.membership.signals import Signal

Read = tuple[Signal, Change]

NONCE_USED = frozenset({"private_nonce_used", "wrong_private_nonce"})
"""Reasons that tell that no PMT of the attempt can execute any more, known or not."""


def read_signed(change: Change, fact: facts.AttemptSigned) -> Read:
    """The next transaction was signed; it is stored before it is sent."""
    signed = replace(change, attempt=fact.attempt, failures=0)
    if _relocks(change) and change.plan is not None and fact.attempt.private_nonce > (change.plan.lock_nonce or 0):
        # The lock that a reorganisation had taken back was mined again: the group may be locked by it.
        signed = replace(voided(signed), lock_block=fact.attempt.since_block)
        return _undo(signed, Reason(slug="group_moved", detail="the lock was reorganised away and came back"))
    return Signal.NOTED, signed


def read_sent(change: Change, fact: facts.AttemptSent) -> Read:
    """A node answered with a PMT hash."""
    attempt = _attempt(change)
    hashes = dict.fromkeys((*attempt.pmt_hashes, fact.pmt_hash))
    # An answer that was lost stays lost: its PMT may come up at any time.
    known = attempt.sent_block is None or attempt.status is AttemptStatus.SENT
    status = AttemptStatus.SENT if known else AttemptStatus.SIGNED
    attempt = replace(attempt, status=status, pmt_hashes=tuple(hashes), sent_block=fact.head, seen_block=None)
    return Signal.NOTED, replace(change, attempt=attempt, failures=0)


def read_send_failed(change: Change, fact: facts.SendFailed, now: datetime) -> Read:
    """A send did not end with a PMT hash."""
    attempt = _attempt(change)
    failures = change.failures + 1
    if not fact.certain:
        # It may have got through: only the chain can tell.
        head = fact.head if fact.head is not None else attempt.sent_block or attempt.since_block
        attempt = replace(attempt, status=AttemptStatus.SIGNED, sent_block=head, seen_block=None)
    elif attempt.sent_block is not None or fact.reason.slug in NONCE_USED:
        # Sending (again) was refused, but an earlier send may be mined yet, or was mined and used the private nonce.
        head = fact.head if fact.head is not None else attempt.sent_block or attempt.since_block
        attempt = replace(attempt, sent_block=head, seen_block=None)
    else:
        return read_hindered(change, fact.reason, now)
    if change.state is State.ADDING and failures >= FAILURES_WHILE_LOCKED:
        return _undo(replace(change, attempt=attempt), fact.reason)
    return Signal.NOTED, replace(change, attempt=attempt, failures=failures)


def read_unmined(change: Change, fact: facts.AttemptUnmined) -> Read:
    """No block holds a PMT of the attempt so far."""
    if _lock_rolled_back(change, fact.private_nonce):
        return _relock(change)
    attempt = _attempt(change)
    adds, is_first_look = attempt.action is Action.ADD, attempt.seen_block is None
    hashes = tuple(dict.fromkeys((*attempt.pmt_hashes, *fact.found)))
    attempt = replace(attempt, pmt_hashes=hashes, seen_block=fact.head)
    blocks = fact.head - attempt.since_block
    if adds and fact.pooled and blocks < POOLED_WITHIN_BLOCKS:
        return Signal.NOTED, replace(change, attempt=replace(attempt, sent_block=fact.head))
    if adds and is_first_look and attempt.status is AttemptStatus.SIGNED:
        attempt = replace(attempt, sent_block=fact.head + LOST_ADDITION_BLOCKS - RESEND_AFTER_BLOCKS)
    change = replace(change, attempt=attempt)
    if change.state is State.ADDING:
        if blocks >= ADD_WITHIN_BLOCKS and attempt.pmt_hashes:
            return _undo(change, Reason(slug="add_unmined", detail=f"no block up to {fact.head} holds the addition"))
        return Signal.NOTED, change  # failures to send it are counted over blocks: the group waits, locked
    return Signal.NOTED, replace(change, failures=0)


def read_settled(change: Change, fact: facts.AttemptSettled, now: datetime) -> Read:
    """Every known PMT of the attempt was mined, or the group's state tells its end."""
    if _lock_rolled_back(change, fact.private_nonce):
        return _relock(change)
    if fact.effect is None:
        return _without_effect(change, fact.reason or Reason(slug="execution_refused"), now)
    if change.state is State.UNLOCKING and change.kind is not Kind.UNLOCK_GROUP:
        return _undone(change, fact.effect, now)
    attempt = change.attempt
    if attempt is not None and attempt.action is ACTION_OF.get(change.state):
        change = replace(change, attempt=replace(attempt, status=AttemptStatus.EFFECTIVE))
    change = replace(change, failures=0)
    match change.state:
        case State.LOCKING:
            return _locked(change, fact.effect)
        case State.REMOVING:
            return _removed(change, fact.effect, now)
        case _:
            return Signal.DONE, replace(change, effect=fact.effect, lock_block=None, reason=None, waiting_since=None)


def read_hindered(change: Change, reason: Reason, now: datetime) -> Read:
    """The present transaction could not be signed, sent or watched."""
    failures = change.failures + 1
    if change.state is State.ADDING:
        # The group waits, locked. The unlock may go through another node, with the same private nonce.
        passing = rule_of(reason).judgement is Judgement.RETRY
        if failures < FAILURES_WHILE_LOCKED and (passing or change.in_flight is not None):
            return Signal.NOTED, replace(change, failures=failures)
        return _undo(change if change.in_flight is not None else voided(change), reason)
    if change.in_flight is not None:
        return Signal.NOTED, replace(change, failures=failures)
    return _set_back(change, reason, now)


def voided(change: Change) -> Change:
    """Return the change with its attempt, if that is not decided, marked as one that can't execute."""
    attempt = change.attempt
    if attempt is None or not attempt.live:
        return change
    return replace(change, attempt=replace(attempt, status=AttemptStatus.VOID))


def to_be_sent_again(attempt: Attempt) -> Attempt:
    """Return an attempt that may have been sent, and shall be sent (again): now, or once no block has the addition."""
    seen = max(attempt.since_block, attempt.seen_block or 0)
    if attempt.action is Action.ADD:
        return replace(attempt, status=AttemptStatus.SIGNED, sent_block=seen, seen_block=None)
    return replace(attempt, status=AttemptStatus.SIGNED, sent_block=seen - RESEND_AFTER_BLOCKS, seen_block=seen)


def _attempt(change: Change) -> Attempt:
    if change.attempt is None:
        raise ImpossibleStepError(f"change {change.change_id} has no attempt that this fact could be about")
    return change.attempt


def _relocks(change: Change) -> bool:
    """Whether an earlier lock of this turn was reorganised away: it may be back at any time."""
    return change.state is State.LOCKING and change.plan is not None and change.plan.lock_nonce is not None


def _undo(change: Change, reason: Reason) -> Read:
    decided = change.reason if change.undo_lock and change.reason is not None else counted(change, reason)
    return Signal.UNDO, replace(change, reason=decided, failures=0)


def _set_back(change: Change, reason: Reason, now: datetime) -> Read:
    """The present transaction can't bring the change forward: undo the lock if there may be one, else judge."""
    change = voided(change)
    if change.state is State.ADDING:
        return _undo(change, reason)
    if change.state is State.UNLOCKING and change.kind is not Kind.UNLOCK_GROUP:
        # A group is never left locked by us: go on trying, more and more slowly.
        return Signal.NOTED, replace(change, failures=change.failures + 1)
    if _relocks(change):
        return _undo(change, reason)
    if change.undo_lock and change.reason is not None:
        return judge(replace(change, failures=0), change.reason, now)
    return judge(replace(change, failures=0), counted(change, reason), now)


def _without_effect(change: Change, reason: Reason, now: datetime) -> Read:
    attempt = change.in_flight
    lost = attempt is not None and attempt.status is AttemptStatus.SIGNED
    if attempt is None or not lost or reason.slug in NONCE_USED:
        return _set_back(change, reason, now)
    if change.state is State.ADDING:
        return _undo(change, reason)  # the unlock has the same private nonce: one of the two executes
    if change.state is State.UNLOCKING and change.kind is not Kind.UNLOCK_GROUP:
        return _set_back(change, reason, now)  # so has the next unlock
    # A PMT that we don't know may be mined when nobody looks any more: first its private nonce has to be used.
    return Signal.NOTED, replace(change, attempt=to_be_sent_again(attempt), failures=change.failures + 1)


def _locked(change: Change, effect: Effect) -> Read:
    plan, attempt = change.plan, change.attempt
    if plan is None or attempt is None:
        raise ImpossibleStepError(f"change {change.change_id} locked without a plan and an attempt")
    change = replace(change, lock_block=effect.block_number, plan=replace(plan, lock_nonce=attempt.private_nonce))
    return (Signal.UNDO if change.undo_lock else Signal.DONE), change


def _lock_rolled_back(change: Change, private_nonce: int | None) -> bool:
    """Whether a reorganisation took our lock back: the private nonce that it had used is unused again."""
    if private_nonce is None or change.plan is None or change.plan.lock_nonce is None:
        return False
    return change.state in (State.ADDING, State.UNLOCKING) and private_nonce <= change.plan.lock_nonce


def _relock(change: Change) -> Read:
    """Lock with the same private nonce: the lock that may be mined again and this one exclude each other."""
    undone = change.state is State.UNLOCKING
    return Signal.LOCK_ROLLED_BACK, replace(voided(change), lock_block=None, undo_lock=undone, failures=0)


def _removed(change: Change, effect: Effect, now: datetime) -> Read:
    plan = change.plan
    if plan is None:
        raise ImpossibleStepError(f"change {change.change_id} removes without a plan")
    present = effect.view.participants
    left = tuple(key for key in plan.to_remove if key in present)
    # Those that are out stay in the plan: a reorganisation may bring them back.
    done = tuple(key for key in plan.to_remove if key not in left)
    if left:
        return Signal.MORE_TO_REMOVE, replace(change, plan=replace(plan, to_remove=left + done))
    if change.kind is Kind.SET_MEMBERS and set(present) != set(change.members):
        reason = Reason(slug="group_moved", detail="somebody else, or a reorganisation, changed the members meanwhile")
        return judge(change, counted(change, reason), now)
    return Signal.DONE, replace(change, effect=effect, reason=None, waiting_since=None)


def _undone(change: Change, effect: Effect, now: datetime) -> Read:
    """The group is unlocked again: by our unlock, by the add, if that got through after all, or by somebody else."""
    wanted = set() if change.plan is None else set(change.plan.to_add)
    added = bool(wanted) and wanted <= set(effect.view.participants)
    attempt = change.attempt
    if attempt is not None and attempt.live:
        works = Action.ADD if added else Action.UNLOCK
        status = AttemptStatus.EFFECTIVE if attempt.action is works else AttemptStatus.VOID
        change = replace(change, attempt=replace(attempt, status=status))
    change = replace(change, lock_block=None, undo_lock=False, failures=0)
    if added:
        return Signal.ADDED_AFTER_ALL, replace(change, effect=effect, reason=None, waiting_since=None)
    reason = change.reason or Reason(slug="execution_refused")
    signal, change = judge(change, reason, now)
    undone = {
        Signal.RETRY: Signal.UNDONE_RETRY,
        Signal.FAIL: Signal.UNDONE_FAIL,
        Signal.PARK: Signal.UNDONE_PARK,
    }
    return undone[signal], change
