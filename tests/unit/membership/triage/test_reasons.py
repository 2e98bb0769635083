from datetime import timedelta
from typing import Any

import pytest

from orchestrator.membership.model import Change, State
from orchestrator.membership.reasons.table import Reason
from orchestrator.membership.triage.reasons import counted, judge, share_end, shared_reason
from orchestrator.membership.triage.signals import Signal
from tests.fakes.changes import a_change
from tests.fakes.clock import START

HOUR = timedelta(hours=1)


def a_turn(state: State, reason: Reason, **fields: Any) -> tuple[Change, Change]:
    """A lead that ended its turn with a reason, and its follower, still where the lead was."""
    lead = a_change("lead", lead_id="change-lead", batch=2, state=state, reason=reason, **fields)
    return lead, a_change("follower", lead_id="change-lead", batch=2, state=State.LOCKING)


def test_the_same_reason_in_a_row_is_counted() -> None:
    """The count goes on while the reason stays and begins anew with another."""
    change = a_change("a", reason=Reason(slug="node_behind", times=3))
    assert counted(change, Reason(slug="node_behind", detail="now")).times == 4
    assert counted(change, Reason(slug="no_head")).times == 1
    assert counted(a_change("a"), Reason(slug="no_head")).times == 1


def test_what_may_pass_waits_longer_each_time() -> None:
    """A change that is queued again remembers since when it waits, how often it tried, and pauses."""
    signal, first = judge(a_change("a"), Reason(slug="node_behind"), START)
    assert (signal, first.tries, first.waiting_since) == (Signal.MET_PASSING, 1, START)
    assert first.not_before is not None
    signal, later = judge(first, Reason(slug="node_behind", times=2), START + HOUR)
    assert (signal, later.tries, later.waiting_since) == (Signal.MET_PASSING, 2, START)
    signal, other = judge(later, Reason(slug="no_head"), START + HOUR)
    assert (other.tries, other.waiting_since) == (3, START + HOUR)


def test_what_is_parked_after_waiting_tells_its_age() -> None:
    """A person hears how often and for how long something was met."""
    change = a_change("a", waiting_since=START, tries=8)
    reason = Reason(slug="locked_by_other", detail="still locked at block 7", times=9)
    signal, parked = judge(change, reason, START + HOUR)
    assert signal is Signal.MET_FOR_A_PERSON
    assert parked.reason is not None
    assert parked.reason.detail.startswith("still locked at block 7; met 9 times in a row since 2026-01-01")
    assert parked.reason.detail.endswith("for 3600 s")


def test_what_is_parked_at_once_has_no_age() -> None:
    """A reason that needs a person from the start is told as it was seen."""
    _, parked = judge(a_change("a"), Reason(slug="unauthorized", detail="401"), START)
    assert parked.reason == Reason(slug="unauthorized", detail="401")


def test_one_members_fault_halves_the_batch() -> None:
    """A refused addition does not say whose fault it is: the halves are tried at once, without losing patience."""
    change = a_change("a", state=State.UNLOCKING, batch=7, tries=2)
    signal, halved = judge(change, Reason(slug="enclave_key_unknown", times=4), START)
    assert signal is Signal.MET_PASSING
    assert (halved.batch_limit, halved.tries, halved.not_before) == (3, 2, START)
    assert counted(halved, Reason(slug="enclave_key_unknown")).times == 1


@pytest.mark.parametrize(("state", "batch"), [(State.PREFLIGHT, 5), (State.UNLOCKING, 1)])
def test_who_is_known_to_be_at_fault_is_judged_alone(state: State, batch: int) -> None:
    """Preflight looks at each change for itself, and a batch of one has nobody else to blame."""
    signal, _ = judge(a_change("a", state=state, batch=batch), Reason(slug="enclave_key_unknown"), START)
    assert signal is Signal.MET_FINAL


def test_a_fault_of_all_is_not_halved() -> None:
    """What is nobody's own fault ends the whole turn."""
    signal, _ = judge(a_change("a", state=State.LOCKING, batch=5), Reason(slug="transaction_rejected"), START)
    assert signal is Signal.MET_FINAL


def test_a_leads_deadline_is_not_its_followers() -> None:
    """When the lead is out of time, the others start over, at once and without it."""
    lead, follower = a_turn(State.FAILED, Reason(slug="deadline_passed"))
    left = share_end(follower, lead)
    assert (left.state, left.not_before) == (State.QUEUED, None)
    assert left.reason is not None
    assert left.reason.slug == "turn_given_up"
    assert "change-lead" in left.reason.detail


def test_a_leads_used_up_patience_is_not_its_followers() -> None:
    """A change that joined a turn late has its own tries."""
    lead, follower = a_turn(State.PARKED, Reason(slug="execution_refused", times=6))
    left = share_end(follower, lead)
    assert (left.state, left.tries) == (State.QUEUED, 1)


def test_a_followers_own_patience_ends() -> None:
    """A follower is parked after as many turns as its rule allows, whoever led them."""
    lead, follower = a_turn(State.QUEUED, Reason(slug="execution_refused", times=1), not_before=START)
    tired = a_change("follower", state=State.LOCKING, batch=2, reason=Reason(slug="execution_refused", times=5))
    assert share_end(tired, lead).state is State.PARKED
    assert share_end(follower, lead).not_before == START


@pytest.mark.parametrize(
    ("slug", "state"),
    [("transaction_rejected", State.FAILED), ("unauthorized", State.PARKED), ("no_head", State.QUEUED)],
)
def test_what_ends_a_turn_for_all_ends_it_for_each(slug: str, state: State) -> None:
    """Followers share the fate of their lead."""
    lead, follower = a_turn(state, Reason(slug=slug))
    assert share_end(follower, lead).state is state


def test_a_halved_turn_is_halved_for_all() -> None:
    """Lead and followers come back with the same limit."""
    reason = Reason(slug="enclave_unreachable")
    _, lead = judge(a_change("lead", state=State.UNLOCKING, batch=2), reason, START)
    left = share_end(a_change("follower", state=State.LOCKING, batch=2), lead)
    assert left.state is State.QUEUED
    assert (left.batch_limit, left.tries, left.not_before) == (1, 0, START) == (lead.batch_limit, lead.tries, START)


def test_an_undone_turns_reason_is_counted_once() -> None:
    """A follower meets the reason when the undoing begins, not again when it is over."""
    lead, _ = a_turn(State.UNLOCKING, Reason(slug="add_unmined", times=1))
    follower = a_change("follower", state=State.UNLOCKING, batch=2, reason=shared_reason(a_change("f"), lead))
    ended = share_end(follower, a_change("lead", state=State.QUEUED, reason=lead.reason, not_before=START))
    assert ended.reason is not None
    assert ended.reason.times == 1
