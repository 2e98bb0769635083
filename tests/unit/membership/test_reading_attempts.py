from dataclasses import replace

import pytest

from orchestrator.membership import facts
from orchestrator.membership.commands import Command, Pause, Send, Settle
from orchestrator.membership.errors import ImpossibleStepError
from orchestrator.membership.machine import next_command
from orchestrator.membership.model import Action, Attempt, AttemptStatus, Change, Kind, State
from orchestrator.membership.reading import read
from orchestrator.membership.reading_attempts import to_be_sent_again, voided
from orchestrator.membership.reasons import Reason
from orchestrator.membership.retry import (
    ADD_WITHIN_BLOCKS,
    FAILURES_WHILE_LOCKED,
    LOST_ADDITION_BLOCKS,
    POOLED_WITHIN_BLOCKS,
    RESEND_AFTER_BLOCKS,
)
from orchestrator.membership.signals import Signal
from tests.fakes.changes import a_change, an_attempt
from tests.fakes.clock import START
from tests.fakes.surveys import NEW, OLD, SECOND, a_plan, an_effect

LOCK = an_attempt("lock", private_nonce=1, since_block=10)
ADD = an_attempt("add", action=Action.ADD, private_nonce=2, since_block=11, members=(NEW,))
UNLOCK = an_attempt("unlock", action=Action.UNLOCK, private_nonce=2, since_block=12)
LOCKING = a_change("a", state=State.LOCKING, lead_id="change-a", members=(NEW,), plan=a_plan(), attempt=LOCK)
ADDING = replace(LOCKING, state=State.ADDING, plan=a_plan(lock_nonce=1), lock_block=11, attempt=ADD)
UNLOCKING = replace(ADDING, state=State.UNLOCKING, attempt=UNLOCK, reason=Reason(slug="add_unmined"))
ON_REQUEST = replace(UNLOCKING, kind=Kind.UNLOCK_GROUP, plan=a_plan(to_add=()), lock_block=None, reason=None)
REMOVING = replace(LOCKING, state=State.REMOVING, plan=a_plan(to_add=(), to_remove=(SECOND, "third")))
WHY = Reason(slug="enclave_unreachable")
LOST = facts.SendFailed(reason=Reason(slug="node_unreachable"), certain=False, head=12)
REFUSED = facts.SendFailed(reason=WHY, certain=True, head=12)
FAILED = facts.AttemptSettled(effect=None, reason=Reason(slug="execution_refused"))
USED = facts.AttemptSettled(effect=None, reason=Reason(slug="wrong_private_nonce"))


def sent(change: Change, *, lost: bool = False) -> Change:
    """The change after its attempt was sent; with `lost`, the answer to an earlier send was not heard."""
    if lost:
        _, change = read(change, LOST, START)
    return read(change, facts.AttemptSent(pmt_hash="0x1", head=12), START)[1]


def status(change: Change) -> AttemptStatus | None:
    return None if change.attempt is None else change.attempt.status


# --- sending ---------------------------------------------------------------------------------------------------------


def test_a_sent_attempt_has_a_hash_and_a_block() -> None:
    """Each send adds its own PMT hash."""
    once = sent(LOCKING)
    twice = read(once, facts.AttemptSent(pmt_hash="0x2", head=15), START)[1]
    assert twice.attempt is not None
    assert (twice.attempt.pmt_hashes, twice.attempt.sent_block, status(twice)) == (
        ("0x1", "0x2"),
        15,
        AttemptStatus.SENT,
    )


def test_a_lost_answer_stays_lost() -> None:
    """A later send that is answered does not tell what became of the one before."""
    assert status(sent(LOCKING, lost=True)) is AttemptStatus.SIGNED
    again = read(sent(LOCKING), LOST, START)[1]
    assert status(again) is AttemptStatus.SIGNED
    assert again.in_flight is not None


def test_a_first_send_that_is_refused_reached_nobody() -> None:
    """The refusal is judged as if nothing had been signed."""
    signal, found = read(LOCKING, REFUSED, START)
    assert (signal, found.transacted, status(found)) == (Signal.RETRY, False, AttemptStatus.VOID)


def test_a_later_send_that_is_refused_tells_nothing_of_the_first() -> None:
    """The first may be mined yet."""
    signal, found = read(sent(LOCKING), REFUSED, START)
    assert (signal, found.failures) == (Signal.NOTED, 1)
    assert found.in_flight is not None


def test_a_used_private_nonce_is_looked_into() -> None:
    """It was used by this attempt, or by another client: the chain tells."""
    fact = facts.SendFailed(reason=Reason(slug="private_nonce_used"), certain=True, head=12)
    signal, found = read(LOCKING, fact, START)
    assert signal is Signal.NOTED
    assert found.attempt is not None
    assert found.attempt.sent_block == 12


def test_a_fact_about_no_attempt_is_impossible() -> None:
    """Nothing was signed."""
    for fact in (facts.AttemptSent(pmt_hash="0x1", head=1), LOST, facts.AttemptUnmined(head=1)):
        with pytest.raises(ImpossibleStepError, match="no attempt"):
            read(replace(LOCKING, attempt=None), fact, START)


# --- the budget of the add -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fact", [LOST, REFUSED, facts.Hindered(reason=WHY)])
def test_an_addition_that_fails_three_times_in_a_row_is_undone(fact: facts.Fact) -> None:
    """The group waits, locked: after that it is unlocked, whether the addition was sent or not."""
    for change in (ADDING, sent(ADDING)):
        for failures in range(1, FAILURES_WHILE_LOCKED):
            signal, change = read(change, fact, START)  # noqa: PLW2901 - step by step
            assert (signal, change.failures) == (Signal.NOTED, failures)
        signal, undone = read(change, fact, START)
        assert signal is Signal.UNDO
        assert undone.reason is not None


def test_an_addition_that_can_not_be_sent_at_all_is_undone_at_once() -> None:
    """What does not pass is not waited for under a lock."""
    assert read(ADDING, facts.Hindered(reason=Reason(slug="unauthorized")), START)[0] is Signal.UNDO
    refused = facts.SendFailed(reason=Reason(slug="enclave_key_unknown"), certain=True)
    assert read(ADDING, refused, START)[0] is Signal.UNDO


def test_the_lock_behind_it_does_not_count_as_the_addition_on_its_way() -> None:
    """Before the addition is signed the newest attempt is the lock, which was sent."""
    lock = replace(LOCK, status=AttemptStatus.EFFECTIVE, sent_block=10)
    signal, _ = read(replace(ADDING, attempt=lock), facts.Hindered(reason=Reason(slug="unauthorized")), START)
    assert signal is Signal.UNDO


def test_an_addition_that_no_block_holds_is_undone_after_its_budget() -> None:
    """The chain is the clock."""
    last = ADD.since_block + ADD_WITHIN_BLOCKS
    assert read(sent(ADDING), facts.AttemptUnmined(head=last - 1), START)[0] is Signal.NOTED
    signal, undone = read(sent(ADDING), facts.AttemptUnmined(head=last), START)
    assert signal is Signal.UNDO
    assert undone.reason is not None
    assert undone.reason.slug == "add_unmined"


def after(change: Change, *found: facts.Fact) -> Change:
    """The change after some facts."""
    for fact in found:
        _, change = read(change, fact, START)
    return change


def test_what_brings_no_history_is_sent_again_although_it_waits_in_a_pool() -> None:
    """Of several locks, creations or removals with the same bytes one executes at most, wherever the others are."""
    found = after(sent(LOCKING), facts.AttemptUnmined(head=12 + RESEND_AFTER_BLOCKS, pooled=True))
    assert isinstance(next_command(found), Send)


def test_an_addition_that_waits_in_a_pool_is_not_sent_again() -> None:
    """Another PMT of it would bring the history as it is now: mined later, it parts the members."""
    heads = range(15, ADD.since_block + POOLED_WITHIN_BLOCKS, 3)
    for head in heads:
        waiting = after(sent(ADDING), facts.AttemptUnmined(head=head, pooled=True))
        assert isinstance(next_command(waiting), Settle)
    waiting = after(sent(ADDING), *(facts.AttemptUnmined(head=head, pooled=True) for head in heads))
    assert isinstance(next_command(waiting), Settle)


def test_what_no_pool_has_is_sent_again() -> None:
    """Nodes lose their pools: the same bytes go out again after some blocks, of a lock and of an addition."""
    for change in (LOCKING, ADDING):
        found = after(sent(change), facts.AttemptUnmined(head=12 + RESEND_AFTER_BLOCKS))
        assert isinstance(next_command(found), Send)


def test_an_addition_in_a_pool_is_undone_at_last() -> None:
    """A pool that never gives it away must not keep the group locked for ever."""
    last = ADD.since_block + POOLED_WITHIN_BLOCKS
    assert read(sent(ADDING), facts.AttemptUnmined(head=last - 1, pooled=True), START)[0] is Signal.NOTED
    assert read(sent(ADDING), facts.AttemptUnmined(head=last, pooled=True), START)[0] is Signal.UNDO


def test_an_addition_whose_answer_was_lost_is_searched_for_before_it_is_sent_again() -> None:
    """Its node may be bundling the history still; a lock brings no history and goes out after the usual blocks."""
    lock = after(LOCKING, LOST, facts.AttemptUnmined(head=12 + RESEND_AFTER_BLOCKS))
    assert _without_pause(next_command(lock)) is Send
    addition = after(ADDING, LOST, facts.AttemptUnmined(head=13))
    for head in range(14, 13 + LOST_ADDITION_BLOCKS):
        addition = after(addition, facts.AttemptUnmined(head=head))
        assert _without_pause(next_command(addition)) is Settle
    assert _without_pause(next_command(after(addition, facts.AttemptUnmined(head=13 + LOST_ADDITION_BLOCKS)))) is Send


def test_an_addition_that_may_never_have_been_sent_is_sent_before_it_is_undone() -> None:
    """Whoever takes it up hours later sends it once more: the group is locked for it, and nobody knows of a PMT."""
    signed = replace(ADDING, attempt=to_be_sent_again(ADD))
    found = after(signed, facts.AttemptUnmined(head=1000), facts.AttemptUnmined(head=1000 + LOST_ADDITION_BLOCKS))
    assert (found.state, type(next_command(found))) == (State.ADDING, Send)
    found = after(found, facts.AttemptSent(pmt_hash="0x1", head=1010))
    assert read(found, facts.AttemptUnmined(head=1013), START)[0] is Signal.UNDO


def _without_pause(command: Command | None) -> type:
    return type(command.then if isinstance(command, Pause) else command)


def test_a_lock_is_awaited_however_long_it_takes() -> None:
    """It can't be called back: only its private nonce's use tells that it will not come."""
    signal, found = read(sent(LOCKING), facts.AttemptUnmined(head=500, found=("0x9",)), START)
    assert (signal, found.failures) == (Signal.NOTED, 0)
    assert found.attempt is not None
    assert (found.attempt.seen_block, found.attempt.pmt_hashes) == (500, ("0x1", "0x9"))


# --- without an effect -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [LOCKING, replace(REMOVING, attempt=an_attempt("r", action=Action.REMOVE))])
def test_what_was_refused_and_is_all_known_goes_back(change: Change) -> None:
    """Every PMT was mined: nothing of it can come up later."""
    signal, found = read(sent(change), FAILED, START)
    assert (signal, status(found)) == (Signal.RETRY, AttemptStatus.VOID)


@pytest.mark.parametrize(
    "change", [LOCKING, replace(REMOVING, attempt=an_attempt("r", action=Action.REMOVE)), ON_REQUEST]
)
def test_what_was_refused_and_may_come_up_again_is_followed(change: Change) -> None:
    """A PMT whose hash was lost could be mined when nobody looks: it is sent again until its nonce is used."""
    signal, found = read(sent(change, lost=True), FAILED, START)
    assert (signal, found.failures) == (Signal.NOTED, 1)
    assert found.in_flight is not None
    assert read(sent(change, lost=True), USED, START)[0] is Signal.RETRY


def test_an_addition_that_may_come_up_again_is_undone() -> None:
    """The unlock has its private nonce: one of the two executes, and either unlocks."""
    signal, found = read(sent(ADDING, lost=True), FAILED, START)
    assert signal is Signal.UNDO
    assert status(found) is AttemptStatus.SIGNED
    assert status(read(sent(ADDING), FAILED, START)[1]) is AttemptStatus.VOID


@pytest.mark.parametrize("fact", [FAILED, facts.Hindered(reason=Reason(slug="unauthorized"))])
def test_a_lock_of_ours_is_undone_however_often_it_fails(fact: facts.Fact) -> None:
    """More and more slowly, but always."""
    signal, found = read(replace(UNLOCKING, failures=40), fact, START)
    assert (signal, found.failures, found.reason) == (Signal.NOTED, 41, UNLOCKING.reason)


def test_an_unlock_on_request_is_judged() -> None:
    """The lock is not ours: the change may fail."""
    assert read(ON_REQUEST, facts.Hindered(reason=Reason(slug="unauthorized")), START)[0] is Signal.PARK
    signal, done = read(ON_REQUEST, facts.AttemptSettled(effect=an_effect(13, (OLD, SECOND))), START)
    assert signal is Signal.DONE
    assert status(done) is AttemptStatus.EFFECTIVE


# --- with an effect --------------------------------------------------------------------------------------------------


def test_a_lock_is_remembered_with_its_block_and_its_private_nonce() -> None:
    """Both are needed to know it again."""
    signal, locked = read(sent(LOCKING), facts.AttemptSettled(effect=an_effect(11, (OLD, SECOND))), START)
    assert (signal, locked.lock_block, status(locked)) == (Signal.DONE, 11, AttemptStatus.EFFECTIVE)
    assert locked.plan is not None
    assert locked.plan.lock_nonce == 1


def test_a_lock_that_is_not_wanted_any_more_is_undone() -> None:
    """The deadline passed while it was on its way."""
    fact = facts.AttemptSettled(effect=an_effect(11, (OLD, SECOND)))
    deadline = Reason(slug="deadline_passed")
    signal, locked = read(replace(sent(LOCKING), undo_lock=True, reason=deadline), fact, START)
    assert (signal, locked.reason) == (Signal.UNDO, deadline)
    lapsed = read(replace(sent(LOCKING), undo_lock=True, reason=deadline), USED, START)
    assert (lapsed[0], lapsed[1].reason) == (Signal.FAIL, deadline)


def test_an_addition_is_done_and_unlocks() -> None:
    """The lock is gone with it, and so is the reason of an earlier turn."""
    signal, added = read(
        replace(sent(ADDING), reason=Reason(slug="node_behind")), facts.AttemptSettled(effect=an_effect(12)), START
    )
    assert (signal, added.lock_block, added.reason, added.effect) == (Signal.DONE, None, None, an_effect(12))


def test_removals_go_on_until_all_are_out() -> None:
    """What is out stays in the plan, behind: a reorganisation may bring it back."""
    first = facts.AttemptSettled(effect=an_effect(12, (OLD, "third")))
    signal, found = read(REMOVING, first, START)
    assert signal is Signal.MORE_TO_REMOVE
    assert found.plan is not None
    assert found.plan.to_remove == ("third", SECOND)
    back = facts.AttemptSettled(effect=an_effect(13, (OLD, SECOND)))
    signal, found = read(found, back, START)
    assert signal is Signal.MORE_TO_REMOVE
    assert found.plan is not None
    assert found.plan.to_remove == (SECOND, "third")
    assert read(found, facts.AttemptSettled(effect=an_effect(14, (OLD,))), START)[0] is Signal.DONE


def test_a_desired_set_that_is_not_reached_is_looked_at_anew() -> None:
    """A member that was added before may be gone again when the last removal is done."""
    change = replace(REMOVING, kind=Kind.SET_MEMBERS, members=(OLD, NEW))
    assert read(change, facts.AttemptSettled(effect=an_effect(12, (OLD, NEW))), START)[0] is Signal.DONE
    assert read(change, facts.AttemptSettled(effect=an_effect(12, (OLD,))), START)[0] is Signal.RETRY
    assert read(change, facts.AttemptSettled(effect=an_effect(12, (OLD, NEW, "x"))), START)[0] is Signal.RETRY


@pytest.mark.parametrize(
    ("slug", "signal"),
    [
        ("add_unmined", Signal.UNDONE_RETRY),
        ("deadline_passed", Signal.UNDONE_FAIL),
        ("unauthorized", Signal.UNDONE_PARK),
    ],
)
def test_an_undone_turn_is_judged_by_what_undid_it(slug: str, signal: Signal) -> None:
    """The group is unlocked; the reason is the one that it was unlocked for, counted once."""
    fact = facts.AttemptSettled(effect=an_effect(13, (OLD, SECOND)))
    found, change = read(replace(sent(UNLOCKING), reason=Reason(slug=slug), undo_lock=True), fact, START)
    assert (found, change.lock_block, change.undo_lock) == (signal, None, False)
    assert status(change) is AttemptStatus.EFFECTIVE
    assert change.reason is not None
    assert change.reason.times == 1


@pytest.mark.parametrize("attempt", [ADD, UNLOCK])
def test_an_addition_that_got_through_after_all_is_an_addition(attempt: Attempt) -> None:
    """The members are in: that the lock was being undone does not matter any more."""
    change = replace(UNLOCKING, attempt=attempt)
    signal, found = read(change, facts.AttemptSettled(effect=an_effect(13)), START)
    assert (signal, found.reason, found.effect) == (Signal.ADDED_AFTER_ALL, None, an_effect(13))
    assert status(found) is (AttemptStatus.EFFECTIVE if attempt is ADD else AttemptStatus.VOID)


def test_a_group_that_somebody_else_unlocked_is_unlocked() -> None:
    """The addition that was in flight has lost its private nonce to that unlock."""
    signal, found = read(
        replace(UNLOCKING, attempt=ADD), facts.AttemptSettled(effect=an_effect(13, (OLD, SECOND))), START
    )
    assert (signal, status(found)) == (Signal.UNDONE_RETRY, AttemptStatus.VOID)


# --- a lock that a reorganisation takes back -------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "undo"), [(ADDING, False), (UNLOCKING, True)])
def test_a_lock_whose_private_nonce_is_unused_again_is_taken_anew(change: Change, undo: bool) -> None:
    """It may be mined again at any time: that the group is unlocked says nothing."""
    for fact in (
        facts.AttemptUnmined(head=14, private_nonce=1),
        facts.AttemptSettled(effect=an_effect(13, (OLD, SECOND)), private_nonce=1),
        facts.AttemptSettled(effect=None, private_nonce=0),
    ):
        signal, found = read(sent(change), fact, START)
        assert (signal, found.undo_lock, found.lock_block) == (Signal.LOCK_ROLLED_BACK, undo, None)
        assert status(found) is AttemptStatus.VOID


@pytest.mark.parametrize("private_nonce", [None, 2, 3])
def test_a_lock_whose_private_nonce_is_used_or_was_not_looked_at_stands(private_nonce: int | None) -> None:
    """Only an unused private nonce tells that the lock is gone."""
    fact = facts.AttemptUnmined(head=14, private_nonce=private_nonce)
    assert read(sent(ADDING), fact, START)[0] is Signal.NOTED


def test_a_lock_that_came_back_is_undone() -> None:
    """The private nonce moved on while the lock was signed anew: the old one locks the group, perhaps."""
    relocks = replace(LOCKING, plan=a_plan(lock_nonce=1), attempt=None)
    signal, _ = read(relocks, facts.AttemptSigned(attempt=LOCK), START)
    assert signal is Signal.NOTED
    signal, found = read(relocks, facts.AttemptSigned(attempt=replace(LOCK, private_nonce=2)), START)
    assert (signal, found.lock_block, status(found)) == (Signal.UNDO, LOCK.since_block, AttemptStatus.VOID)


def test_a_lock_that_may_come_back_is_undone_whatever_ends_the_new_one() -> None:
    """The change does not rest before the group is known to be unlocked; what it is undone for is kept."""
    relocks = replace(LOCKING, plan=a_plan(lock_nonce=1))
    assert read(sent(relocks), USED, START)[0] is Signal.UNDO
    assert read(relocks, REFUSED, START)[0] is Signal.UNDO
    reason = Reason(slug="deadline_passed")
    assert read(replace(relocks, undo_lock=True, reason=reason), REFUSED, START)[1].reason == reason


# --- small things ----------------------------------------------------------------------------------------------------


def test_only_what_is_undecided_is_voided() -> None:
    """What had its effect keeps it."""
    effective = replace(LOCKING, attempt=replace(LOCK, status=AttemptStatus.EFFECTIVE))
    assert voided(effective) == effective
    assert voided(replace(LOCKING, attempt=None)).attempt is None
    assert status(voided(LOCKING)) is AttemptStatus.VOID


def test_what_is_to_be_sent_again_keeps_its_bytes() -> None:
    """Nothing but what is known of its sends changes."""
    again = to_be_sent_again(replace(LOCK, status=AttemptStatus.EFFECTIVE, pmt_hashes=("0x1",)))
    assert (again.raw, again.private_nonce, again.attempt_id) == (LOCK.raw, LOCK.private_nonce, LOCK.attempt_id)
    assert (again.status, again.pmt_hashes) == (AttemptStatus.SIGNED, ("0x1",))
