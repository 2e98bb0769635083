"""When to try again, and how many blocks lie between what is signed, sent, renewed and given up. Pure.

The chain is the clock for what happens on it (`WIDEN_AFTER_BLOCKS`), the wall clock for everything else.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from orchestrator.membership.attempt import Action
from orchestrator.membership.model import Change
from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.table import Reason, rule_of

Duration = TypeVar("Duration", float, timedelta)

LOCK_WINDOW_BLOCKS = 2
"""Blocks from a lock to its addition, at the least. With one, the replay on the new member's node ends in a run of the
group's blocks and rolls back every other group there that has a transaction in the lock's block
(docs/besu.md#how-replay-damages-other-groups)."""

WIDEN_AFTER_BLOCKS = 2
"""A marker that is not mined after this many blocks is broadcast through every node at hand: one pool may keep it to
itself, or have lost it."""

FAILURES_BEFORE_WIDENING = 3
"""How often in a row nobody may tell what became of a marker before it is broadcast through every node as well."""

RENEW_AFTER_BLOCKS = 6
"""A marker that is not mined after this many blocks is signed again with one more gas: pools of 25.4.1 never offer one
that came through a non-validator first (docs/besu.md#markers). The new one may meet the same fate, so it is signed
again after twice, four times as many blocks, and so on."""

NODE_MARKER_BLOCKS = 48
"""Blocks after which an addition whose marker a node signed, and which no pool is known to have, is taken for lost.
Nothing can burn it; Besu before 21.10.2 leaves no other way."""

FAILURES_WHILE_LOCKED = 6
"""How many times in a row the add may fail while the group is locked for it, before the lock is undone: the pauses
between make it half a minute, in which a node that limits its callers answers again."""

ADD_WITHIN_BLOCKS = 12
"""How many blocks the add may take to be mined, before it is taken back and the lock that waits for it is undone."""

FIRST_DELAY = timedelta(seconds=1)
LONGEST_DELAY = timedelta(minutes=2)

LONGEST_DELAY_UNDER_LOCK = timedelta(seconds=30)
"""While a lock of ours stands nobody else can use the group."""

TRIES_IN_LINE = 3
"""With so many tries the pause of a change that waits for another one of ours stops growing, at 8 s: nobody wakes it
when the other ends, and a free node would stand idle for minutes while many wait for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryDecision:
    """What to do about a reason.

    Attributes:
        judgement: Queue again, fail, or park.
        not_before: For `Judgement.RETRY`: when to try again.
    """

    judgement: Judgement
    not_before: datetime | None = None


def doubled(first: Duration, times: int, longest: Duration) -> Duration:
    """Return a pause that is twice as long as the one before, up to a bound.

    Args:
        first: The first pause, in seconds or as a duration.
        times: How many pauses came before, from 0.
        longest: The bound.
    """
    # Bounded before the shift: from 47 times on a timedelta overflows.
    return min(first * (1 << min(times, 30)), longest)


def backoff(key: str, tries: int) -> timedelta:
    """Return the delay before try number `tries + 1`: doubling from 1 s, capped at 2 min, spread by ±25 %.

    The spread is drawn from the key, so that a decision can be made again and come out the same, and yet many changes
    that failed together do not come back together.

    Args:
        key: What is tried, such as a change id.
        tries: How many tries failed before, from 0.
    """
    delay = doubled(FIRST_DELAY, tries, LONGEST_DELAY)
    digest = hashlib.sha256(f"{key}/{tries}".encode()).digest()
    return delay * (0.75 + 0.5 * digest[0] / 255)


def patience_is_over(reason: Reason) -> bool:
    """Return whether a reason was met more often in a row than a change that met it is tried again."""
    patience = rule_of(reason).patience
    return patience is not None and reason.times > patience


def decide(change: Change, reason: Reason, now: datetime) -> RetryDecision:
    """Return what becomes of a change that met `reason`.

    A retryable reason turns into a parked change once the rule's patience is used up, and into a failed one when the
    change's deadline would pass before the next try. Patience counts the same reason in a row: a node that was away
    for a night must not use up the patience with a foreign lock in the morning. The pause grows with all tries.

    Args:
        change: The change before the reason is applied; its `tries` counts how often it was queued again before.
        reason: What was met; its `times` counts this occurrence, too.
        now: The present time.
    """
    rule = rule_of(reason)
    if rule.judgement is not Judgement.RETRY:
        return RetryDecision(judgement=rule.judgement)
    if patience_is_over(reason):
        return RetryDecision(judgement=Judgement.PARK)
    # Who waits in line has not failed, so its pause stops growing; all have the same then, and the number of tries in
    # the key spreads them.
    tries = min(change.tries, TRIES_IN_LINE) if rule.in_line else change.tries
    delay = backoff(f"{change.change_id}/{change.tries}" if rule.in_line else change.change_id, tries)
    not_before = now + max(delay, rule.pause)
    # It can't succeed any more: whoever asked learns that now, not when the deadline passes.
    if change.deadline is not None and not_before >= change.deadline:
        return RetryDecision(judgement=Judgement.TERMINAL)
    return RetryDecision(judgement=Judgement.RETRY, not_before=not_before)


def behind_lock(change: Change, action: Action) -> int | None:
    """Return the block that the nodes must have before a marker that brings a bundle is signed and broadcast.

    So it can't be mined nearer to its lock than `LOCK_WINDOW_BLOCKS`: an addition, and the empty one that unlocks on
    Besu before 21.7.4. An addition is forecast anew when it is signed: what was mined after the lock counts for its
    node, too.

    Args:
        change: The change.
        action: What is to be signed or sent.
    """
    plan = change.plan
    bundles = action is Action.ADD or (action is Action.UNLOCK and plan is not None and plan.unlock_by_empty_add)
    return change.lock_block + LOCK_WINDOW_BLOCKS - 1 if bundles and change.lock_block is not None else None


def behind_last(change: Change, action: Action) -> int | None:
    """Return the block that the node must have before a lock or a removal is signed.

    So it is not mined right after the group's newest block that is known. A group's neighbouring blocks are a run: who
    joins by a replay of it may not return to a group that it left in them (docs/besu.md#former-members, 6). This costs
    a block, once, however busy the group is. An unlock does not wait: a lock holds up everybody.

    Args:
        change: The change.
        action: What is to be signed.
    """
    plan = change.plan
    known = plan.last_block if plan is not None and action in (Action.LOCK, Action.REMOVE) else 0
    return known + 1 if known else None
