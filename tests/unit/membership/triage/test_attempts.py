from dataclasses import replace

import pytest

from orchestrator.membership import facts
from orchestrator.membership.attempt import Action, Attempt, AttemptStatus
from orchestrator.membership.commands import Burn, Renew, Send, Sign
from orchestrator.membership.errors import ImpossibleStepError
from orchestrator.membership.machine import next_command, step
from orchestrator.membership.model import Change, Kind, State
from orchestrator.membership.reasons.table import RULES, Reason
from orchestrator.membership.retry import ADD_WITHIN_BLOCKS, FAILURES_WHILE_LOCKED, WIDEN_AFTER_BLOCKS
from orchestrator.membership.triage.attempts import MINED_ALREADY, given_up, to_be_sent_again
from orchestrator.membership.triage.facts import read
from orchestrator.membership.triage.signals import Signal
from tests.fakes.changes import a_change, an_attempt, sent
from tests.fakes.clock import START
from tests.fakes.surveys import NEW, OLD, SECOND, a_plan, an_effect

LOCK = an_attempt("lock", private_nonce=1, since_block=10)
ADD = an_attempt("add", action=Action.ADD, private_nonce=2, since_block=11, members=(NEW,))
UNLOCK = an_attempt("unlock", action=Action.UNLOCK, private_nonce=2, since_block=12)
REMOVE = an_attempt("remove", action=Action.REMOVE, members=(SECOND,))
LOCKED = a_plan(lock_nonce=1, lock_root="root at 11")
LOCKING = a_change("a", state=State.LOCKING, lead_id="change-a", members=(NEW,), plan=a_plan(), attempt=LOCK)
ADDING = replace(LOCKING, state=State.ADDING, plan=LOCKED, lock_block=11, attempt=ADD)
UNLOCKING = replace(ADDING, state=State.UNLOCKING, attempt=UNLOCK, reason=Reason(slug="add_unmined"))
ON_REQUEST = replace(UNLOCKING, kind=Kind.UNLOCK_GROUP, plan=a_plan(to_add=()), lock_block=None, reason=None)
REMOVING = replace(LOCKING, state=State.REMOVING, plan=a_plan(to_add=(), to_remove=(SECOND, "third")), attempt=REMOVE)
RELOCKING = replace(LOCKING, plan=LOCKED)
"""Its lock was reorganised away, and may come back."""

DEADLINE = Reason(slug="deadline_passed")
LOST = facts.SendFailed(reason=Reason(slug="node_unreachable"), certain=False, head=12)
REFUSED = facts.SendFailed(reason=Reason(slug="too_many_requests"), certain=True, head=12)
FAILED = facts.AttemptSettled(effect=None, reason=Reason(slug="execution_refused"))
UNLOCKED = facts.AttemptSettled(effect=an_effect(13, (OLD, SECOND)))
SPLIT = facts.AttemptSettled(effect=an_effect(13), reason=Reason(slug="group_split", members=(NEW,)))
MOVED = facts.GroupMoved(reason=Reason(slug="group_moved"), private_nonce=3)


def broadcast(change: Change) -> Change:
    """The change once a node has the marker of its attempt."""
    return read(change, facts.AttemptSent(head=12, nodes=("a",)), START)[1]


def status(change: Change) -> AttemptStatus | None:
    return None if change.attempt is None else change.attempt.status


def given_up_add() -> Change:
    """A change that is to be unlocked while its addition may be mined."""
    return replace(UNLOCKING, attempt=sent(ADD, 12))


# --- signing ---------------------------------------------------------------------------------------------------------


def test_what_is_signed_is_remembered_and_can_not_be_mined_yet() -> None:
    """Nothing is on its way before a marker is broadcast."""
    signal, found = read(replace(LOCKING, attempt=None, failures=2), facts.AttemptSigned(attempt=LOCK), START)
    assert (signal, found.attempt, found.failures) == (Signal.UNDECIDED, LOCK, 0)
    assert (found.in_flight, found.transacted) == (None, False)


def test_a_renewed_marker_leaves_the_first_to_be_mined() -> None:
    """Of both hashes one can be mined; what is known of the broadcasts stays."""
    renewed = replace(
        sent(LOCK, 10, seen_block=16), renewed=("0xlock",), marker=replace(LOCK.marker, pmt_hash="0xlock+")
    )
    signal, found = read(replace(LOCKING, attempt=sent(LOCK)), facts.AttemptSigned(attempt=renewed), START)
    assert signal is Signal.UNDECIDED
    assert found.attempt is not None
    assert found.attempt.pmt_hashes == ("0xlock", "0xlock+")
    assert (found.attempt.sent_block, status(found)) == (10, AttemptStatus.SENT)


# --- sending ---------------------------------------------------------------------------------------------------------


def test_a_broadcast_attempt_is_on_its_way() -> None:
    """It has the block of its newest broadcast; how long it was looked for starts anew."""
    once = broadcast(LOCKING)
    assert once.attempt is not None
    assert (once.attempt.sent_block, status(once), once.transacted) == (12, AttemptStatus.SENT, True)
    looked = read(once, facts.AttemptUnmined(head=14), START)[1]
    again = read(looked, facts.AttemptSent(head=14), START)[1]
    assert again.attempt is not None
    assert (again.attempt.sent_block, again.attempt.seen_block) == (14, None)


def test_a_block_that_the_node_never_had_is_not_waited_for() -> None:
    """When the marker was sent at a head that was overstated, waiting for its block begins at the head that is seen."""
    far = read(LOCKING, facts.AttemptSent(head=1 << 47), START)[1]
    seen = read(far, facts.AttemptUnmined(head=14), START)[1]
    assert seen.attempt is not None
    assert (seen.attempt.sent_block, seen.attempt.seen_block) == (14, 14)
    later = read(seen, facts.AttemptUnmined(head=14 + WIDEN_AFTER_BLOCKS), START)[1]
    assert isinstance(next_command(later), Renew)


def test_a_first_broadcast_that_every_node_refused_reached_nobody() -> None:
    """The refusal is judged as if nothing had been signed."""
    signal, found = read(LOCKING, REFUSED, START)
    assert (signal, found.transacted, status(found)) == (Signal.MET_PASSING, False, AttemptStatus.VOID)


@pytest.mark.parametrize("change", [LOCKING, ADDING, UNLOCKING, REMOVING])
def test_a_lost_answer_may_have_got_through(change: Change) -> None:
    """The attempt is on its way for all that we know; a later refusal does not change that."""
    signal, found = read(change, LOST, START)
    assert (signal, found.failures, status(found)) == (Signal.UNDECIDED, 1, AttemptStatus.SENT)
    assert found.in_flight is not None
    signal, found = read(found, REFUSED, START)
    assert (signal, found.failures) == (Signal.UNDECIDED, 2)
    assert found.in_flight is not None


def test_a_used_account_nonce_is_looked_into() -> None:
    """It was used by this marker or by what burnt it: the chain tells which."""
    signal, found = read(LOCKING, facts.SendFailed(reason=Reason(slug=MINED_ALREADY), certain=True, head=12), START)
    assert (signal, found.in_flight is not None) == (Signal.UNDECIDED, True)


def test_a_fact_about_no_attempt_is_impossible() -> None:
    """Nothing was signed."""
    for fact in (facts.AttemptSent(head=1), LOST, facts.AttemptUnmined(head=1), facts.AttemptBurnt(head=1)):
        with pytest.raises(ImpossibleStepError, match="no attempt"):
            read(replace(LOCKING, attempt=None), fact, START)


# --- the addition under its lock -------------------------------------------------------------------------------------


@pytest.mark.parametrize("fact", [REFUSED, facts.Hindered(reason=Reason(slug="enclave_unreachable"))])
def test_an_addition_that_can_not_be_sent_is_undone_after_some_tries(fact: facts.Fact) -> None:
    """The group waits, locked: no marker of it is anywhere, so that the lock is undone without a burn."""
    change = ADDING
    for failures in range(1, FAILURES_WHILE_LOCKED):
        signal, change = read(change, fact, START)
        assert (signal, change.failures, status(change)) == (Signal.UNDECIDED, failures, AttemptStatus.SIGNED)
    signal, undone = read(change, fact, START)
    assert (signal, status(undone)) == (Signal.NOT_EXECUTED, AttemptStatus.VOID)
    assert undone.reason is not None


@pytest.mark.parametrize("fact", [LOST, REFUSED, facts.Hindered(reason=Reason(slug="unauthorized"))])
def test_an_addition_that_may_be_mined_is_not_given_up_for_what_nodes_say(fact: facts.Fact) -> None:
    """The chain goes on, and only it can tell the end."""
    change = broadcast(ADDING)
    for failures in range(1, 3 * FAILURES_WHILE_LOCKED):
        signal, change = read(change, fact, START)
        assert (signal, change.failures) == (Signal.UNDECIDED, failures)
        assert change.in_flight is not None


def test_an_addition_that_can_not_pass_is_undone_at_once() -> None:
    """What does not pass is not waited for under a lock."""
    assert read(ADDING, facts.Hindered(reason=Reason(slug="unauthorized")), START)[0] is Signal.NOT_EXECUTED
    assert read(ADDING, facts.Hindered(reason=Reason(slug="enclave_key_unknown")), START)[0] is Signal.NOT_EXECUTED


def test_an_addition_whose_history_is_not_taken_gives_the_lock_back_at_once() -> None:
    """The enclaves took a small transaction meanwhile: trying again under the lock would only hold the group."""
    fact = facts.Hindered(reason=Reason(slug="bundle_not_taken", detail="Error communicating with enclave"))
    signal, change = read(ADDING, fact, START)
    assert signal is Signal.NOT_EXECUTED
    assert change.reason is not None
    assert change.reason.slug == "bundle_not_taken"
    assert RULES["bundle_not_taken"].patience == 1


def test_an_addition_that_an_enclave_away_keeps_back_is_tried_under_its_lock() -> None:
    """An enclave that is away may be back in a moment; the lock is given back when it is not."""
    away = facts.Hindered(reason=Reason(slug="enclave_unreachable", detail="Error communicating with enclave"))
    assert read(ADDING, away, START)[0] is Signal.UNDECIDED
    signal, change = read(replace(ADDING, failures=FAILURES_WHILE_LOCKED), away, START)
    assert signal is Signal.NOT_EXECUTED
    assert change.reason is not None
    assert change.reason.slug == "enclave_unreachable"


def test_the_lock_behind_it_does_not_count_as_the_addition_on_its_way() -> None:
    """Before the addition is signed the newest attempt is the lock, which was sent."""
    lock = sent(LOCK, status=AttemptStatus.EFFECTIVE)
    signal, _ = read(replace(ADDING, attempt=lock), facts.Hindered(reason=Reason(slug="unauthorized")), START)
    assert signal is Signal.NOT_EXECUTED


def test_an_addition_that_no_block_holds_is_taken_back_after_its_budget() -> None:
    """The chain is the clock; the marker is burnt before anything else is signed."""
    last = ADD.since_block + ADD_WITHIN_BLOCKS
    assert read(broadcast(ADDING), facts.AttemptUnmined(head=last - 1), START)[0] is Signal.UNDECIDED
    undone = step(broadcast(ADDING), facts.AttemptUnmined(head=last), START)
    command = next_command(undone)
    assert undone.reason is not None
    assert (undone.state, undone.reason.slug) == (State.UNLOCKING, "add_unmined")
    assert undone.attempt is not None
    assert command == Burn(attempt=undone.attempt)


def test_an_addition_to_a_group_that_moved_is_taken_back_at_once() -> None:
    """Mined after anything else, it would part the members."""
    undone = step(broadcast(ADDING), MOVED, START)
    command = next_command(undone)
    assert (undone.state, undone.reason) == (State.UNLOCKING, MOVED.reason)
    assert isinstance(command, Burn)


@pytest.mark.parametrize("attempt", [ADD, sent(LOCK, status=AttemptStatus.EFFECTIVE)])
def test_an_addition_that_no_node_has_needs_no_burn(attempt: Attempt) -> None:
    """The group moved before it was broadcast, or before it was signed."""
    undone = step(replace(ADDING, attempt=attempt), MOVED, START)
    command = next_command(undone)
    assert undone.state is State.UNLOCKING
    assert command == Sign(action=Action.UNLOCK, members=())


def test_a_lock_is_awaited_however_long_it_takes() -> None:
    """Nobody waits for it under a lock."""
    signal, found = read(broadcast(LOCKING), facts.AttemptUnmined(head=500), START)
    assert (signal, found.failures) == (Signal.UNDECIDED, 0)
    assert found.attempt is not None
    assert found.attempt.seen_block == 500


# --- without an effect -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [LOCKING, REMOVING, ON_REQUEST])
def test_what_was_refused_goes_back(change: Change) -> None:
    """Its one marker is mined: nothing of it can come up later."""
    signal, found = read(broadcast(change), FAILED, START)
    assert (signal, status(found)) == (Signal.MET_PASSING, AttemptStatus.VOID)


def test_an_addition_that_was_refused_is_undone() -> None:
    """The group is still locked, or somebody else has unlocked it: the unlock finds out."""
    signal, found = read(broadcast(ADDING), FAILED, START)
    assert (signal, status(found)) == (Signal.NOT_EXECUTED, AttemptStatus.VOID)


@pytest.mark.parametrize("fact", [FAILED, facts.Hindered(reason=Reason(slug="unauthorized"))])
def test_a_lock_of_ours_is_undone_however_often_it_fails(fact: facts.Fact) -> None:
    """More and more slowly, but always."""
    signal, found = read(replace(UNLOCKING, failures=40), fact, START)
    assert (signal, found.failures, found.reason) == (Signal.UNDECIDED, 41, UNLOCKING.reason)


def test_an_unlock_on_request_is_judged() -> None:
    """The lock is not ours: the change may fail."""
    assert read(ON_REQUEST, facts.Hindered(reason=Reason(slug="unauthorized")), START)[0] is Signal.MET_FOR_A_PERSON
    signal, done = read(ON_REQUEST, UNLOCKED, START)
    assert (signal, status(done)) == (Signal.EXECUTED, AttemptStatus.EFFECTIVE)


# --- burnt -----------------------------------------------------------------------------------------------------------


def test_a_burnt_addition_leaves_its_lock_to_undo() -> None:
    """Only now the unlock is signed."""
    found = step(given_up_add(), facts.AttemptBurnt(head=14), START)
    command = next_command(found)
    assert (found.state, status(found), found.reason) == (State.UNLOCKING, AttemptStatus.BURNT, UNLOCKING.reason)
    assert command == Sign(action=Action.UNLOCK, members=())


@pytest.mark.parametrize("fact", [facts.AttemptUnmined(head=900), facts.Hindered(reason=Reason(slug="no_head")), LOST])
def test_a_pending_burn_is_nothing(fact: facts.Fact) -> None:
    """However long it takes: the addition stays one under a lock."""
    change = given_up_add()
    for _ in range(5):
        change = step(change, fact, START)
        command = next_command(change)
        assert change.state is State.UNLOCKING
        assert change.in_flight is not None
        assert not isinstance(command, Sign | Send)


@pytest.mark.parametrize(
    ("change", "signal"),
    [
        (replace(LOCKING, attempt=sent(LOCK)), Signal.MET_FINAL),
        (replace(REMOVING, attempt=sent(REMOVE)), Signal.MET_FINAL),
        (replace(RELOCKING, attempt=sent(LOCK)), Signal.NOT_EXECUTED),
    ],
)
def test_what_was_given_up_ends_when_it_is_burnt(change: Change, signal: Signal) -> None:
    """By what it was given up for; where an earlier lock may come back the group is unlocked first."""
    found, ended = read(replace(change, giving_up=True, reason=DEADLINE), facts.AttemptBurnt(head=14), START)
    assert (found, status(ended), ended.giving_up) == (signal, AttemptStatus.BURNT, False)
    assert ended.reason == DEADLINE


def test_an_unlock_that_is_burnt_is_signed_anew() -> None:
    """A lock of ours does not stay."""
    change = step(replace(UNLOCKING, attempt=sent(UNLOCK)), facts.AttemptBurnt(head=14), START)
    command = next_command(change)
    assert (change.state, command) == (State.UNLOCKING, Sign(action=Action.UNLOCK, members=()))


def test_an_addition_that_is_mined_before_its_burn_is_an_addition() -> None:
    """The members are in: that the lock was to be undone does not matter any more."""
    for change in (given_up_add(), replace(RELOCKING, attempt=sent(ADD, 12))):
        signal, found = read(change, facts.AttemptSettled(effect=an_effect(13)), START)
        assert (signal, found.reason, found.effect) == (Signal.ADDED_AFTER_ALL, None, an_effect(13))
        assert (status(found), found.lock_block) == (AttemptStatus.EFFECTIVE, None)


def test_an_addition_that_is_refused_before_its_burn_leaves_its_lock_to_undo() -> None:
    """It is decided, so that the unlock may be signed."""
    found = step(given_up_add(), FAILED, START)
    command = next_command(found)
    assert (found.state, status(found)) == (State.UNLOCKING, AttemptStatus.VOID)
    assert command == Sign(action=Action.UNLOCK, members=())


def test_an_unlock_that_is_mined_although_its_lock_went_away_decides_nothing() -> None:
    """The lock is taken anew all the same: its private nonce tells what there is."""
    relocking = replace(RELOCKING, attempt=sent(UNLOCK, 12), giving_up=True)
    found = step(relocking, UNLOCKED, START)
    command = next_command(found)
    assert (found.state, status(found)) == (State.LOCKING, AttemptStatus.EFFECTIVE)
    assert command == Sign(action=Action.LOCK, members=())


# --- with an effect --------------------------------------------------------------------------------------------------


def test_a_lock_is_remembered_with_its_block_its_private_nonce_and_the_groups_root() -> None:
    """They are needed to know it again."""
    signal, locked = read(
        broadcast(LOCKING), facts.AttemptSettled(effect=an_effect(11, (OLD, SECOND), locked=True)), START
    )
    assert (signal, locked.lock_block, status(locked)) == (Signal.EXECUTED, 11, AttemptStatus.EFFECTIVE)
    assert locked.plan is not None
    assert (locked.plan.lock_nonce, locked.plan.lock_root) == (1, "root at 11")


def test_a_lock_that_was_undone_within_its_block_is_looked_after() -> None:
    """A reorganisation may bring it back alone: the change rests when the group is known to be unlocked for good."""
    fact = facts.AttemptSettled(effect=an_effect(11, (OLD, SECOND)))
    found = step(broadcast(LOCKING), fact, START)
    command = next_command(found)
    assert found.reason is not None
    assert (found.state, found.lock_block, found.reason.slug) == (State.UNLOCKING, 11, "group_moved")
    assert found.plan is not None
    assert (found.plan.lock_nonce, command) == (1, Sign(action=Action.UNLOCK, members=()))


def test_a_lock_that_is_not_wanted_any_more_is_undone() -> None:
    """The deadline passed while it was on its way, and it was mined before what was to burn it."""
    change = replace(broadcast(LOCKING), giving_up=True, reason=DEADLINE)
    signal, locked = read(change, facts.AttemptSettled(effect=an_effect(11, (OLD, SECOND), locked=True)), START)
    assert (signal, locked.reason, locked.giving_up) == (Signal.DEADLINE_PASSED_LOCKED, DEADLINE, False)
    signal, lapsed = read(change, FAILED, START)
    assert (signal, lapsed.reason, lapsed.giving_up) == (Signal.MET_FINAL, DEADLINE, False)


def test_an_addition_is_done_and_unlocks() -> None:
    """The lock is gone with it, and so is the reason of an earlier turn."""
    signal, added = read(
        replace(broadcast(ADDING), reason=Reason(slug="node_behind")), facts.AttemptSettled(effect=an_effect(12)), START
    )
    assert (signal, added.lock_block, added.reason, added.effect) == (Signal.EXECUTED, None, None, an_effect(12))


@pytest.mark.parametrize("change", [broadcast(ADDING), given_up_add(), replace(RELOCKING, attempt=sent(ADD, 12))])
def test_a_split_group_is_left_to_a_person(change: Change) -> None:
    """Nothing that we could still send would mend it, and who is apart is told."""
    found = step(change, SPLIT, START)
    assert (found.state, next_command(found), found.reason) == (State.PARKED, None, SPLIT.reason)
    assert (found.lock_block, status(found)) == (None, AttemptStatus.EFFECTIVE)


def test_removals_go_on_until_all_are_out() -> None:
    """What is out stays in the plan, as a reorganisation may bring it back; the next keeps a block from the last."""
    signal, found = read(REMOVING, facts.AttemptSettled(effect=an_effect(12, (OLD, "third"))), START)
    assert signal is Signal.MORE_TO_GO
    assert found.plan is not None
    assert (found.plan.to_remove, found.plan.last_block) == (("third", SECOND), 12)
    signal, found = read(found, UNLOCKED, START)
    assert signal is Signal.MORE_TO_GO
    assert found.plan is not None
    assert (found.plan.to_remove, found.plan.last_block) == ((SECOND, "third"), 13)
    assert read(found, facts.AttemptSettled(effect=an_effect(14, (OLD,))), START)[0] is Signal.EXECUTED


def test_a_desired_set_that_is_not_reached_is_looked_at_anew() -> None:
    """A member that was added before may be gone again when the last removal is done."""
    change = replace(REMOVING, kind=Kind.SET_MEMBERS, members=(OLD, NEW))
    assert read(change, facts.AttemptSettled(effect=an_effect(12, (OLD, NEW))), START)[0] is Signal.EXECUTED
    assert read(change, facts.AttemptSettled(effect=an_effect(12, (OLD,))), START)[0] is Signal.MET_PASSING
    assert read(change, facts.AttemptSettled(effect=an_effect(12, (OLD, NEW, "x"))), START)[0] is Signal.MET_PASSING


@pytest.mark.parametrize(
    ("slug", "signal"),
    [
        ("add_unmined", Signal.UNLOCKED_PASSING),
        ("deadline_passed", Signal.UNLOCKED_FINAL),
        ("unauthorized", Signal.UNLOCKED_FOR_A_PERSON),
    ],
)
def test_an_undone_turn_is_judged_by_what_undid_it(slug: str, signal: Signal) -> None:
    """The group is unlocked; the reason is the one that it was unlocked for, counted once."""
    found, change = read(replace(broadcast(UNLOCKING), reason=Reason(slug=slug), giving_up=True), UNLOCKED, START)
    assert (found, change.lock_block, change.giving_up) == (signal, None, False)
    assert status(change) is AttemptStatus.EFFECTIVE
    assert change.reason is not None
    assert change.reason.times == 1


def test_a_group_that_somebody_else_unlocked_is_unlocked() -> None:
    """Nothing has to be sent, once the addition is burnt."""
    burnt = replace(UNLOCKING, attempt=replace(ADD, status=AttemptStatus.BURNT))
    signal, found = read(burnt, UNLOCKED, START)
    assert (signal, status(found)) == (Signal.UNLOCKED_PASSING, AttemptStatus.BURNT)


# --- a lock that a reorganisation takes back -------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "undo"), [(ADDING, False), (UNLOCKING, True)])
def test_a_lock_whose_private_nonce_is_unused_again_is_taken_anew(change: Change, undo: bool) -> None:
    """It may be mined again at any time: that the group is unlocked says nothing. What floats is burnt first."""
    for fact in (
        facts.AttemptUnmined(head=14, private_nonce=1),
        facts.AttemptSettled(effect=an_effect(13, (OLD, SECOND)), private_nonce=1),
        facts.AttemptSettled(effect=None, private_nonce=0),
        facts.GroupMoved(reason=Reason(slug="group_moved"), private_nonce=1),
    ):
        found = step(broadcast(change), fact, START)
        command = next_command(found)
        assert (found.state, found.giving_up, found.lock_block) == (State.LOCKING, undo, None)
        assert isinstance(command, Burn)
        burnt = step(found, facts.AttemptBurnt(head=15), START)
        command = next_command(burnt)
        assert (burnt.state, command) == (State.LOCKING, Sign(action=Action.LOCK, members=()))


def test_what_no_node_has_is_dropped_with_its_lock() -> None:
    """An addition that was only signed needs no burn."""
    found = step(ADDING, facts.GroupMoved(reason=Reason(slug="group_moved"), private_nonce=1), START)
    command = next_command(found)
    assert (status(found), command) == (AttemptStatus.VOID, Sign(action=Action.LOCK, members=()))


def test_a_lock_that_is_taken_anew_is_not_burnt() -> None:
    """Who burnt it could not tell the earlier one from none: one of the two has to be mined."""
    for giving_up in (False, True):
        change = replace(RELOCKING, attempt=LOCK, giving_up=giving_up, reason=DEADLINE)
        assert next_command(change) == Send(attempt=LOCK)


@pytest.mark.parametrize("private_nonce", [None, 2, 3])
def test_a_lock_whose_private_nonce_is_used_or_was_not_looked_at_stands(private_nonce: int | None) -> None:
    """Only an unused private nonce tells that the lock is gone."""
    fact = facts.AttemptUnmined(head=14, private_nonce=private_nonce)
    assert read(broadcast(ADDING), fact, START)[0] is Signal.UNDECIDED


def test_a_lock_that_came_back_is_undone() -> None:
    """The private nonce moved on while the lock was signed anew: the old one locks the group, perhaps."""
    relocks = replace(RELOCKING, attempt=None)
    assert read(relocks, facts.AttemptSigned(attempt=LOCK), START)[0] is Signal.UNDECIDED
    signal, found = read(relocks, facts.AttemptSigned(attempt=replace(LOCK, private_nonce=2)), START)
    assert (signal, found.lock_block, status(found)) == (Signal.GROUP_MOVED, LOCK.since_block, AttemptStatus.VOID)


def test_a_lock_that_may_come_back_is_undone_whatever_ends_the_new_one() -> None:
    """The change does not rest before the group is known to be unlocked; what it is undone for is kept."""
    assert read(broadcast(RELOCKING), FAILED, START)[0] is Signal.NOT_EXECUTED
    assert read(RELOCKING, REFUSED, START)[0] is Signal.NOT_EXECUTED
    assert read(replace(RELOCKING, giving_up=True, reason=DEADLINE), REFUSED, START)[1].reason == DEADLINE


# --- small things ----------------------------------------------------------------------------------------------------


def test_only_what_no_node_has_is_given_up_without_a_burn() -> None:
    """What had its effect keeps it; what may be mined can't be dropped."""
    effective = replace(LOCKING, attempt=replace(LOCK, status=AttemptStatus.EFFECTIVE))
    assert given_up(effective) == effective
    assert given_up(replace(LOCKING, attempt=None)).attempt is None
    assert status(given_up(LOCKING)) is AttemptStatus.VOID
    with pytest.raises(ImpossibleStepError, match="may be mined yet"):
        given_up(broadcast(LOCKING))


def test_what_is_to_be_sent_again_goes_out_widely_with_its_marker() -> None:
    """Nothing but what is known of its broadcasts changes."""
    again = to_be_sent_again(replace(LOCK, status=AttemptStatus.EFFECTIVE))
    assert (again.raw, again.marker, again.attempt_id, again.status) == (
        LOCK.raw,
        LOCK.marker,
        LOCK.attempt_id,
        AttemptStatus.SENT,
    )
    assert next_command(replace(LOCKING, attempt=again)) == Send(attempt=again, widely=True)
