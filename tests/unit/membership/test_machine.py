from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.membership import facts
from orchestrator.membership.attempt import Action, Attempt, AttemptStatus
from orchestrator.membership.commands import Burn, Pause, Renew, Send, Settle, Sign, Survey
from orchestrator.membership.errors import ImpossibleStepError, RefusedRequestError
from orchestrator.membership.machine import (
    TRANSITIONS,
    deadline_applies,
    follow,
    join,
    members_of,
    next_command,
    step,
    taken_up,
)
from orchestrator.membership.model import ACTION_OF, ENDED, RESTING, Change, State
from orchestrator.membership.reasons.table import Reason
from orchestrator.membership.retry import (
    FAILURES_BEFORE_WIDENING,
    LOCK_WINDOW_BLOCKS,
    RENEW_AFTER_BLOCKS,
    WIDEN_AFTER_BLOCKS,
)
from orchestrator.membership.triage.signals import Signal
from tests.fakes.changes import a_change, an_attempt, sent
from tests.fakes.clock import START
from tests.fakes.surveys import NEW, a_plan, an_effect

LATER = START + timedelta(hours=1)
LOCKING = a_change("a", state=State.LOCKING, lead_id="change-a", plan=a_plan(), members=(NEW,))
ADDING = replace(LOCKING, state=State.ADDING, plan=a_plan(lock_nonce=1), lock_block=11)
UNLOCKING = replace(ADDING, state=State.UNLOCKING, reason=Reason(slug="add_unmined"))
REQUESTS = (facts.CancelRequested(), facts.ParkRequested(), facts.RetryRequested())


def in_state(state: State) -> Change:
    """A change in a state, with what it has there."""
    proving = state in (State.REPLAYING, State.VERIFYING)
    return replace(LOCKING, state=state, effect=an_effect() if proving else None)


# --- the table --------------------------------------------------------------------------------------------------------


def test_every_signal_and_every_state_is_in_the_table() -> None:
    """What the facts can mean is used, and every state is entered or left."""
    assert {signal for _, signal in TRANSITIONS} == set(Signal)
    assert {state for state, _ in TRANSITIONS} | set(TRANSITIONS.values()) == set(State)


def test_nothing_leaves_an_ended_change() -> None:
    """Ended is for good."""
    assert not [key for key in TRANSITIONS if key[0] in ENDED]


def test_every_state_reaches_an_end() -> None:
    """From each state there is a way to an end; only there nothing goes on."""
    reaching = set(ENDED)
    while True:
        more = {source for (source, _), target in TRANSITIONS.items() if target in reaching} - reaching
        if not more:
            break
        reaching |= more
    assert reaching == set(State)


def test_the_lock_window_is_left_by_the_addition_or_the_unlock() -> None:
    """From adding no way leads to rest except through one of them, or where the addition has split the group."""
    assert {target for (source, _), target in TRANSITIONS.items() if source is State.ADDING} == {
        State.ADDING,
        State.REPLAYING,
        State.UNLOCKING,
        State.LOCKING,
        State.PARKED,
    }


def test_only_what_rests_has_nothing_to_do() -> None:
    """A restarted process finds a command for every state that occupies the lane."""
    for state in State:
        assert (next_command(in_state(state)) is None) is (state in RESTING)


@pytest.mark.parametrize("state", sorted(ENDED))
def test_an_ended_change_takes_no_fact(state: State) -> None:
    """Whatever is observed after the end is a defect of the caller, and a request is refused."""
    change = in_state(state)
    for fact in (facts.Claimed(lead_id="x"), facts.DeadlinePassed(deadline=START), facts.AttemptSettled(effect=None)):
        with pytest.raises(ImpossibleStepError):
            step(change, fact, START)
    for request in REQUESTS:
        with pytest.raises(RefusedRequestError):
            step(change, request, START)


def test_a_step_counts_a_revision_and_says_what_to_do() -> None:
    """A claimed change is surveyed next."""
    after = step(a_change("a"), facts.Claimed(lead_id="change-a"), START)
    assert (after.state, after.revision, after.leads) == (State.PREFLIGHT, 1, True)
    assert next_command(after) == Survey()


def test_a_resting_change_has_no_commands() -> None:
    """Cancelling leaves nothing to do."""
    after = step(a_change("a"), facts.CancelRequested(), START)
    assert (after.state, next_command(after)) == (State.CANCELLED, None)


def test_a_change_that_is_queued_again_starts_over() -> None:
    """Of its turn only the reason, the counts and the spent attempt are kept."""
    reason = Reason(slug="wrong_private_nonce")
    before = replace(LOCKING, attempt=sent(an_attempt("l")), transacted=True, batch=1, failures=2)
    after = step(before, facts.AttemptSettled(effect=None, reason=reason), START)
    assert (after.state, next_command(after)) == (State.QUEUED, None)
    assert (after.lead_id, after.plan, after.failures, after.effect) == (None, None, 0, None)
    assert (after.reason, after.tries) == (reason, 1)
    assert after.transacted
    assert after.attempt is not None
    assert after.attempt.status is AttemptStatus.VOID


# --- what to do next --------------------------------------------------------------------------------------------------


LOCK = an_attempt("l", since_block=10)
ADD = an_attempt("add", action=Action.ADD, members=(NEW,), private_nonce=2, since_block=11)


def test_an_attempt_is_signed_sent_and_settled() -> None:
    """What comes next follows from what is known of the attempt."""
    assert next_command(LOCKING) == Sign(action=Action.LOCK, members=())
    assert next_command(replace(LOCKING, attempt=LOCK)) == Send(attempt=LOCK)
    assert next_command(replace(LOCKING, attempt=sent(LOCK))) == Settle(attempt=sent(LOCK))
    for status in (AttemptStatus.EFFECTIVE, AttemptStatus.VOID, AttemptStatus.BURNT):
        spent = sent(LOCK, status=status)
        assert next_command(replace(LOCKING, attempt=spent)) == Sign(action=Action.LOCK, members=())


def test_an_addition_keeps_its_distance_from_its_lock() -> None:
    """It is broadcast when the nodes have the block after the lock's, so that it is mined two blocks from it or later;
    each time again."""
    first = next_command(replace(ADDING, attempt=ADD))
    assert first == Send(attempt=ADD, after_block=11 + LOCK_WINDOW_BLOCKS - 1)
    late = sent(ADD, 12, seen_block=12 + WIDEN_AFTER_BLOCKS)
    assert next_command(replace(ADDING, attempt=late)) == Send(attempt=late, after_block=12, widely=True)


def test_an_empty_addition_that_unlocks_keeps_that_distance_too() -> None:
    """It brings a bundle like any other; an unlock by `unlock()` does not."""
    unlock = an_attempt("u", action=Action.UNLOCK, since_block=11)
    old = replace(UNLOCKING, plan=a_plan(lock_nonce=1, unlock_by_empty_add=True), attempt=unlock)
    assert next_command(old) == Send(attempt=unlock, after_block=12)
    assert next_command(replace(old, plan=a_plan(lock_nonce=1))) == Send(attempt=unlock)


@pytest.mark.parametrize(("state", "action"), [(State.LOCKING, Action.LOCK), (State.REMOVING, Action.REMOVE)])
def test_a_lock_or_a_removal_keeps_a_block_from_what_the_group_had_before(state: State, action: Action) -> None:
    """It is signed when its node has the next block; where no block is known, at once."""
    change = replace(LOCKING, state=state, plan=a_plan(to_remove=(NEW,), last_block=10))
    command = next_command(change)
    assert isinstance(command, Sign)
    assert (command.action, command.after_block) == (action, 11)
    attempt = an_attempt("a", action=action, since_block=11)
    assert next_command(replace(change, attempt=attempt)) == Send(attempt=attempt)
    at_once = next_command(replace(change, plan=a_plan(to_remove=(NEW,))))
    assert isinstance(at_once, Sign)
    assert at_once.after_block is None


@pytest.mark.parametrize("change", [ADDING, UNLOCKING])
def test_under_a_lock_only_the_lock_counts(change: Change) -> None:
    """The addition keeps its distance from the lock, which is newer; an unlock without a bundle waits for nothing."""
    plan = a_plan(lock_nonce=1, last_block=10)
    assert next_command(replace(change, plan=plan)) == next_command(replace(change, plan=replace(plan, last_block=0)))


def test_a_marker_that_is_not_mined_goes_through_every_node() -> None:
    """One pool may keep it to itself, or have lost it: the same marker, so that it can't be mined twice."""
    waits = sent(LOCK, seen_block=10 + WIDEN_AFTER_BLOCKS - 1)
    assert next_command(replace(LOCKING, attempt=waits)) == Settle(attempt=waits)
    due = sent(LOCK, seen_block=10 + WIDEN_AFTER_BLOCKS)
    assert next_command(replace(LOCKING, attempt=due)) == Send(attempt=due, widely=True)


def test_a_marker_of_which_nobody_tells_goes_through_every_node() -> None:
    """The node that took it may keep it to itself and say nothing: it would hold its account for ever."""
    change = replace(LOCKING, attempt=sent(LOCK))
    for failures, command in (
        (FAILURES_BEFORE_WIDENING - 1, Settle(attempt=sent(LOCK))),
        (FAILURES_BEFORE_WIDENING, Send(attempt=sent(LOCK), widely=True)),
    ):
        pause = next_command(replace(change, failures=failures))
        assert isinstance(pause, Pause)
        assert pause.then == command


def test_a_marker_that_no_pool_offers_is_renewed_more_and_more_seldom() -> None:
    """With one more gas, under the same account nonce; the new one may be kept from the validators like the first."""
    seen, renewed = 10 + RENEW_AFTER_BLOCKS, tuple[str, ...]()
    for times in range(1, 8):
        due = sent(LOCK, seen - WIDEN_AFTER_BLOCKS, seen_block=seen, renewed=renewed)
        assert next_command(replace(LOCKING, attempt=due)) == Renew(attempt=due)
        renewed = (*renewed, f"0x{times}")
        signed = replace(due, renewed=renewed)
        assert next_command(replace(LOCKING, attempt=signed)) == Send(attempt=signed, widely=True)
        seen = 10 + RENEW_AFTER_BLOCKS * 2**times


@pytest.mark.parametrize(
    "attempt", [sent(ADD), sent(ADD, seen_block=400), sent(ADD, 398, seen_block=400, renewed=("0x1",))]
)
def test_an_addition_that_can_be_mined_is_only_burnt(attempt: Attempt) -> None:
    """However long it was not seen: neither the unlock nor the lock is signed, nor the addition broadcast again."""
    for change in (UNLOCKING, replace(LOCKING, plan=a_plan(lock_nonce=1), giving_up=True)):
        assert next_command(replace(change, attempt=attempt)) == Burn(attempt=attempt)


@pytest.mark.parametrize("state", [State.LOCKING, State.CREATING, State.REMOVING])
def test_what_is_given_up_is_burnt(state: State) -> None:
    """Once its marker was broadcast; what no node has is dropped instead."""
    attempt = sent(an_attempt("x", action=ACTION_OF[state]))
    change = replace(LOCKING, state=state, attempt=attempt, giving_up=True)
    assert next_command(change) == Burn(attempt=attempt)


def test_the_attempt_of_the_state_before_is_not_sent_again() -> None:
    """The lock is behind us: the addition is signed next, once the block after the lock's is there."""
    lock = sent(LOCK, status=AttemptStatus.EFFECTIVE)
    after = (ADDING.lock_block or 0) + LOCK_WINDOW_BLOCKS - 1
    assert next_command(replace(ADDING, attempt=lock)) == Sign(action=Action.ADD, members=(NEW,), after_block=after)


def test_failures_lengthen_the_pause() -> None:
    """What failed is tried again, later each time."""
    once, often = (next_command(replace(LOCKING, failures=failures)) for failures in (1, 6))
    assert isinstance(once, Pause)
    assert isinstance(often, Pause)
    assert once.then == often.then == Sign(action=Action.LOCK, members=())
    assert once.seconds < 2 < often.seconds


def test_a_transaction_names_the_members_that_it_is_for() -> None:
    """Additions name all at once, removals one at a time, locks nobody."""
    plan = a_plan(to_add=("a", "b"), to_remove=("c", "d"))
    named = {state: members_of(replace(LOCKING, state=state, plan=plan)) for state in ACTION_OF}
    assert named == {
        State.CREATING: ("a", "b"),
        State.LOCKING: (),
        State.ADDING: ("a", "b"),
        State.REMOVING: ("c",),
        State.UNLOCKING: (),
    }
    with pytest.raises(ImpossibleStepError, match="without a plan"):
        members_of(replace(LOCKING, plan=None))


# --- recovery ---------------------------------------------------------------------------------------------------------


def test_a_process_that_died_may_have_sent() -> None:
    """What was signed may have been broadcast: it is again, and a refusal does not let it be forgotten."""
    found = taken_up(replace(LOCKING, attempt=LOCK))
    command = next_command(found)
    assert isinstance(command, Send)
    assert (command.attempt.marker, command.widely) == (LOCK.marker, True)
    refused = facts.SendFailed(reason=Reason(slug="transaction_rejected"), certain=True, head=12)
    after = step(found, refused, START)
    assert after.state is State.LOCKING
    fresh = step(replace(LOCKING, attempt=LOCK), refused, START)
    assert fresh.state is State.FAILED


def test_an_addition_that_may_have_been_sent_keeps_its_distance_and_is_burnt_when_given_up() -> None:
    """Who takes it up knows its marker: it can't be mined twice, and it can be taken back."""
    found = taken_up(replace(ADDING, attempt=ADD))
    command = next_command(found)
    assert isinstance(command, Send)
    assert (command.after_block, command.attempt.marker) == (12, ADD.marker)
    after = step(found, facts.GroupMoved(reason=Reason(slug="group_moved")), START)
    assert isinstance(next_command(after), Burn)


@pytest.mark.parametrize(
    "change",
    [
        replace(LOCKING, attempt=sent(LOCK, seen_block=14)),
        replace(LOCKING, attempt=replace(LOCK, status=AttemptStatus.VOID)),
        LOCKING,
        in_state(State.REPLAYING),
        a_change("a"),
    ],
)
def test_what_was_not_about_to_be_sent_is_taken_up_as_it_is(change: Change) -> None:
    """Only a first broadcast can have happened without a record that matters."""
    assert taken_up(change) == change


# --- shared turns -----------------------------------------------------------------------------------------------------


def locking(name: str, *members: str) -> Change:
    return a_change(name, state=State.LOCKING, lead_id="change-a", members=members, plan=a_plan(to_add=members))


def test_adds_that_join_share_one_lock_and_one_addition() -> None:
    """The lead adds everybody, once each, and the others name it."""
    lead, followers = join(locking("a", "x", "y"), (locking("b", "y", "z"), locking("c", "w")))
    assert lead.leads
    assert lead.plan is not None
    assert lead.plan.to_add == ("x", "y", "z", "w")
    assert [(f.lead_id, f.batch, f.leads) for f in followers] == [("change-a", 3, False)] * 2


def test_a_new_lead_is_chosen_when_the_first_one_fell_out() -> None:
    """What did not pass preflight does not lead."""
    lead, (follower,) = join(locking("b", "x"), (locking("c", "y"),))
    assert (lead.lead_id, follower.lead_id) == ("change-b", "change-b")


@pytest.mark.parametrize(
    "late",
    [
        replace(locking("b", "x"), state=State.ADDING),
        replace(locking("b", "x"), attempt=an_attempt("l")),
        replace(locking("b", "x"), plan=None),
    ],
)
def test_what_has_begun_can_not_join(late: Change) -> None:
    """A lock can be shared only before anything is signed."""
    with pytest.raises(ImpossibleStepError, match="can't share a lock"):
        join(locking("a", "y"), (late,))


def test_followers_take_each_step_of_the_lock_window() -> None:
    """They know of the lock and of the effect as the lead does."""
    follower = locking("b", "x")
    added = follow(replace(follower, state=State.ADDING), replace(ADDING, state=State.REPLAYING, effect=an_effect()))
    assert (added.state, added.effect, added.reason) == (State.REPLAYING, an_effect(), None)
    locked = follow(follower, ADDING)
    assert (locked.state, locked.lock_block, locked.revision) == (State.ADDING, 11, 1)
    undone = follow(replace(locked, reason=None), UNLOCKING)
    assert undone.reason == Reason(slug="add_unmined")
    relocked = follow(undone, LOCKING)
    assert (relocked.state, relocked.lock_block) == (State.LOCKING, None)


def test_a_follower_can_not_go_where_its_state_does_not_lead() -> None:
    """A lead that is elsewhere was not its lead."""
    with pytest.raises(ImpossibleStepError, match="can't follow"):
        follow(locking("b", "x"), in_state(State.VERIFYING))


def test_an_undone_turn_leaves_its_followers_queued_afresh() -> None:
    """Nothing of the turn sticks to them."""
    lead = a_change("a", state=State.QUEUED, reason=Reason(slug="add_unmined"), not_before=LATER)
    left = follow(replace(UNLOCKING, change_id="change-b", batch=2), lead)
    assert (left.state, left.lead_id, left.plan, left.lock_block, left.batch) == (State.QUEUED, None, None, None, 1)
    assert left.not_before == LATER


# --- deadlines --------------------------------------------------------------------------------------------------------


def overdue(change: Change) -> bool:
    return deadline_applies(replace(change, deadline=START), LATER)


@pytest.mark.parametrize("state", [State.REPLAYING, State.VERIFYING])
def test_a_deadline_waits_until_the_effect_is_deep(state: State) -> None:
    """A reorganisation that took it back would find nobody who looks after the lock."""
    effect = an_effect()
    assert not overdue(replace(in_state(state), effect=effect))
    assert overdue(replace(in_state(state), effect=replace(effect, deep=True)))


def test_a_deadline_applies_where_something_can_be_given_up() -> None:
    """Not while an effect can't be called back, not to what is being undone, not to what rests parked or ended."""
    applies = {state for state in State if overdue(replace(in_state(state), effect=None))}
    assert applies == {
        State.QUEUED,
        State.PREFLIGHT,
        State.CREATING,
        State.LOCKING,
        State.ADDING,
        State.REPLAYING,
        State.REMOVING,
        State.VERIFYING,
    }


@pytest.mark.parametrize("state", [State.CREATING, State.LOCKING, State.ADDING, State.REMOVING])
def test_a_deadline_takes_back_what_is_on_its_way(state: State) -> None:
    """What was broadcast can be burnt, so that no deadline waits for a marker."""
    assert overdue(replace(in_state(state), attempt=sent(an_attempt("x", action=ACTION_OF[state]))))


@pytest.mark.parametrize("change", [LOCKING, ADDING])
def test_a_followers_deadline_waits_for_its_lead(change: Change) -> None:
    """Its members are in the lead's transaction."""
    assert overdue(change)
    assert not overdue(replace(change, lead_id="another"))


def test_a_deadline_is_met_once() -> None:
    """A turn that is being given up is not given up again, and without a deadline nothing is."""
    assert not overdue(replace(LOCKING, giving_up=True))
    assert not deadline_applies(LOCKING, LATER)
    assert not deadline_applies(replace(LOCKING, deadline=LATER), START)
