"""The life of a change as one literal table, and the pure `step` that walks it.

*How it works.* A fact is first *read* into a signal, which says in the change's words what was observed ("executed",
"group moved", "met what passes"); then `TRANSITIONS` says which state follows, and nothing else changes a state.
What to do next is decided from the state alone (`next_command`), so that a restarted process remembers nothing.

*What is promised.* A change ends `succeeded` only when the group's state proves it on every member's node that can be
seen, `failed` only when it had no effect, and never while the group may be locked by us. What can be neither is
`parked`, with what a person has to do.

*Why these states.* A state says what may be on the chain, not what was done last:

- up to `PREFLIGHT` nothing was sent, so a change may fail, wait or be cancelled at no cost;
- `CREATING` and `REMOVING` have one transaction that changes members at once: it is mined, or it is burnt;
- from `LOCKING` on the group may be locked by us, so that the only ways out are the addition and `UNLOCKING`. That is
  why `LOCKING` and `ADDING` have no way back to the queue while anything of theirs can be mined, and why `UNLOCKING`
  carries the reason that is judged once the group is free: what passes, is final or needs a person has a signal each;
- `REPLAYING` and `VERIFYING` send nothing: the effect is in the group, and only the proof is owed.

*Which races there are.* Each has an arrow of its own, so that none is met by guessing:

- a marker that was given up is mined before its burn: `ADDED_AFTER_ALL`, and a burn decides nothing until it is mined;
- a reorganisation takes an effect back: the arrows "rolled back" lead to the state that sends the same bytes again. The
  lock's has the private nonce of the lock that may return, so that the two exclude each other;
- somebody else acts under our lock, or changes the members meanwhile: `GROUP_MOVED`, `FOUND_OTHERWISE`;
- a process dies after it broadcast and before it could say so: `taken_up` takes a stored attempt for sent.

The facts about Besu behind it: docs/besu.md#markers, #stale-bundles, #how-replay-damages-other-groups.
"""

from dataclasses import replace
from datetime import datetime

from orchestrator.membership.attempt import Action
from orchestrator.membership.commands import Burn, Command, Observe, Pause, Renew, Send, Settle, Sign, Survey
from orchestrator.membership.errors import ImpossibleStepError, RefusedRequestError
from orchestrator.membership.facts import CancelRequested, Fact, ParkRequested, RepairRequested, RetryRequested
from orchestrator.membership.model import ACTION_OF, Change, State
from orchestrator.membership.retry import (
    FAILURES_BEFORE_WIDENING,
    LONGEST_DELAY_UNDER_LOCK,
    RENEW_AFTER_BLOCKS,
    WIDEN_AFTER_BLOCKS,
    backoff,
    behind_last,
    behind_lock,
)
from orchestrator.membership.triage.attempts import relocks, to_be_sent_again
from orchestrator.membership.triage.facts import read, waiting_for
from orchestrator.membership.triage.reasons import share_end, shared_reason
from orchestrator.membership.triage.signals import Signal

S, G = State, Signal

TRANSITIONS: dict[tuple[State, Signal], State] = {
    (S.QUEUED, G.CLAIMED): S.PREFLIGHT,
    (S.QUEUED, G.DEADLINE_PASSED): S.FAILED,
    (S.QUEUED, G.CANCEL_ASKED): S.CANCELLED,
    (S.QUEUED, G.PARK_ASKED): S.PARKED,
    # Looking before leaping.
    (S.PREFLIGHT, G.NO_GROUP): S.CREATING,
    (S.PREFLIGHT, G.MEMBERS_MISSING): S.LOCKING,
    (S.PREFLIGHT, G.MEMBERS_TO_GO): S.REMOVING,
    (S.PREFLIGHT, G.LOCKED): S.UNLOCKING,
    (S.PREFLIGHT, G.OWN_LOCK_FOUND): S.UNLOCKING,
    (S.PREFLIGHT, G.AS_ASKED): S.VERIFYING,
    (S.PREFLIGHT, G.MET_PASSING): S.QUEUED,
    (S.PREFLIGHT, G.MET_FINAL): S.FAILED,
    (S.PREFLIGHT, G.MET_FOR_A_PERSON): S.PARKED,
    (S.PREFLIGHT, G.DEADLINE_PASSED): S.FAILED,
    (S.PREFLIGHT, G.CANCEL_ASKED): S.CANCELLED,
    (S.PREFLIGHT, G.PARK_ASKED): S.PARKED,
    (S.CREATING, G.UNDECIDED): S.CREATING,
    (S.CREATING, G.EXECUTED): S.VERIFYING,
    (S.CREATING, G.MET_PASSING): S.QUEUED,
    (S.CREATING, G.MET_FINAL): S.FAILED,
    (S.CREATING, G.MET_FOR_A_PERSON): S.PARKED,
    (S.CREATING, G.DEADLINE_PASSED): S.FAILED,
    # Add: lock, add, watch the replay; undo the lock when the add can't be completed.
    (S.LOCKING, G.UNDECIDED): S.LOCKING,
    (S.LOCKING, G.EXECUTED): S.ADDING,
    (S.LOCKING, G.NOT_EXECUTED): S.UNLOCKING,  # where an earlier lock of the batch may come back
    (S.LOCKING, G.GROUP_MOVED): S.UNLOCKING,
    (S.LOCKING, G.DEADLINE_PASSED_LOCKED): S.UNLOCKING,
    (S.LOCKING, G.ADDED_AFTER_ALL): S.REPLAYING,
    (S.LOCKING, G.GROUP_SPLIT): S.PARKED,
    (S.LOCKING, G.MET_PASSING): S.QUEUED,
    (S.LOCKING, G.MET_FINAL): S.FAILED,
    (S.LOCKING, G.MET_FOR_A_PERSON): S.PARKED,
    (S.LOCKING, G.DEADLINE_PASSED): S.FAILED,
    (S.ADDING, G.UNDECIDED): S.ADDING,
    (S.ADDING, G.EXECUTED): S.REPLAYING,
    (S.ADDING, G.NOT_EXECUTED): S.UNLOCKING,
    (S.ADDING, G.GROUP_MOVED): S.UNLOCKING,
    (S.ADDING, G.GIVES_WAY): S.UNLOCKING,
    (S.ADDING, G.DEADLINE_PASSED_LOCKED): S.UNLOCKING,
    (S.ADDING, G.GROUP_SPLIT): S.PARKED,
    (S.ADDING, G.LOCK_ROLLED_BACK): S.LOCKING,
    (S.UNLOCKING, G.UNDECIDED): S.UNLOCKING,
    (S.UNLOCKING, G.EXECUTED): S.VERIFYING,  # asked for by itself; the undoing of our own lock is "unlocked"
    (S.UNLOCKING, G.UNLOCKED_PASSING): S.QUEUED,
    (S.UNLOCKING, G.UNLOCKED_FINAL): S.FAILED,
    (S.UNLOCKING, G.UNLOCKED_FOR_A_PERSON): S.PARKED,
    (S.UNLOCKING, G.ADDED_AFTER_ALL): S.REPLAYING,
    (S.UNLOCKING, G.GROUP_SPLIT): S.PARKED,
    (S.UNLOCKING, G.LOCK_ROLLED_BACK): S.LOCKING,
    (S.UNLOCKING, G.MET_PASSING): S.QUEUED,
    (S.UNLOCKING, G.MET_FINAL): S.FAILED,
    (S.UNLOCKING, G.MET_FOR_A_PERSON): S.PARKED,
    (S.REPLAYING, G.UNDECIDED): S.REPLAYING,
    (S.REPLAYING, G.PROVEN): S.SUCCEEDED,
    (S.REPLAYING, G.MEMBERS_TO_GO): S.REMOVING,
    (S.REPLAYING, G.FOUND_OTHERWISE): S.QUEUED,
    (S.REPLAYING, G.TROUBLE_SEEN): S.PARKED,
    (S.REPLAYING, G.DEADLINE_PASSED): S.PARKED,
    (S.REPLAYING, G.PARK_ASKED): S.PARKED,
    (S.REPLAYING, G.ADD_ROLLED_BACK): S.ADDING,
    (S.REMOVING, G.UNDECIDED): S.REMOVING,
    (S.REMOVING, G.MORE_TO_GO): S.REMOVING,
    (S.REMOVING, G.EXECUTED): S.VERIFYING,
    (S.REMOVING, G.TO_BE_ADDED_AGAIN): S.LOCKING,
    (S.REMOVING, G.MET_PASSING): S.QUEUED,
    (S.REMOVING, G.MET_FINAL): S.FAILED,
    (S.REMOVING, G.MET_FOR_A_PERSON): S.PARKED,
    (S.REMOVING, G.DEADLINE_PASSED): S.FAILED,
    # The proof of what needs no replay.
    (S.VERIFYING, G.UNDECIDED): S.VERIFYING,
    (S.VERIFYING, G.PROVEN): S.SUCCEEDED,
    (S.VERIFYING, G.FOUND_OTHERWISE): S.QUEUED,
    (S.VERIFYING, G.TROUBLE_SEEN): S.PARKED,
    (S.VERIFYING, G.DEADLINE_PASSED): S.PARKED,
    (S.VERIFYING, G.PARK_ASKED): S.PARKED,
    (S.VERIFYING, G.CREATE_ROLLED_BACK): S.CREATING,
    (S.VERIFYING, G.REMOVE_ROLLED_BACK): S.REMOVING,
    (S.VERIFYING, G.UNLOCK_ROLLED_BACK): S.UNLOCKING,
    # A person acts.
    (S.PARKED, G.RETRY_ASKED): S.QUEUED,
    (S.PARKED, G.CANCEL_ASKED): S.CANCELLED,
    (S.PARKED, G.CLOSE_ASKED): S.FAILED,
}
"""(state, signal) → state. What is not listed is impossible and raises `ImpossibleStepError`."""


def step(change: Change, fact: Fact, now: datetime) -> Change:
    """Apply a fact to a change.

    Args:
        change: The change as it was last committed.
        fact: What was observed.
        now: The present time.

    Returns:
        The change after the fact; `next_command` says what to do for it next.

    Raises:
        ImpossibleStepError: The fact can't be met in the change's state. This is a defect of the caller.
        RefusedRequestError: The fact is an operator's request that the change's state does not allow.
    """
    signal, after = read(change, fact, now)
    target = TRANSITIONS.get((change.state, signal))
    if target is None:
        message = f"change {change.change_id} is {change.state}: {signal} can't follow"
        # A person may ask at any time and is told; of the engine it would be a defect.
        if isinstance(fact, CancelRequested | ParkRequested | RetryRequested | RepairRequested):
            raise RefusedRequestError(message)
        raise ImpossibleStepError(message)
    waits_for = waiting_for(change, fact) if signal is Signal.UNDECIDED else None
    after = replace(after, state=target, waits_for=waits_for, revision=change.revision + 1)
    return _afresh(after) if target is State.QUEUED else after


def next_command(change: Change) -> Command | None:
    """Return what to do next for a change, from its state alone; None when it rests.

    Args:
        change: The change as it was last committed.
    """
    match change.state:
        case State.PREFLIGHT:
            return Survey()
        case State.REPLAYING | State.VERIFYING:
            return _after_pause(change, Observe())
        case State.CREATING | State.LOCKING | State.ADDING | State.REMOVING | State.UNLOCKING:
            return _next_for_attempt(change)
        case _:
            return None


def members_of(change: Change) -> tuple[str, ...]:
    """Return the enclave keys that the change's present transaction names."""
    if change.plan is None:
        raise ImpossibleStepError(f"change {change.change_id} is {change.state} without a plan")
    plan = change.plan
    match ACTION_OF.get(change.state):
        case Action.CREATE | Action.ADD:
            return plan.to_add
        case Action.REMOVE:
            return plan.to_remove[:1]
        case _:
            return ()


def _next_for_attempt(change: Change) -> Command:
    attempt = change.attempt
    wanted = ACTION_OF[change.state]
    # A lock that a reorganisation took back may return: a second one with its private nonce has to be mined, not burnt.
    gives_up = change.giving_up and not relocks(change)
    if attempt is not None and attempt.live and (gives_up or attempt.action is not wanted):
        return _after_pause(change, Burn(attempt=attempt))
    if attempt is None or not attempt.live:
        after_block = behind_lock(change, wanted) or behind_last(change, wanted)
        return _after_pause(change, Sign(action=wanted, members=members_of(change), after_block=after_block))
    # It is stored, and this process or the one before has not said that it was sent: sending the same bytes twice does
    # no harm (docs/besu.md#markers, 4).
    if attempt.sent_block is None:
        return _after_pause(change, Send(attempt=attempt, after_block=behind_lock(change, attempt.action)))
    # A node's own marker can't be broadcast through others, nor signed again.
    if not attempt.marker.ours:
        return _after_pause(change, Settle(attempt=attempt))
    seen = attempt.seen_block or attempt.sent_block
    # The chain is the clock: where no blocks are made nothing is late. Where nobody tells of any, the node that took
    # the marker may keep it, and with it the account that signed it.
    if seen - attempt.sent_block < WIDEN_AFTER_BLOCKS and change.failures < FAILURES_BEFORE_WIDENING:
        return _after_pause(change, Settle(attempt=attempt))
    # After twice as many blocks each time: the renewed one may have come to a pool that keeps it from blocks, too
    # (docs/besu.md#markers, 12).
    if seen - attempt.since_block >= RENEW_AFTER_BLOCKS << len(attempt.renewed):
        return _after_pause(change, Renew(attempt=attempt))
    return _after_pause(change, Send(attempt=attempt, after_block=behind_lock(change, attempt.action), widely=True))


def _after_pause(change: Change, command: Command) -> Command:
    if change.failures == 0:
        return command
    pause = backoff(f"{change.change_id}/{change.state}", change.failures - 1)
    if change.state in (State.ADDING, State.UNLOCKING):
        pause = min(pause, LONGEST_DELAY_UNDER_LOCK)
    return Pause(seconds=pause.total_seconds(), then=command)


def _afresh(change: Change) -> Change:
    """A queued change starts over: of its last try only the reason, the counts and the spent attempt are kept."""
    return replace(
        change,
        lead_id=None,
        batch=1,
        plan=None,
        failures=0,
        lock_block=None,
        giving_up=False,
        effect=None,
        progress=(),
    )


def join(lead: Change, followers: tuple[Change, ...]) -> tuple[Change, tuple[Change, ...]]:
    """Let the adds of one batch share the lead's lock and its one ``addParticipants``.

    Args:
        lead: A change in `State.LOCKING` that has sent nothing yet.
        followers: Others of the same group and account in the same state.

    Returns:
        The lead, whose plan now adds all of their members, and the followers, which name it.
    """
    for change in (lead, *followers):
        # A lock that was signed for one change can't take in others: its addition would name members that it was not
        # looked at for.
        signed = change.attempt is not None and change.attempt.live
        if change.state is not State.LOCKING or signed or change.plan is None:
            raise ImpossibleStepError(f"change {change.change_id} is {change.state}: it can't share a lock")
    plans = [change.plan for change in (lead, *followers) if change.plan is not None]
    keys = dict.fromkeys(key for plan in plans for key in plan.to_add)
    size = 1 + len(followers)
    led = replace(lead, lead_id=lead.change_id, batch=size, plan=replace(plans[0], to_add=tuple(keys)))
    return led, tuple(replace(c, lead_id=lead.change_id, batch=size) for c in followers)


def follow(follower: Change, lead: Change) -> Change:
    """Let a follower take the step that its lead has just taken.

    While a batch transacts (lock, add, undo) its changes move together; from `State.REPLAYING` on each goes by itself.
    When the batch ends without the addition, each meets its reason with its own patience (see `judging.share_end`).

    Args:
        follower: A change of the batch, in the state that the lead was in.
        lead: The lead after its step.
    """
    target = lead.state
    # The lock is over for all of them, so that a follower which is tried again leads its own.
    if target in (State.QUEUED, State.FAILED, State.PARKED):
        moved = replace(share_end(follower, lead), lock_block=None)
    else:
        reason = follower.reason
        # The reason is taken now and judged when the group is free: by then the lead may have met another one.
        if target is State.UNLOCKING and follower.state is not State.UNLOCKING:
            reason = shared_reason(follower, lead)
        elif target is State.REPLAYING:
            reason = None
        moved = replace(follower, state=target, reason=reason, lock_block=lead.lock_block, effect=lead.effect)
    if moved.state is not follower.state and moved.state not in _reachable_from(follower.state):
        raise ImpossibleStepError(f"change {follower.change_id} is {follower.state}: it can't follow to {moved.state}")
    moved = replace(moved, revision=follower.revision + 1)
    return _afresh(moved) if moved.state is State.QUEUED else moved


def _reachable_from(state: State) -> set[State]:
    return {target for (source, _), target in TRANSITIONS.items() if source is state}


def taken_up(change: Change) -> Change:
    """Return a change as a process takes it up that finds it in the store, before its first `next_command`.

    The process before may have broadcast the attempt's marker and died, or failed to commit, before it could say so.
    Call this for every change that is claimed while it is in a batch.

    Args:
        change: The change as it was last committed.
    """
    attempt = change.attempt
    if attempt is None or not attempt.live or attempt.sent_block is not None:
        return change
    return replace(change, attempt=to_be_sent_again(attempt), transacted=True)


def deadline_applies(change: Change, now: datetime) -> bool:
    """Return whether `facts.DeadlinePassed` is due: the deadline is over and there is still something to give up.

    A follower's members are in its lead's transaction: its deadline waits until the batch is over.
    """
    if change.deadline is None or now < change.deadline or change.giving_up:
        return False
    match change.state:
        # A follower's deadline would give up what others wait for as well.
        case State.LOCKING | State.ADDING:
            return change.leads
        case State.QUEUED | State.PREFLIGHT | State.CREATING | State.REMOVING:
            return True
        # Until the effect is deep a reorganisation may take it back, and its marker has to be followed.
        case State.REPLAYING | State.VERIFYING:
            return change.effect is None or change.effect.deep
        case _:
            return False
