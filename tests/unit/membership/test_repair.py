"""Repairing a lost addition: what is repaired, what is left alone, and that nobody is ever left out by it."""

import contextlib
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.membership import facts
from orchestrator.membership.attempt import Action, Attempt, AttemptStatus, Marker
from orchestrator.membership.commands import Burn, Observe, Pause, Renew, Send, Settle, Sign, Survey
from orchestrator.membership.errors import RefusedRequestError
from orchestrator.membership.facts import Sighting
from orchestrator.membership.forecast.verdict import Danger, Scope
from orchestrator.membership.machine import deadline_applies, next_command, step
from orchestrator.membership.model import Change, Effect, Kind, MemberProgress, Repair, State, Verdict
from orchestrator.membership.reasons.table import RULES, Reason
from orchestrator.membership.repair import PATIENCE, repair_of
from tests.fakes.changes import a_change, an_attempt, sent
from tests.fakes.clock import START
from tests.fakes.surveys import (
    NEW,
    OLD,
    SECOND,
    a_forecast,
    a_member,
    a_plan,
    a_survey,
    a_view,
    an_effect,
    no_view,
    observed,
    seen,
)

ADDED = an_effect(12)
LATER = START + timedelta(minutes=5)


def standing(enclave_key: str, verdict: Verdict, attested_by: str | None = None) -> MemberProgress:
    return MemberProgress(
        enclave_key=enclave_key,
        verdict=verdict,
        blocks_replayed=0,
        blocks_total=0,
        head=20,
        moved_at=START,
        attested_by=attested_by,
    )


PARKED = a_change(
    "a",
    state=State.PARKED,
    members=(NEW,),
    lead_id="change-a",
    transacted=True,
    plan=a_plan(),
    effect=ADDED,
    reason=Reason(slug="member_diverged", members=(NEW,)),
    progress=(standing(OLD, Verdict.IN_SYNC), standing(SECOND, Verdict.IN_SYNC), standing(NEW, Verdict.DIVERGED)),
)
REPAIR = Repair(members=(NEW,), since_block=12)


def present(*keys: str, **fields: object) -> facts.Surveyed:
    """The group with these members; the one to repair differs, and nobody changed it."""
    members = (a_member(OLD), a_member(SECOND), a_member(NEW, agrees=False))
    return a_survey(*members, view=a_view(30, keys or (OLD, SECOND, NEW)), **fields)


def repairing() -> Change:
    """The change as it is claimed for its repair."""
    queued = step(PARKED, facts.RepairRequested(), START)
    return step(queued, facts.Claimed(lead_id=queued.change_id), START)


# --- which changes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Kind.ADD_MEMBERS, Kind.SET_MEMBERS])
@pytest.mark.parametrize("verdict", [Verdict.MISSING, Verdict.DIVERGED])
def test_an_addition_that_got_lost_is_repaired(kind: Kind, verdict: Verdict) -> None:
    """All that the change is parked for is new members that lost the group; the rest agrees."""
    lost = replace(PARKED, kind=kind, progress=(*PARKED.progress[:2], standing(NEW, verdict)))
    assert repair_of(lost) == REPAIR


@pytest.mark.parametrize(
    "change",
    [
        replace(PARKED, state=State.SUCCEEDED),
        replace(PARKED, reason=Reason(slug="group_split")),
        replace(PARKED, reason=None),
        replace(PARKED, kind=Kind.REMOVE_MEMBERS),
        replace(PARKED, effect=None),
        replace(PARKED, plan=None),
        replace(PARKED, progress=PARKED.progress[:2]),
        replace(PARKED, progress=(standing(SECOND, Verdict.DIVERGED), *PARKED.progress[2:])),
        replace(PARKED, progress=(standing(NEW, Verdict.DIVERGED, attested_by="0xpeer"),)),
        replace(PARKED, repair=REPAIR),
        replace(PARKED, repair=replace(REPAIR, removed_block=30)),
    ],
)
def test_nothing_else_is_repaired(change: Change) -> None:
    """Not what an old member lost, not what others say of their node, not what was repaired before."""
    assert repair_of(change) is None
    with pytest.raises(RefusedRequestError, match="no lost addition"):
        step(change, facts.RepairRequested(), START)


def test_a_repair_goes_alone_and_without_a_deadline() -> None:
    """It shares no lock, and no deadline can end it between the removal and the addition."""
    queued = step(replace(PARKED, deadline=LATER), facts.RepairRequested(), START)
    assert (queued.state, queued.repair, queued.batch_limit, queued.deadline) == (State.QUEUED, REPAIR, 1, None)


# --- before the removal -----------------------------------------------------------------------------------------------


def test_a_member_that_still_differs_is_removed_to_be_added() -> None:
    """The removal begins when the forecast of the addition is safe."""
    change = step(repairing(), present(), START)
    assert change.state is State.REMOVING
    assert change.plan is not None
    assert (change.plan.to_remove, change.plan.to_add) == ((NEW,), (NEW,))


def test_a_member_that_agrees_again_is_left_alone() -> None:
    """The verdict is old: the group is proven as it is, and nothing is sent."""
    healthy = a_survey(a_member(NEW, agrees=True), view=a_view(30, (OLD, SECOND, NEW)))
    assert step(repairing(), healthy, START).state is State.VERIFYING


@pytest.mark.parametrize(
    "survey",
    [
        present(OLD, SECOND),
        a_survey(a_member(NEW, agrees=False, moved_block=25), view=a_view(30, (OLD, SECOND, NEW))),
        a_survey(a_member(NEW, agrees=True, moved_block=25), view=a_view(30, (OLD, SECOND, NEW))),
    ],
)
def test_what_a_person_did_since_is_respected(survey: facts.Surveyed) -> None:
    """Removed, or changed in any way since the addition got lost: the change parks; who retries it asks anew."""
    parked = step(repairing(), survey, START)
    assert parked.reason is not None
    assert (parked.state, parked.reason.slug) == (State.PARKED, "repair_overtaken")
    assert step(parked, facts.RetryRequested(), START).repair is None


@pytest.mark.parametrize(
    ("survey", "slug"),
    [
        (
            present(
                forecast=a_forecast(
                    Danger(scope=Scope.MEMBER, reason=Reason(slug="former_member_unsafe", members=(NEW,)))
                )
            ),
            "former_member_unsafe",
        ),
        (
            present(forecast=a_forecast(Danger(scope=Scope.SENDER, reason=Reason(slug="bundle_may_be_torn")))),
            "bundle_may_be_torn",
        ),
        (
            a_survey(
                a_member(NEW, agrees=False, besu_version=(25, 5, 0)),
                view=a_view(30, (OLD, SECOND, NEW)),
                besu_version=(25, 5, 0),
            ),
            "member_would_not_receive",
        ),
        (present(owner=False), "not_owner"),
        (present(sender_key=NEW), "would_empty_group"),
    ],
)
def test_nothing_is_removed_that_could_not_be_added_again(survey: facts.Surveyed, slug: str) -> None:
    """Unsafe for the node, refused by its version, or not ours to do: it parks, whatever the reason means elsewhere."""
    parked = step(repairing(), survey, START)
    assert parked.reason is not None
    assert (parked.state, parked.reason.slug) == (State.PARKED, slug)
    assert parked.reason.detail.startswith("not repaired, nothing was removed")
    assert parked.repair == REPAIR


def test_a_repair_does_not_hold_the_group_up_for_ever() -> None:
    """A node that can't be looked at is waited for some times, then a person is asked."""
    change = repairing()
    unseen = a_survey(a_member(NEW, agrees=None), view=a_view(30, (OLD, SECOND, NEW)))
    for _ in range(PATIENCE):
        change = step(change, unseen, START)
        assert change.state is State.QUEUED
        change = step(change, facts.Claimed(lead_id=change.change_id), START)
    assert step(change, unseen, START).state is State.PARKED


# --- whatever happens -------------------------------------------------------------------------------------------------


class Network:
    """Who is in the group, and who differs; facts are drawn."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.members = [OLD, SECOND, NEW]
        self.head = 30
        self.by_person = False
        self.attempts = 0
        self.clean = True

    def pick(self, *choices: str) -> str:
        return self.data.draw(st.sampled_from(choices))

    def reason(self) -> Reason:
        return Reason(slug=self.data.draw(st.sampled_from(sorted(RULES))))

    def view(self) -> Effect:
        self.head += 1
        return an_effect(self.head, tuple(self.members))

    def survey(self) -> facts.Fact:
        if self.pick("person", "nobody", "nobody", "nobody") == "person" and NEW in self.members:
            self.members.remove(NEW)
            self.by_person = True
        match self.pick("safe", "safe", "safe", "unsafe", "hindered", "agrees", "moved", "unseen", "foreign"):
            case "hindered":
                return facts.Hindered(reason=self.reason())
            case "unsafe":
                danger = Danger(scope=Scope.GROUP, reason=self.reason())
                return present(*self.members, forecast=a_forecast(danger))
            case "foreign":
                return present(*self.members, owner=False)
            case kind:
                agrees = {"agrees": True, "unseen": None}.get(kind, False)
                moved = 29 if kind == "moved" else None
                member = a_member(NEW, agrees=agrees, moved_block=moved)
                return a_survey(member, view=a_view(30, tuple(self.members)))

    def settle(self, attempt: Attempt) -> facts.Fact:
        fate = self.pick("executed", "executed", "executed", "refused", "unmined")
        if fate == "unmined":
            self.head += 1
            return facts.AttemptUnmined(head=self.head)
        if fate == "refused":
            return facts.AttemptSettled(effect=None, reason=self.reason())
        if attempt.action is Action.REMOVE:
            self.members = [key for key in self.members if key not in attempt.members]
        elif attempt.action is Action.ADD:
            self.members += [key for key in attempt.members if key not in self.members]
        return facts.AttemptSettled(effect=self.view())

    def observe(self, change: Change) -> facts.Fact:
        effect = change.effect
        assert effect is not None
        last = effect.block_number + 3
        odd = self.pick("well", "well", "diverged") == "diverged"
        sightings = []
        for key in effect.view.participants:
            sighting = seen(key, *range(effect.block_number, last + 1), effect=effect)
            if odd and key == NEW:
                views = tuple(replace(view, state_root="odd") for view in sighting.views)
                sighting = replace(sighting, views=views)
            sightings.append(sighting)
        return facts.ConvergenceObserved(
            effect_block_hash=effect.block_hash,
            head=last + 1,
            sightings=tuple(sightings),
            proof_blocks=3,
            confirmations=0,
        )

    def attempt(self, command: Sign) -> facts.Fact:
        if self.pick("signed", "signed", "signed", "hindered") == "hindered":
            return facts.Hindered(reason=self.reason())
        self.attempts += 1
        marker = Marker(
            account="0xm", key=b"k", payload_key=b"p", gas_limit=1, gas_price=0, chain_id=1, raw=b"m", pmt_hash="0x1"
        )
        attempt = Attempt(
            attempt_id=str(self.attempts),
            action=command.action,
            members=command.members,
            node="node1",
            private_nonce=self.attempts,
            raw=b"r",
            since_block=self.head,
            marker=marker,
            status=AttemptStatus.SIGNED,
        )
        return facts.AttemptSigned(attempt=attempt)

    def do(self, change: Change) -> facts.Fact:
        command = next_command(change)
        while isinstance(command, Pause):
            command = command.then
        match command:
            case Survey():
                return self.survey()
            case Sign():
                return self.attempt(command)
            case Renew(attempt=attempt):
                return facts.AttemptSigned(attempt=attempt)
            case Send():
                if self.pick("sent", "sent", "lost") == "sent":
                    return facts.AttemptSent(head=self.head, nodes=("node1",))
                certain = self.data.draw(st.booleans())
                return facts.SendFailed(reason=self.reason(), certain=certain, head=self.head)
            case Settle(attempt=attempt):
                return self.settle(attempt)
            case Burn(attempt=attempt):
                if self.pick("burnt", "burnt", "mined") == "burnt":
                    return facts.AttemptBurnt(head=self.head)
                return self.settle(attempt)
            case Observe():
                return self.observe(change)
            case _:
                raise AssertionError(f"{change.state} has nothing to do")


@given(st.data())
def test_no_repair_ends_with_its_member_out(data: st.DataObject) -> None:
    """Whatever fails, is refused or gets lost: a repair that ended has its member in, unless a person removed it."""
    network = Network(data)
    change = step(PARKED, facts.RepairRequested(), START)
    for _ in range(50):
        if change.ended:
            break
        if change.state is State.QUEUED:
            fact: facts.Fact = facts.Claimed(lead_id=change.change_id)
        elif change.state is State.PARKED:
            wish = network.pick("retry", "cancel")
            fact = facts.RetryRequested() if wish == "retry" else facts.CancelRequested()
        elif deadline_applies(change, START):
            fact = facts.DeadlinePassed(deadline=START)
        elif network.pick("work", "work", "work", "work", "cancel") == "cancel":
            fact = facts.CancelRequested()
        else:
            fact = network.do(change)
        with contextlib.suppress(RefusedRequestError):
            change = step(change, fact, START)
        ours = not network.by_person
        left_out = ours and NEW not in network.members
        if left_out and change.repair is not None:
            assert change.repair.removed_block is not None, "whoever looks at it sees that the member is out by us"
    if change.ended:
        assert change.state is State.SUCCEEDED or change.repair is None, "only what a person asked for anew fails"
        assert network.by_person or NEW in network.members


# --- what a guard refused ---------------------------------------------------------------------------------------------

REPLAYING = replace(PARKED, state=State.REPLAYING, reason=None, progress=(), deadline=LATER)
SET = replace(REPLAYING, kind=Kind.SET_MEMBERS, members=(OLD, SECOND, NEW))
LACKS = Sighting(enclave_key=NEW, node="n", head=20, views=(no_view(12),))
REFUSED = replace(LACKS, node=None, attested_by="0xpeer", refused="block_not_replayable")


def compared(new: Sighting, change: Change = REPLAYING) -> Change:
    """The change after its members were compared, once that tells."""
    others = (seen(key, 12, 13, 14, effect=ADDED) for key in (OLD, SECOND))
    return step(change, observed(*others, new, effect=ADDED, head=17), START)


def withdrawing(change: Change = REPLAYING) -> Change:
    """The change as it is claimed to take the member out."""
    queued = compared(REFUSED, change)
    assert (queued.state, queued.deadline, queued.batch_limit) == (State.QUEUED, None, 1)
    return step(queued, facts.Claimed(lead_id=queued.change_id), START)


def taken_out(change: Change = REPLAYING) -> Change:
    """The change after the removal was mined and proven."""
    found = a_survey(a_member(OLD), a_member(SECOND), view=a_view(30, (OLD, SECOND, NEW)))
    removing = step(withdrawing(change), found, START)
    assert removing.state is State.REMOVING
    removing = replace(removing, attempt=sent(an_attempt("remove", action=Action.REMOVE, since_block=30), 30))
    out = an_effect(31, (OLD, SECOND))
    verifying = step(removing, facts.AttemptSettled(effect=out), START)
    assert verifying.state is State.VERIFYING
    sightings = (seen(key, *range(31, 34), effect=out) for key in (OLD, SECOND))
    return step(verifying, observed(*sightings, effect=out, head=35), START)


@pytest.mark.parametrize("change", [REPLAYING, SET])
def test_an_addition_that_a_guard_refused_is_taken_back(change: Change) -> None:
    """By itself and to its end: the member is removed, proven to be out, and the change waits for a person."""
    parked = taken_out(change)
    assert (parked.state, parked.lock_block) == (State.PARKED, None)
    assert parked.reason is not None
    assert (parked.reason.slug, parked.reason.members) == ("refused_by_guard", (NEW,))
    assert parked.reason.detail.startswith("refused by the member's guard: block not replayable (0xpeer says so)")


def test_a_member_that_lacks_the_group_for_another_reason_is_not_taken_out() -> None:
    """Nobody says that a guard refused: the change is parked as it was, and a person decides."""
    parked = compared(LACKS)
    assert (parked.state, parked.reason and parked.reason.slug) == (State.PARKED, "member_missing")


def test_what_was_taken_back_by_somebody_else_is_only_proven() -> None:
    """The member is out already: nothing is sent."""
    change = step(withdrawing(), a_survey(a_member(OLD), a_member(SECOND), view=a_view(30)), START)
    assert change.state is State.VERIFYING


def test_a_member_that_has_the_group_after_all_stays() -> None:
    """Its guard let the group pass since: what was asked for is proven."""
    has = a_survey(a_member(NEW, agrees=True), view=a_view(30, (OLD, SECOND, NEW)))
    change = step(withdrawing(), has, START)
    assert (change.state, change.plan and change.plan.to_remove) == (State.VERIFYING, ())


def test_a_member_that_somebody_added_anew_is_left_alone() -> None:
    """Whoever did so had a reason."""
    newly = a_member(NEW, node=None, moved_block=20)
    change = step(withdrawing(), a_survey(newly, view=a_view(30, (OLD, SECOND, NEW))), START)
    assert (change.state, change.reason and change.reason.slug) == (State.PARKED, "repair_overtaken")


def test_a_withdrawal_is_not_cancelled_half_way_and_is_closed_or_retried_after() -> None:
    """Cancelled it would leave a member that has nothing; parked it may be added anew, or closed."""
    with pytest.raises(RefusedRequestError, match="guard refused"):
        step(withdrawing(), facts.CancelRequested(), START)
    closed = step(taken_out(), facts.CancelRequested(), START)
    assert (closed.state, closed.reason and closed.reason.slug) == (State.FAILED, "closed_by_operator")
    again = step(taken_out(), facts.RetryRequested(), START)
    again = step(again, facts.Claimed(lead_id=again.change_id), START)
    assert step(again, a_survey(a_member(NEW), view=a_view(40)), START).state is State.LOCKING
