"""Committing steps, and what the database refuses, on both databases."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from orchestrator.engine.ports.records import ChangeFilter
from orchestrator.engine.ports.store import Lane, LeaseLostError, Record, StoreError
from orchestrator.membership.attempt import Action, AttemptStatus
from orchestrator.membership.model import Change, State
from orchestrator.membership.news.status import EventType, StatusEvent
from orchestrator.store import SqlChangeStore, SqlOutbox
from orchestrator.store.errors import ConstraintError
from tests.fakes.changes import a_change, a_step, an_attempt, led, stepped
from tests.fakes.clock import START, JumpingClock

NOW = START + timedelta(seconds=1)


async def held(store: SqlChangeStore, *changes: Change) -> Lane:
    for change in changes:
        await store.accept(change, "hash", ())
    (lane,) = await store.claim(holder="one", lease=timedelta(seconds=10), limit=1, now=NOW)
    return lane


async def test_a_step_is_committed_whole(store: SqlChangeStore, outbox: SqlOutbox) -> None:
    """State, attempt, history and status events of a step are there together."""
    change = a_change("1")
    lane = await held(store, change)
    attempt = an_attempt("1")
    first = led(change)
    second = stepped(first, State.LOCKING, attempt=attempt)
    await store.record(lane, a_step(change, first))
    await store.record(lane, a_step(first, second, attempt, at=NOW))
    assert await store.change(change.change_id) == second
    assert await store.attempts(change.change_id) == (attempt,)
    history = await store.history(change.change_id)
    assert [(entry.revision, entry.from_state, entry.to_state) for entry in history] == [
        (1, State.QUEUED, State.PREFLIGHT),
        (2, State.PREFLIGHT, State.LOCKING),
    ]
    assert history[1].at == NOW
    assert [(event.sequence, event.event.type) for event in await outbox.after(0, limit=10)] == [
        (1, EventType.CHANGE_STARTED),
        (2, EventType.GROUP_LOCKING),
        (3, EventType.CHANGE_PROGRESSED),
    ]


async def test_the_markers_of_our_additions_are_known(store: SqlChangeStore) -> None:
    """An addition's marker is ours, its earlier forms too; a lock's and anybody else's are not asked for."""
    change = a_change("1")
    lane = await held(store, change)
    added = an_attempt("1", action=Action.ADD, renewed=("0x0",))
    first = led(change)
    await store.record(lane, a_step(change, first))
    await store.record(lane, a_step(first, stepped(first, State.LOCKING, attempt=added), added, at=NOW))
    assert await store.is_ours("0x1")
    assert await store.is_ours("0x0")
    assert not await store.is_ours("0x2")
    assert not await store.is_ours("%")


async def test_the_same_step_again_does_nothing(store: SqlChangeStore, outbox: SqlOutbox) -> None:
    """A step whose answer was lost can be recorded again: it is there once, and no number is used up."""
    change = a_change("1")
    lane = await held(store, change)
    step = a_step(change, led(change, attempt=an_attempt("1")), an_attempt("1"))
    for _ in range(3):
        await store.record(lane, step)
    after = stepped(step.changes[0], State.LOCKING)
    await store.record(lane, a_step(step.changes[0], after))
    sequences = [event.sequence for event in await outbox.after(0, limit=10)]
    assert sequences == list(range(1, len(sequences) + 1))
    assert len(await store.history(change.change_id)) == 2


async def test_a_step_from_an_old_revision_is_refused(store: SqlChangeStore) -> None:
    """A step that was made from an older reading of the change commits nothing."""
    change = a_change("1")
    lane = await held(store, change)
    first = led(change)
    await store.record(lane, a_step(change, first))
    with pytest.raises(LeaseLostError, match=r"change-1 at 0.*load the lane again"):
        await store.record(lane, a_step(change, led(change, State.PARKED)))
    with pytest.raises(LeaseLostError):
        await store.record(lane, a_step(first, replace(first, revision=7)))
    assert await store.change(change.change_id) == first
    assert len(await store.history(change.change_id)) == 1


async def test_a_group_has_one_lead(store: SqlChangeStore) -> None:
    """The database refuses a second unfinished change that leads its group's turn, and nothing of the step is kept."""
    first, second = a_change("1"), a_change("2")
    lane = await held(store, first, second)
    await store.record(lane, a_step(first, led(first)))
    with pytest.raises(ConstraintError, match="this is a defect"):
        await store.record(lane, a_step(second, led(second)))
    assert await store.change(second.change_id) == second
    assert await store.history(second.change_id) == ()


async def test_the_lead_can_pass_on_in_one_step(store: SqlChangeStore) -> None:
    """In one step the old lead may rest and another change take its place, in whatever order they are named."""
    first, second = a_change("1"), a_change("2")
    lane = await held(store, first, second)
    await store.record(lane, a_step(first, led(first)))
    await store.record(lane, Record(changes=(led(second), stepped(led(first), State.SUCCEEDED))))
    assert (await store.load(lane, now=NOW)).active == (led(second),)


async def test_a_change_has_one_live_attempt(store: SqlChangeStore) -> None:
    """A second attempt is refused while the first may execute, and accepted in the step that tells the first void."""
    change = a_change("1")
    lane = await held(store, change)
    one, two = an_attempt("1"), an_attempt("2")
    first = led(change, State.LOCKING, attempt=one)
    await store.record(lane, a_step(change, first, one))
    second = stepped(first, State.LOCKING, attempt=two)
    with pytest.raises(ConstraintError):
        await store.record(lane, a_step(first, second, two))
    void = replace(one, status=AttemptStatus.VOID)
    await store.record(lane, a_step(first, second, two, void))
    assert await store.attempts(change.change_id) == (void, two)
    assert await store.change(change.change_id) == second


async def test_signed_bytes_never_change(store: SqlChangeStore) -> None:
    """What is known of an attempt may change, and its marker be signed anew; the private transaction may not."""
    change = a_change("1")
    lane = await held(store, change)
    attempt = an_attempt("1")
    first = led(change, State.LOCKING, attempt=attempt)
    await store.record(lane, a_step(change, first, attempt))
    marker = replace(attempt.marker, gas_limit=21_501, raw=b"with more gas", pmt_hash="0x2")
    sent = replace(
        attempt,
        status=AttemptStatus.SENT,
        sent_block=11,
        seen_block=12,
        marker=marker,
        renewed=(attempt.marker.pmt_hash,),
    )
    second = stepped(first, State.LOCKING, attempt=sent)
    await store.record(lane, a_step(first, second))  # the attempt that a change carries is stored with it
    assert await store.change(change.change_id) == second
    assert await store.attempts(change.change_id) == (sent,)
    other = replace(sent, raw=b"other")
    with pytest.raises(ConstraintError, match="other bytes"):
        await store.record(lane, a_step(second, stepped(second, State.LOCKING, attempt=other), other))


async def test_a_follower_shows_its_leads_attempts(store: SqlChangeStore) -> None:
    """The attempts of a turn are shown for each of its changes."""
    lead, follower = a_change("1"), a_change("2")
    lane = await held(store, lead, follower)
    attempt = an_attempt("1")
    first = led(lead, State.LOCKING, attempt=attempt)
    second = stepped(follower, State.LOCKING, lead_id=lead.change_id)
    await store.record(lane, Record(changes=(first, second), attempts=((lead.change_id, attempt),)))
    assert await store.attempts(follower.change_id) == (attempt,)
    assert await store.attempts("unknown") == ()


async def test_steps_that_wait_together_fail_alone(store: SqlChangeStore, outbox: SqlOutbox) -> None:
    """Steps of many lanes are committed together; those that were lost, do not fit or break an invariant fail alone."""
    changes = [a_change(str(number), f"g{number}") for number in range(30)]
    for change in changes:
        await store.accept(change, "hash", ())
    found = await store.claim(holder="one", lease=timedelta(seconds=10), limit=30, now=NOW)
    held = {lane.privacy_group_id: lane for lane in found}
    for lost in ("g3", "g17"):
        await store.release(held[lost], now=NOW)
    steps = {change.privacy_group_id: a_step(change, led(change)) for change in changes}
    steps["g5"] = a_step(changes[5], replace(led(changes[5]), revision=4))
    steps["g8"] = replace(steps["g8"], events=(StatusEvent(type=EventType.GROUP_LOCKED, privacy_group_id="g9"),))
    outcomes = await asyncio.gather(
        *(store.record(held[group], step) for group, step in steps.items()), return_exceptions=True
    )
    failed = {group: type(outcome) for group, outcome in zip(steps, outcomes, strict=True) if outcome is not None}
    assert {group: issubclass(kind, LeaseLostError) for group, kind in failed.items()} == {
        "g3": True,
        "g5": True,
        "g8": False,
        "g17": True,
    }
    stored = {change.privacy_group_id: change for change in await store.changes(limit=100)}
    for group, step in steps.items():
        assert (stored[group] == step.changes[0]) is (group not in failed)
        events = await outbox.after(0, limit=10, privacy_group_id=group)
        assert [entry.sequence for entry in events] == ([] if group in failed else [1])


async def test_events_of_another_group_are_refused(store: SqlChangeStore, outbox: SqlOutbox) -> None:
    """A lane's step can't announce for another group, whose order is not in its hands."""
    change = a_change("1")
    lane = await held(store, change)
    foreign = StatusEvent(type=EventType.GROUP_LOCKED, privacy_group_id="other")
    with pytest.raises(ConstraintError):
        await store.record(lane, Record(changes=(led(change),), events=(foreign,)))
    assert await outbox.pending(10) == ()
    assert await store.change(change.change_id) == change


async def test_an_operator_can_cancel_what_rests(store: SqlChangeStore) -> None:
    """A queued change is amended, held lane or not; the worker that had read it before gets nothing committed."""
    first, second = a_change("1"), a_change("2")
    lane = await held(store, first, second)
    cancelled = await store.amend(second.change_id, lambda change: a_step(change, stepped(change, State.CANCELLED)))
    assert cancelled == stepped(second, State.CANCELLED) == await store.change(second.change_id)
    with pytest.raises(LeaseLostError, match="change-2 at 0"):
        await store.record(lane, a_step(second, led(second)))
    await store.amend(first.change_id, lambda change: a_step(change, stepped(change, State.CANCELLED)))
    await store.release(lane, now=NOW)
    assert await store.next_due() is None


async def test_an_operator_amends_what_is_worked_on(store: SqlChangeStore) -> None:
    """Who works on it finds it at another revision: its next step is refused, so that it takes the change up anew."""
    change = a_change("1")
    lane = await held(store, change)
    active = led(change)
    await store.record(lane, a_step(change, active))
    amended = await store.amend(change.change_id, lambda found: a_step(found, stepped(found, found.state, failures=1)))
    with pytest.raises(LeaseLostError):
        await store.record(lane, a_step(active, stepped(active, State.LOCKING)))
    assert await store.change(change.change_id) == amended
    assert (await store.load(lane, now=NOW)).active == (amended,)
    assert await store.holds(lane)


async def test_an_operator_retry_makes_the_lane_due(store: SqlChangeStore, clock: JumpingClock) -> None:
    """A parked change that is retried is claimed again."""
    change = a_change("1")
    lane = await held(store, change)
    parked = led(change, State.PARKED)
    await store.record(lane, a_step(change, parked))
    await store.release(lane, now=NOW)
    queued = await store.amend(change.change_id, lambda found: a_step(found, stepped(found, State.QUEUED)))
    (lane,) = await store.claim(holder="two", lease=timedelta(seconds=10), limit=1, now=NOW)
    assert lane.queued == (queued,)


async def test_an_amendment_that_raises_changes_nothing(store: SqlChangeStore, outbox: SqlOutbox) -> None:
    """What the amendment raises reaches the caller; an unknown change is a KeyError."""
    change = a_change("1")
    await store.accept(change, "hash", ())

    def refuse(_: Change) -> Record:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await store.amend(change.change_id, refuse)
    with pytest.raises(KeyError):
        await store.amend("unknown", refuse)
    assert await store.change(change.change_id) == change
    assert await outbox.pending(1) == ()


async def test_a_broken_value_is_a_store_error(store: SqlChangeStore) -> None:
    """What a database can't take is told as the store's own error, whatever the driver raised."""
    with pytest.raises(StoreError):
        await store.accept(a_change("1", lock_block=1 << 80), "hash", ())
    with pytest.raises(StoreError):
        await store.accept(a_change("1", request_id="\ud800"), "hash", ())


async def test_a_name_that_no_column_holds_names_nothing(store: SqlChangeStore, outbox: SqlOutbox) -> None:
    """Asking for a change or group by a text that can't be stored finds nothing."""
    change = a_change("1")
    await store.accept(change, "hash", ())
    for name in ("\x00", "\ud800"):
        assert await store.change(name) is None
        assert await store.changes(ChangeFilter(privacy_group_id=name)) == ()
        assert await store.changes(before=name) == ()
        assert await store.history(name) == ()
        assert await store.attempts(name) == ()
        assert await outbox.after(0, limit=1, privacy_group_id=name, change_id=name) == ()
