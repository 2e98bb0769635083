from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from orchestrator.membership import facts
from orchestrator.membership.attempt import Action, AttemptStatus
from orchestrator.membership.errors import RefusedRequestError
from orchestrator.membership.model import ACTION_OF, Change, Kind, MemberProgress, State, Verdict
from orchestrator.membership.reasons.table import Reason
from orchestrator.membership.triage.facts import read
from orchestrator.membership.triage.signals import Signal
from tests.fakes.changes import a_change, an_attempt, sent
from tests.fakes.clock import START
from tests.fakes.surveys import NEW, OLD, SECOND, a_member, a_plan, a_survey, a_view, an_effect, no_view

PREFLIGHT = a_change("a", state=State.PREFLIGHT, lead_id="change-a", members=(NEW,))
LOCKING = replace(PREFLIGHT, state=State.LOCKING, plan=a_plan())
LATER = START + timedelta(hours=1)
DEADLINE = facts.DeadlinePassed(deadline=START)
SENT = sent(an_attempt("l"))


def test_a_claim_names_its_lead_and_ends_the_pause() -> None:
    """A claimed change knows whose turn it shares and how many do."""
    signal, claimed = read(a_change("a", not_before=START), facts.Claimed(lead_id="b", batch=3), START)
    assert (signal, claimed.lead_id, claimed.batch, claimed.not_before) == (Signal.CLAIMED, "b", 3, None)


@pytest.mark.parametrize(
    ("change", "survey", "signal"),
    [
        (PREFLIGHT, a_survey(a_member()), Signal.MEMBERS_MISSING),
        (replace(PREFLIGHT, kind=Kind.REMOVE_MEMBERS, members=(SECOND,)), a_survey(), Signal.MEMBERS_TO_GO),
        (replace(PREFLIGHT, kind=Kind.SET_MEMBERS, members=(OLD, NEW)), a_survey(a_member()), Signal.MEMBERS_MISSING),
        (replace(PREFLIGHT, kind=Kind.SET_MEMBERS, members=(OLD,)), a_survey(), Signal.MEMBERS_TO_GO),
        (replace(PREFLIGHT, kind=Kind.UNLOCK_GROUP), a_survey(view=a_view(locked=True)), Signal.LOCKED),
        (replace(PREFLIGHT, kind=Kind.UNLOCK_GROUP), a_survey(), Signal.AS_ASKED),
        (replace(PREFLIGHT, members=(SECOND,)), a_survey(), Signal.AS_ASKED),
        (
            replace(PREFLIGHT, kind=Kind.CREATE_GROUP, members=(OLD, NEW)),
            a_survey(view=no_view(), abi=None, owner=None),
            Signal.NO_GROUP,
        ),
        (replace(PREFLIGHT, kind=Kind.CREATE_GROUP, members=(OLD, SECOND)), a_survey(), Signal.AS_ASKED),
        (PREFLIGHT, a_survey(owner=False), Signal.MET_FINAL),
        (PREFLIGHT, a_survey(syncing=True), Signal.MET_PASSING),
        (PREFLIGHT, a_survey(abi="unusable"), Signal.MET_FOR_A_PERSON),
    ],
)
def test_a_survey_says_what_can_be_done(change: Change, survey: facts.Surveyed, signal: Signal) -> None:
    """The plan, or the reason why there is none, decides where the change goes."""
    assert read(change, survey, START)[0] is signal


def test_what_is_so_already_is_proven_at_the_surveys_block() -> None:
    """There is no transaction; the proof is owed all the same."""
    change = replace(PREFLIGHT, members=(SECOND,), reason=Reason(slug="node_behind"))
    _, found = read(change, a_survey(), START)
    assert found.effect is not None
    assert (found.effect.block_number, found.effect.block_hash, found.reason) == (10, "block 10", None)


def test_the_reason_of_the_turn_before_is_kept_until_this_one_has_its_effect() -> None:
    """The same reason again uses up patience, although preflight went well in between."""
    reason = Reason(slug="execution_refused", times=4)
    _, found = read(replace(PREFLIGHT, reason=reason), a_survey(a_member()), START)
    assert found.reason == reason
    locking = replace(found, state=State.LOCKING, attempt=SENT)
    refused = facts.AttemptSettled(effect=None, reason=Reason(slug="execution_refused"))
    signal, again = read(locking, refused, START)
    assert signal is Signal.MET_PASSING
    assert again.reason is not None
    assert again.reason.times == 5
    assert read(replace(locking, reason=again.reason), refused, START)[0] is Signal.MET_FOR_A_PERSON


@pytest.mark.parametrize(
    ("slug", "signal"),
    [
        ("node_unreachable", Signal.MET_PASSING),
        ("account_unavailable", Signal.MET_FOR_A_PERSON),
        ("wrong_chain_id", Signal.MET_FINAL),
    ],
)
def test_what_hinders_preflight_is_judged(slug: str, signal: Signal) -> None:
    """Nothing was sent: the change waits, is parked or fails."""
    assert read(PREFLIGHT, facts.Hindered(reason=Reason(slug=slug)), START)[0] is signal


@pytest.mark.parametrize("state", [State.REPLAYING, State.VERIFYING])
def test_what_hinders_a_proof_is_waited_out(state: State) -> None:
    """The effect is there; it can be looked at later."""
    change = replace(LOCKING, state=state, effect=an_effect())
    signal, found = read(change, facts.Hindered(reason=Reason(slug="unauthorized")), START)
    assert (signal, found.failures) == (Signal.UNDECIDED, 1)


# --- deadlines -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [State.QUEUED, State.PREFLIGHT, State.CREATING, State.REMOVING])
def test_a_deadline_ends_what_has_not_been_sent(state: State) -> None:
    """What was signed and not sent is given up with the change."""
    signal, found = read(replace(LOCKING, state=state, attempt=an_attempt("x")), DEADLINE, LATER)
    assert signal is Signal.DEADLINE_PASSED
    assert found.reason is not None
    assert found.reason.slug == "deadline_passed"
    assert found.attempt is not None
    assert not found.attempt.live


@pytest.mark.parametrize("state", [State.LOCKING, State.CREATING, State.REMOVING])
def test_a_deadline_takes_back_what_is_on_its_way(state: State) -> None:
    """The change ends when its marker is burnt, or mined: it is not failed while it may have its effect."""
    change = replace(LOCKING, state=state, attempt=SENT, failures=3)
    signal, found = read(change, DEADLINE, LATER)
    assert (signal, found.giving_up, found.failures) == (Signal.UNDECIDED, True, 0)
    assert found.reason is not None
    assert found.reason.slug == "deadline_passed"
    assert found.in_flight is not None


def test_a_deadline_in_the_lock_window_undoes_the_lock() -> None:
    """One that is there is undone, with or without the addition on its way; one that was never sent ends the change."""
    assert read(replace(LOCKING, attempt=an_attempt("l")), DEADLINE, LATER)[0] is Signal.DEADLINE_PASSED
    adding = replace(LOCKING, state=State.ADDING)
    assert read(adding, DEADLINE, LATER)[0] is Signal.DEADLINE_PASSED_LOCKED
    add = an_attempt("d", action=Action.ADD)
    signal, signed = read(replace(adding, attempt=add), DEADLINE, LATER)
    assert (signal, signed.attempt) == (Signal.DEADLINE_PASSED_LOCKED, replace(add, status=AttemptStatus.VOID))
    signal, floats = read(replace(adding, attempt=sent(add)), DEADLINE, LATER)
    assert (signal, floats.attempt) == (Signal.DEADLINE_PASSED_LOCKED, sent(add))


def test_a_deadline_of_a_lock_that_may_come_back_undoes_it() -> None:
    """A lock that a reorganisation took back may be mined again: the change does not end before that is known."""
    relocks = replace(LOCKING, plan=a_plan(lock_nonce=1))
    assert read(relocks, DEADLINE, LATER)[0] is Signal.DEADLINE_PASSED_LOCKED


def test_a_deadline_of_a_proof_parks() -> None:
    """The members are in: the change is not failed, and says who is behind."""
    behind = MemberProgress(
        enclave_key=NEW, verdict=Verdict.STALLED, blocks_replayed=1, blocks_total=2, head=11, moved_at=START
    )
    change = replace(LOCKING, state=State.REPLAYING, effect=an_effect(), progress=(behind,))
    signal, found = read(change, DEADLINE, LATER)
    assert signal is Signal.DEADLINE_PASSED
    assert found.reason is not None
    assert (found.reason.slug, found.reason.members) == ("replay_overdue", (NEW,))


# --- operators' requests ---------------------------------------------------------------------------------------------


def test_a_change_that_has_sent_nothing_can_be_cancelled() -> None:
    """An attempt that every node refused for certain is no transaction."""
    void = an_attempt("l", AttemptStatus.VOID)
    assert read(a_change("a", attempt=void), facts.CancelRequested(), START)[0] is Signal.CANCEL_ASKED
    signal, cancelled = read(a_change("a"), facts.CancelRequested(detail="not wanted"), START)
    assert (signal, cancelled.reason) == (
        Signal.CANCEL_ASKED,
        Reason(slug="cancelled_by_operator", detail="not wanted"),
    )


def test_a_parked_change_is_closed_when_nothing_of_it_is_to_come() -> None:
    """A parked change that has sent fails by an operator's word, unless something of it is open, or is in the group."""
    parked = a_change("a", state=State.PARKED, transacted=True)
    signal, closed = read(parked, facts.CancelRequested(detail="gone"), START)
    assert (signal, closed.reason) == (Signal.CLOSE_ASKED, Reason(slug="closed_by_operator", detail="gone"))
    stills: tuple[dict[str, Any], ...] = ({"lock_block": 7}, {"attempt": SENT}, {"effect": an_effect()})
    for still in stills:
        with pytest.raises(RefusedRequestError):
            read(replace(parked, **still), facts.CancelRequested(), START)


def test_a_change_that_has_sent_something_can_not_be_cancelled() -> None:
    """Whatever became of it: the answer says what to do instead."""
    for attempt in (replace(SENT, status=AttemptStatus.VOID), an_attempt("another", AttemptStatus.VOID)):
        with pytest.raises(RefusedRequestError, match="has sent a transaction") as refused:
            read(a_change("a", attempt=attempt, transacted=True), facts.CancelRequested(), START)
        assert "change-a" in str(refused.value)


@pytest.mark.parametrize("state", [*ACTION_OF, State.REPLAYING, State.VERIFYING])
def test_a_change_at_work_that_is_cancelled_is_given_up_as_by_its_deadline(state: State) -> None:
    """What can be mined is burnt, and a lock of ours undone, before it ends."""
    change = replace(LOCKING, state=state, effect=an_effect(), transacted=True, deadline=LATER)
    signal, found = read(change, facts.CancelRequested(), START)
    assert (signal, found) == (Signal.UNDECIDED, replace(change, deadline=START))


@pytest.mark.parametrize("state", [s for s in State if s is not State.PARKED])
def test_only_a_parked_change_is_retried(state: State) -> None:
    """A retry of anything else would drop what is under way."""
    with pytest.raises(RefusedRequestError, match="only a parked change"):
        read(replace(LOCKING, state=state), facts.RetryRequested(), START)


def test_a_retried_change_begins_anew() -> None:
    """Patience, pauses and a deadline that is over do not count any more; what it was parked for is still shown."""
    parked = a_change(
        "a",
        state=State.PARKED,
        tries=9,
        waiting_since=START,
        not_before=START,
        deadline=START,
        reason=Reason(slug="locked_by_other", times=9),
    )
    signal, found = read(parked, facts.RetryRequested(), LATER)
    assert signal is Signal.RETRY_ASKED
    assert (found.tries, found.waiting_since, found.not_before, found.deadline) == (0, None, None, None)
    assert found.reason == Reason(slug="locked_by_other", times=0)


def test_a_deadline_that_is_not_over_survives_a_retry() -> None:
    """It is still what the requester wanted."""
    parked = a_change("a", state=State.PARKED, deadline=LATER)
    assert read(parked, facts.RetryRequested(), START)[1].deadline == LATER


@pytest.mark.parametrize("state", [State.QUEUED, State.PREFLIGHT, State.REPLAYING, State.VERIFYING])
def test_what_has_nothing_under_way_can_be_parked(state: State) -> None:
    """An operator lets it rest."""
    signal, found = read(replace(LOCKING, state=state), facts.ParkRequested(detail="maintenance"), START)
    assert (signal, found.reason) == (Signal.PARK_ASKED, Reason(slug="parked_by_operator", detail="maintenance"))


@pytest.mark.parametrize("state", [State.CREATING, State.LOCKING, State.ADDING, State.REMOVING, State.UNLOCKING])
def test_what_is_under_way_can_not_be_parked(state: State) -> None:
    """A transaction would be forgotten, or a group left locked."""
    with pytest.raises(RefusedRequestError, match="while it is queued or being proven"):
        read(replace(LOCKING, state=state), facts.ParkRequested(), START)
