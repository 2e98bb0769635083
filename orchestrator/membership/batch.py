"""A batch: the changes of a group that are done together, from their claim until each of them rests.

It is one change, or several adds of one account that stand directly behind each other. They share one look before
anything is sent, one lock and one ``addParticipants``. The lead carries the transactions; the others follow it until
the addition is in the group, and then each is proven, or parked, by itself.

Whoever drives a batch repeats three things: ask `next_step` what is to be done, do it, and commit what `advance` makes
of the fact. Nothing is remembered in between, so that a restarted process goes on from what it finds committed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from orchestrator.membership import facts
from orchestrator.membership.machine import deadline_applies, follow, join, step, taken_up
from orchestrator.membership.model import ACTION_OF, RESTING, Change, Kind, State

Steps = tuple[tuple[Change, Change], ...]
"""Each change that a fact moved, before and after; they are committed together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Changes that are done together.

    Attributes:
        changes: Those that don't rest yet, in the order in which they were accepted.
    """

    changes: tuple[Change, ...]

    def after(self, steps: Steps) -> "Batch":
        """Return the batch after steps of its changes: those that rest have left it."""
        moved = {before.change_id: after for before, after in steps}
        changes = (moved.get(change.change_id, change) for change in self.changes)
        return Batch(changes=tuple(change for change in changes if change.state not in RESTING))


class Scope(StrEnum):
    """Which changes of a batch a step is for."""

    CLAIM = "claim"
    """All: they leave the queue."""

    SURVEY = "survey"
    """Those in preflight: one look for all, and those that pass share the lock."""

    TRANSACTION = "transaction"
    """The lead, and those that follow it."""

    PROOF = "proof"
    """Those with one effect: one look at all their members' nodes."""

    ONE = "one"
    """One change by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStep:
    """What is to be done next for a batch.

    Attributes:
        scope: Whom it is for.
        change: The change whose next command is to be done; for a look at several, with the members of all of them.
        known: The fact itself, where nothing has to be done to learn it (a deadline is over); else None.
    """

    scope: Scope
    change: Change
    known: facts.Fact | None = None


def next_batch(queued: Sequence[Change]) -> Batch:
    """Return the changes that are claimed next, the lead first.

    Changes of a group are executed in the order in which they were accepted: an add behind a removal does not join the
    adds before it.

    Args:
        queued: The group's changes that may start now, in the order in which they were accepted; at least one.
    """
    lead = queued[0]
    batch, limit = [lead], lead.batch_limit
    for change in queued[1:] if lead.kind is Kind.ADD_MEMBERS else ():
        if change.kind is not Kind.ADD_MEMBERS or change.account != lead.account:
            break
        # Each one's counts, also that of one in the middle: a batch that failed is halved by it.
        limit = min(limit, change.batch_limit)
        if len(batch) >= limit:
            break
        batch.append(change)
    return Batch(changes=tuple(batch))


def taken_up_batch(active: Sequence[Change]) -> Batch:
    """Return a batch that was claimed before, as a process finds it that takes its lane over or starts again.

    Args:
        active: The lane's changes that neither are queued nor rest, as committed.
    """
    return Batch(changes=tuple(taken_up(change) for change in active))


def next_step(batch: Batch, now: datetime) -> BatchStep | None:
    """Return what is to be done next; None when all changes of the batch rest.

    Args:
        batch: The batch, as committed.
        now: The present time.
    """
    changes = batch.changes
    if not changes:
        return None
    # A claim is one step for all of them: some claimed and others not would be a batch without its lead, if the process
    # died in between.
    if all(change.state is State.QUEUED for change in changes):
        claimed = facts.Claimed(lead_id=changes[0].change_id, batch=len(changes))
        return BatchStep(scope=Scope.CLAIM, change=changes[0], known=claimed)
    # Before any command, so that what is overdue signs and sends nothing more.
    overdue = next((change for change in changes if deadline_applies(change, now)), None)
    if overdue is not None:
        # What transacts is given up for all that share it: the members of the followers are in the lead's transaction.
        scope = Scope.TRANSACTION if overdue.state in ACTION_OF else Scope.ONE
        return BatchStep(scope=scope, change=overdue, known=facts.DeadlinePassed(deadline=overdue.deadline or now))
    # All are looked at before anything is signed, so that those that pass share one lock: while it stands nobody else
    # can use the group.
    waiting = _waiting(batch)
    if waiting:
        return BatchStep(scope=Scope.SURVEY, change=replace(waiting[0], members=_members(waiting)))
    transacting = [change for change in changes if change.state in ACTION_OF]
    if transacting:
        lead = next((change for change in transacting if change.leads), transacting[0])
        return BatchStep(scope=Scope.TRANSACTION, change=lead)
    # A look reads all members' nodes, and shows the same to every change with this effect.
    alike = _proven_with(batch, changes[0])
    progress = {entry.enclave_key: entry for change in alike for entry in change.progress}
    every = replace(changes[0], members=_members(alike), progress=tuple(progress.values()))
    return BatchStep(scope=Scope.PROOF, change=every)


def advance(batch: Batch, done: BatchStep, fact: facts.Fact, now: datetime) -> Steps:
    """Apply a fact to the changes that it concerns.

    Args:
        batch: The batch.
        done: What `next_step` said is to be done for it.
        fact: What was observed when it was done.
        now: The present time.

    Returns:
        The steps to commit, the lead's first; `Batch.after` gives the batch that comes of them.
    """
    # Not `done.change`: for a look at several, that one has the members of all of them.
    change = next(c for c in batch.changes if c.change_id == done.change.change_id)
    match done.scope:
        case Scope.CLAIM:
            return tuple((c, step(c, fact, now)) for c in batch.changes)
        case Scope.SURVEY:
            return _sharing(tuple((c, step(c, fact, now)) for c in _waiting(batch)))
        case Scope.TRANSACTION:
            return _led(batch, change, step(change, fact, now))
        case Scope.PROOF:
            return tuple((c, step(c, fact, now)) for c in _proven_with(batch, change))
        case Scope.ONE:
            return ((change, step(change, fact, now)),)


def _waiting(batch: Batch) -> tuple[Change, ...]:
    return tuple(change for change in batch.changes if change.state is State.PREFLIGHT)


def _proven_with(batch: Batch, first: Change) -> tuple[Change, ...]:
    return tuple(change for change in batch.changes if change.effect == first.effect)


def _members(changes: Sequence[Change]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(key for change in changes for key in change.members))


def _sharing(steps: Steps) -> Steps:
    """What passed the look shares a lock; what did not goes its own way, and leads no more: a group has one lead."""
    passed = [after for _, after in steps if after.state is State.LOCKING]
    if not passed:
        return steps
    lead, followers = join(passed[0], tuple(passed[1:]))
    # The lead of the claim may be one that did not pass: whoever shares the lock needs a lead that is in it.
    joined = {change.change_id: change for change in (lead, *followers)}
    return tuple((before, joined.get(after.change_id, _led_by(lead, after))) for before, after in steps)


def _led_by(lead: Change, change: Change) -> Change:
    return change if change.lead_id is None else replace(change, lead_id=lead.change_id)


def _led(batch: Batch, lead: Change, after: Change) -> Steps:
    """A lead's step, and those of its followers, which stay where they are while it does."""
    steps = [(lead, after)]
    # As long as the lead stays in its state only its attempt changes, which is the lead's alone.
    if after.state is not lead.state:
        followers = (c for c in batch.changes if c is not lead and c.lead_id == lead.change_id)
        steps += [(change, follow(change, after)) for change in followers if change.state is lead.state]
    return tuple(steps)
