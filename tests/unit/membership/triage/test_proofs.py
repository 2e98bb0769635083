from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.membership.attempt import NODE_MARKER, Action, AttemptStatus
from orchestrator.membership.commands import Send, Settle
from orchestrator.membership.errors import ImpossibleStepError
from orchestrator.membership.facts import Sighting
from orchestrator.membership.machine import next_command
from orchestrator.membership.model import Change, Kind, State
from orchestrator.membership.reasons.table import rule_of
from orchestrator.membership.triage.facts import read
from orchestrator.membership.triage.signals import Signal
from tests.fakes.changes import a_change, an_attempt
from tests.fakes.clock import START
from tests.fakes.surveys import NEW, OLD, SECOND, a_plan, an_effect, no_view, observed, seen

EFFECT = an_effect(12)
ADD = an_attempt("add", AttemptStatus.EFFECTIVE, action=Action.ADD, since_block=11, sent_block=11)
REPLAYING = a_change(
    "a",
    state=State.REPLAYING,
    lead_id="change-a",
    members=(NEW,),
    plan=a_plan(lock_nonce=1),
    effect=EFFECT,
    attempt=ADD,
)
GONE = observed(effect=EFFECT, head=14, effect_block_hash="another block 12")


def everybody(effect: object = EFFECT, *blocks: int) -> tuple[Sighting, ...]:
    assert isinstance(effect, type(EFFECT))
    return tuple(seen(key, *(blocks or (12, 13, 14)), effect=effect) for key in effect.view.participants)


def test_a_proven_addition_has_succeeded() -> None:
    """All members are equal through the last block of the proof."""
    assert read(REPLAYING, observed(*everybody(), effect=EFFECT, head=14), START)[0] is Signal.PROVEN


def test_a_proof_goes_on_with_what_was_seen() -> None:
    """What is not proven yet is remembered as progress."""
    signal, change = read(
        replace(REPLAYING, failures=3), observed(*everybody(EFFECT, 12), effect=EFFECT, head=12), START
    )
    assert (signal, change.failures) == (Signal.UNDECIDED, 0)
    assert [entry.in_sync_through for entry in change.progress] == [12, 12, 12]


@pytest.mark.parametrize(("head", "signal"), [(16, Signal.UNDECIDED), (17, Signal.TROUBLE_SEEN)])
def test_a_lost_member_is_reported_when_blocks_after_the_proof_show_it(head: int, signal: Signal) -> None:
    """Before that it may only be late, or what its node shows of the past may have been rewritten."""
    lost = Sighting(enclave_key=NEW, node="n", head=head, views=(no_view(12),))
    found, change = read(REPLAYING, observed(*everybody()[:2], lost, effect=EFFECT, head=head), START)
    assert found is signal
    if signal is Signal.TROUBLE_SEEN:
        assert change.reason is not None
        assert (change.reason.slug, change.reason.members) == ("member_missing", (NEW,))


def test_a_member_that_its_version_forgot_is_not_to_be_added_as_it_is() -> None:
    """On Besu 25.5.0 adding the member again is refused, or lost again: the remedy begins with the version."""
    lost = Sighting(enclave_key=NEW, node="n", head=17, views=(no_view(12),), forgetful=True)
    found, change = read(REPLAYING, observed(*everybody()[:2], lost, effect=EFFECT, head=17), START)
    assert found is Signal.TROUBLE_SEEN
    assert change.reason is not None
    assert (change.reason.slug, change.reason.members) == ("member_forgotten", (NEW,))
    assert "run 25.4.1 or older on the member's node first" in rule_of(change.reason).remedy


def test_a_diverged_member_is_reported_before_a_missing_one() -> None:
    """Two kinds of trouble: the worse one is told."""
    odd = replace(EFFECT.view, state_root="another")
    sightings = (
        seen(OLD, 12, effect=EFFECT),
        Sighting(enclave_key=SECOND, node="n", head=17, views=(odd,)),
        Sighting(enclave_key=NEW, node="n", head=17, views=(no_view(12),)),
    )
    _, change = read(REPLAYING, observed(*sightings, effect=EFFECT, head=17), START)
    assert change.reason is not None
    assert (change.reason.slug, change.reason.members) == ("member_diverged", (SECOND,))


def test_a_member_that_differs_is_left_to_its_node_to_settle() -> None:
    """The chain goes on; what a node shows at blocks that it does not have yet nobody knows."""
    odd = replace(EFFECT.view, state_root="another")
    differs = Sighting(enclave_key=NEW, node="n", head=12, views=(odd,))
    noted, change = read(REPLAYING, observed(*everybody()[:2], differs, effect=EFFECT, head=900), START)
    assert noted is Signal.UNDECIDED
    again = observed(*everybody()[:2], differs, effect=EFFECT, head=901)
    late = START + timedelta(seconds=again.stalled_after_seconds)
    assert read(change, again, late)[0] is Signal.TROUBLE_SEEN, "it stands, and differs where it stands"


def test_a_member_that_is_late_is_waited_for() -> None:
    """A replay may take as long as it takes."""
    late = seen(NEW, effect=EFFECT, blocks_replayed=1, blocks_total=5)
    assert read(REPLAYING, observed(*everybody()[:2], late, effect=EFFECT, head=900), START)[0] is Signal.UNDECIDED


def test_what_has_no_effect_can_not_be_compared() -> None:
    """There is no block to compare at."""
    with pytest.raises(ImpossibleStepError, match="before its effect"):
        read(replace(REPLAYING, effect=None), GONE, START)


# --- desired sets ----------------------------------------------------------------------------------------------------


def setting(*members: str, state: State = State.REPLAYING) -> Change:
    return replace(REPLAYING, kind=Kind.SET_MEMBERS, members=members, state=state)


def test_a_desired_set_removes_after_the_addition_is_proven() -> None:
    """Whoever is too much now is removed, be it by plan or brought in by somebody else."""
    signal, change = read(setting(OLD, NEW), observed(*everybody(), effect=EFFECT, head=14), START)
    assert (signal, change.effect) == (Signal.MEMBERS_TO_GO, None)
    assert change.plan is not None
    assert (change.plan.to_remove, change.plan.last_block) == ((SECOND,), EFFECT.block_number)


def test_a_desired_set_is_reached_exactly() -> None:
    """Members that are missing, or too many after the removals, are looked at anew."""
    fact = observed(*everybody(), effect=EFFECT, head=14)
    assert read(setting(OLD, SECOND, NEW), fact, START)[0] is Signal.PROVEN
    assert read(setting(OLD, SECOND, NEW, "gone"), fact, START)[0] is Signal.FOUND_OTHERWISE
    signal, change = read(setting(OLD, NEW, state=State.VERIFYING), fact, START)
    assert signal is Signal.FOUND_OTHERWISE
    assert change.reason is not None
    assert change.reason.slug == "group_moved"


# --- reorganisations -------------------------------------------------------------------------------------------------


def test_a_rolled_back_addition_is_sent_again_under_its_lock() -> None:
    """The marker is the same, and keeps its distance from wherever the lock may be mined again, the head at most."""
    signal, change = read(REPLAYING, GONE, START)
    assert (signal, change.effect, change.progress, change.lock_block) == (Signal.ADD_ROLLED_BACK, None, (), 14)
    assert change.attempt is not None
    assert (change.attempt.raw, change.attempt.marker, change.attempt.live) == (ADD.raw, ADD.marker, True)
    assert change.attempt.sent_block is not None, "it was sent: a refusal of the next send does not undo that"
    command = next_command(replace(change, state=State.ADDING))
    assert command == Send(attempt=change.attempt, after_block=15, widely=True)


def test_a_rolled_back_addition_of_a_nodes_marker_is_waited_for_under_its_lock() -> None:
    """The lock may be back and stay: the change keeps it, and the node's marker is not sent twice."""
    marker = replace(NODE_MARKER, pmt_hash="0xp")
    change = replace(REPLAYING, attempt=replace(ADD, marker=marker))
    signal, change = read(change, GONE, START)
    assert signal is Signal.ADD_ROLLED_BACK
    assert change.attempt is not None
    assert next_command(replace(change, state=State.ADDING)) == Settle(attempt=change.attempt)


@pytest.mark.parametrize(
    ("kind", "action", "signal"),
    [
        (Kind.CREATE_GROUP, Action.CREATE, Signal.CREATE_ROLLED_BACK),
        (Kind.REMOVE_MEMBERS, Action.REMOVE, Signal.REMOVE_ROLLED_BACK),
        (Kind.SET_MEMBERS, Action.REMOVE, Signal.REMOVE_ROLLED_BACK),
        (Kind.UNLOCK_GROUP, Action.UNLOCK, Signal.UNLOCK_ROLLED_BACK),
    ],
)
def test_what_was_ours_is_sent_again(kind: Kind, action: Action, signal: Signal) -> None:
    """Each action goes back to the state that sends it."""
    plan = a_plan(to_add=() if kind is Kind.UNLOCK_GROUP else (NEW,))
    change = replace(REPLAYING, state=State.VERIFYING, kind=kind, plan=plan, attempt=replace(ADD, action=action))
    assert read(change, GONE, START)[0] is signal


@pytest.mark.parametrize(
    "change",
    [
        replace(REPLAYING, lead_id="another", attempt=None),
        replace(REPLAYING, lead_id="another"),
        replace(REPLAYING, state=State.VERIFYING, attempt=None),
        replace(REPLAYING, state=State.VERIFYING, plan=a_plan(to_add=())),
    ],
)
def test_what_was_not_ours_is_looked_at_anew(change: Change) -> None:
    """A follower, and a change that found everything done, have nothing to send again; an old attempt is no matter."""
    assert read(change, GONE, START)[0] is Signal.FOUND_OTHERWISE


def test_a_member_that_stands_still_for_very_long_is_left_to_a_person() -> None:
    """Ten times as long as makes it stalled: the change parks and names the member, so that the lane is free."""
    waiting = seen(NEW, effect=EFFECT, blocks_replayed=3, blocks_total=10)
    change = REPLAYING
    found = Signal.UNDECIDED
    for minutes in range(12):
        assert found is Signal.UNDECIDED
        fact = observed(*everybody()[:2], waiting, effect=EFFECT, head=14)
        found, change = read(change, fact, START + timedelta(minutes=minutes))
        if found is Signal.TROUBLE_SEEN:
            break
    assert minutes == 10
    assert change.reason is not None
    assert (change.reason.slug, change.reason.members) == ("replay_overdue", (NEW,))


@pytest.mark.parametrize(
    ("kind", "members", "present"),
    [
        (Kind.ADD_MEMBERS, (SECOND, NEW), (OLD, NEW)),
        (Kind.CREATE_GROUP, (OLD, SECOND), (OLD,)),
        (Kind.REMOVE_MEMBERS, (SECOND, NEW), (OLD, SECOND)),
    ],
)
def test_what_was_so_already_and_is_not_any_more_is_looked_at_anew(
    kind: Kind, members: tuple[str, ...], present: tuple[str, ...]
) -> None:
    """A member that was in when the group was looked at is not in the plan: somebody else may take it out before."""
    effect = an_effect(12, present)
    change = replace(REPLAYING, kind=kind, members=members, effect=effect)
    sightings = tuple(seen(key, 12, 13, 14, effect=effect) for key in present)
    signal, after = read(change, observed(*sightings, effect=effect, head=14), START)
    assert signal is Signal.FOUND_OTHERWISE
    assert after.reason is not None
    assert after.reason.slug == "group_moved"
