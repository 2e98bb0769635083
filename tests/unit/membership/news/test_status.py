import json
from dataclasses import replace
from typing import Any

import pytest

from orchestrator.membership.facts import AttemptSettled, ConvergenceObserved
from orchestrator.membership.model import Change, Kind, MemberProgress, State, Verdict
from orchestrator.membership.news.status import EventType, StatusEvent, announce
from orchestrator.membership.reasons.table import Reason
from tests.fakes.changes import a_change
from tests.fakes.clock import START
from tests.fakes.surveys import NEW, OLD, SECOND, a_plan, an_effect, observed

LEAD = a_change("a", lead_id="change-a", members=(NEW,), plan=a_plan())
UNLOCKED_AT = an_effect(14, (OLD, SECOND))
ADDED = an_effect(12)


def at(state: State, **fields: Any) -> Change:
    change: Change = replace(LEAD, state=state, **fields)
    return change


def types(*events: StatusEvent) -> list[EventType]:
    return [event.type for event in events]


def test_an_accepted_change_is_announced() -> None:
    """The first event names the change, the request and what was asked."""
    (event,) = announce(None, a_change("a", members=(NEW,)))
    assert event.type is EventType.CHANGE_ACCEPTED
    assert (event.change_id, event.request_id, event.privacy_group_id) == ("change-a", "request-a", "g")
    assert event.data["kind"] == "add_members"
    assert event.data["members"] == [NEW]


@pytest.mark.parametrize(
    ("state", "type_"),
    [
        (State.SUCCEEDED, EventType.CHANGE_SUCCEEDED),
        (State.FAILED, EventType.CHANGE_FAILED),
        (State.PARKED, EventType.CHANGE_PARKED),
        (State.CANCELLED, EventType.CHANGE_CANCELLED),
        (State.PREFLIGHT, EventType.CHANGE_STARTED),
        (State.REMOVING, EventType.CHANGE_PROGRESSED),
        (State.QUEUED, EventType.CHANGE_PROGRESSED),
    ],
)
def test_each_state_that_is_entered_is_announced(state: State, type_: EventType) -> None:
    """The event tells the state and the one before."""
    event = announce(at(State.VERIFYING), at(state))[-1]
    assert event.type is type_
    assert (event.data["state"], event.data["previous_state"]) == (state.value, "verifying")


def test_what_is_only_noted_is_not_announced() -> None:
    """Signing and sending are no news outside."""
    assert announce(at(State.ADDING), at(State.ADDING, failures=1)) == ()


def test_the_quiet_before_an_addition_begins_and_ends_with_an_event() -> None:
    """Applications hold their transactions from `locking` to `unlocked`, which brings the new version."""
    assert EventType.GROUP_LOCKING in types(*announce(at(State.PREFLIGHT), at(State.LOCKING)))
    locked = announce(at(State.LOCKING), at(State.ADDING, lock_block=11))
    assert types(*locked)[0] is EventType.GROUP_LOCKED
    assert locked[0].data == {"block_number": 11}
    fact = AttemptSettled(effect=ADDED)
    added = announce(at(State.ADDING, lock_block=11), at(State.REPLAYING, effect=ADDED), fact)
    assert types(*added) == [EventType.GROUP_UNLOCKED, EventType.GROUP_MEMBERS_CHANGED, EventType.CHANGE_PROGRESSED]
    assert added[0].data == {
        "locked_since_block": 11,
        "locked_blocks": 1,
        "block_number": 12,
        "block_hash": "block 12",
        "version": "0x01",
    }
    assert added[1].data["added"] == [NEW]
    assert added[1].data["removed"] == []


def test_an_undone_lock_ends_the_quiet() -> None:
    """The unlock is told with its block, although the change goes back to the queue."""
    before = at(State.UNLOCKING, lock_block=11, reason=Reason(slug="add_unmined"))
    after = a_change("a", reason=Reason(slug="add_unmined"), not_before=START)
    unlocked, progressed = announce(before, after, AttemptSettled(effect=UNLOCKED_AT))
    assert unlocked.type is EventType.GROUP_UNLOCKED
    assert (unlocked.data["block_number"], unlocked.data["locked_blocks"]) == (14, 3)
    assert progressed.data["not_before"] == START.isoformat()
    reason = progressed.data["reason"]
    assert isinstance(reason, dict)
    assert reason["slug"] == "add_unmined"
    assert reason["remedy"]


@pytest.mark.parametrize("rest", [State.QUEUED, State.FAILED, State.PARKED])
def test_a_lock_that_never_came_ends_the_quiet_too(rest: State) -> None:
    """Whoever heard of `locking` hears of `unlocked`, with the version that still holds."""
    found = announce(at(State.LOCKING), at(rest, lead_id=None if rest is State.QUEUED else "change-a"))
    assert types(*found)[0] is EventType.GROUP_UNLOCKED
    assert found[0].data == {"locked_since_block": None, "version": "0x01"}


def test_a_broken_foreign_lock_is_announced() -> None:
    """An unlock on request tells the group that it is unlocked; the members are the same."""
    before = at(State.UNLOCKING, kind=Kind.UNLOCK_GROUP)
    after = replace(before, state=State.VERIFYING, effect=UNLOCKED_AT)
    assert types(*announce(before, after, AttemptSettled(effect=UNLOCKED_AT))) == [
        EventType.GROUP_UNLOCKED,
        EventType.CHANGE_PROGRESSED,
    ]


def test_what_concerns_the_group_is_told_once() -> None:
    """In a shared turn only the lead speaks for the group."""
    follower = replace(at(State.ADDING, lock_block=11), change_id="change-b")
    added = replace(follower, state=State.REPLAYING, effect=ADDED, lock_block=None)
    assert types(*announce(follower, added)) == [EventType.CHANGE_PROGRESSED]


def test_a_creation_and_a_removal_change_the_members() -> None:
    """Who is in and who is out follows from the state before and after."""
    plan = a_plan(to_add=(), to_remove=(SECOND,))
    before = at(State.REMOVING, plan=plan, kind=Kind.REMOVE_MEMBERS)
    (changed, _) = announce(before, replace(before, state=State.VERIFYING, effect=an_effect(12, (OLD,))))
    assert changed.type is EventType.GROUP_MEMBERS_CHANGED
    assert (changed.data["participants"], changed.data["removed"]) == ([OLD], [SECOND])
    created = at(State.CREATING, kind=Kind.CREATE_GROUP, plan=a_plan(participants=()))
    (changed, _) = announce(created, replace(created, state=State.VERIFYING, effect=ADDED))
    assert changed.data["added"] == [OLD, SECOND, NEW]


def test_what_was_done_already_changes_no_members() -> None:
    """A change that found everything as asked tells the group nothing."""
    found = announce(at(State.PREFLIGHT), at(State.VERIFYING, effect=ADDED))
    assert types(*found) == [EventType.CHANGE_PROGRESSED]


def progress(**fields: Any) -> MemberProgress:
    values: dict[str, Any] = {
        "enclave_key": NEW,
        "verdict": Verdict.REPLAYING,
        "blocks_replayed": 3,
        "blocks_total": 10,
        "head": 11,
        "moved_at": START,
    }
    return MemberProgress(**values | fields)


def test_progress_is_announced_when_it_moves() -> None:
    """A poll that sees nothing new is no event; a head that moves alone is none either."""
    fact: ConvergenceObserved = observed(effect=ADDED, head=12)
    before = at(State.REPLAYING, effect=ADDED, progress=(progress(),))
    same = replace(before, progress=(progress(head=12),))
    assert announce(before, same, fact) == ()
    (event,) = announce(before, replace(before, progress=(progress(blocks_replayed=4),)), fact)
    assert event.type is EventType.CHANGE_PROGRESSED
    shown = event.data["progress"]
    assert isinstance(shown, list)
    (entry,) = shown
    assert isinstance(entry, dict)
    assert (entry["member"], entry["verdict"], entry["blocks_replayed"], entry["blocks_total"]) == (
        NEW,
        "replaying",
        4,
        10,
    )


def test_a_success_names_whom_nobody_could_look_at() -> None:
    """Unobserved members are named, never counted as proven; the effect is told with its block and root."""
    before = at(State.REPLAYING, effect=ADDED)
    entries = (progress(verdict=Verdict.UNOBSERVED), progress(enclave_key=OLD, verdict=Verdict.IN_SYNC))
    (event,) = announce(before, replace(before, state=State.SUCCEEDED, progress=entries))
    assert event.data["unobserved"] == [NEW]
    effect = event.data["effect"]
    assert isinstance(effect, dict)
    assert (effect["block_number"], effect["state_root"]) == (12, "root at 12")


def test_what_events_say_is_plain_json() -> None:
    """Whatever a step tells can be put on a wire."""
    before = at(State.REPLAYING, effect=ADDED, progress=(progress(),))
    after = replace(before, state=State.PARKED, reason=Reason(slug="member_missing", members=(NEW,)))
    for event in announce(before, after):
        assert json.loads(json.dumps(event.data)) == event.data
