"""Claiming, renewing and giving back lanes, on both databases."""

import asyncio
from datetime import timedelta

import pytest

from orchestrator.engine.ports.store import Lane, LeaseLostError, Record
from orchestrator.membership.model import State
from orchestrator.store import Database, SqlChangeStore
from tests.fakes.changes import a_change, a_step, led, stepped
from tests.fakes.clock import START, JumpingClock

LEASE = timedelta(seconds=10)


def after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


async def claim(store: SqlChangeStore, seconds: float, *, holder: str = "one", limit: int = 10) -> tuple[Lane, ...]:
    return await store.claim(holder=holder, lease=LEASE, limit=limit, now=START + after(seconds))


async def test_lanes_are_claimed_longest_due_first(store: SqlChangeStore) -> None:
    """The lanes that are due longest come first, each with its queue in the order of acceptance; each only once."""
    for name, group, at in (("1", "g3", 3), ("2", "g1", 1), ("3", "g2", 2), ("4", "g1", 4), ("5", "g4", 50)):
        await store.accept(a_change(name, group, at=at), "hash", ())
    lanes = await claim(store, 10, limit=2)
    assert [(lane.privacy_group_id, [change.change_id for change in lane.queued]) for lane in lanes] == [
        ("g1", ["change-2", "change-4"]),
        ("g2", ["change-3"]),
    ]
    assert [lane.privacy_group_id for lane in await claim(store, 10, holder="two")] == ["g3"]
    assert await claim(store, 10) == ()


async def test_a_lane_can_be_taken_over_when_its_lease_is_over(store: SqlChangeStore) -> None:
    """Until the lease is over nobody else gets the lane; then it is claimed with a higher token."""
    await store.accept(a_change("1"), "hash", ())
    (lane,) = await claim(store, 1)
    assert await claim(store, 10.9, holder="two") == ()
    assert await store.next_due() == START + after(11)
    assert await store.holds(lane)
    (taken,) = await claim(store, 11, holder="two")
    assert taken.token > lane.token
    assert (await store.holds(lane), await store.holds(taken)) == (False, True)


async def test_a_lost_lane_can_not_be_written(store: SqlChangeStore) -> None:
    """Whoever lost a lane commits nothing more, whether the new holder works on it or gave it back."""
    change = a_change("1")
    await store.accept(change, "hash", ())
    (lost,) = await claim(store, 1)
    (lane,) = await claim(store, 20, holder="two")
    step = a_step(change, led(change))
    with pytest.raises(LeaseLostError, match="stop working on it"):
        await store.record(lost, step)
    await store.release(lost, now=START + after(20))
    await store.record(lane, step)
    await store.release(lane, now=START + after(21))
    with pytest.raises(LeaseLostError):
        await store.record(lane, a_step(led(change), stepped(led(change), State.LOCKING)))
    assert await store.change(change.change_id) == led(change)


async def test_renewing_prolongs_what_is_still_held(store: SqlChangeStore) -> None:
    """A holder's leases are prolonged, those named or all; what was taken over is not among them."""
    for group in ("g1", "g2", "g3"):
        await store.accept(a_change(group, group), "hash", ())
    await claim(store, 1)
    now = START + after(8)
    assert await store.renew(holder="one", lease=LEASE, now=now, groups=["g1", "other"]) == {"g1"}
    assert {lane.privacy_group_id for lane in await claim(store, 12, holder="two")} == {"g2", "g3"}
    assert await store.renew(holder="one", lease=LEASE, now=START + after(13)) == {"g1"}
    assert await store.renew(holder="nobody", lease=LEASE, now=now) == frozenset()
    assert await claim(store, 22.9, holder="two") != ()  # g2 and g3 ran out; g1 did not
    assert [lane.privacy_group_id for lane in await claim(store, 23, holder="three")] == ["g1"]


async def test_a_restarted_holder_gets_its_lanes_back_at_once(store: SqlChangeStore) -> None:
    """What a holder's earlier life held is claimable as soon as it is forgotten, and that life writes nothing more."""
    change = a_change("1")
    await store.accept(change, "hash", ())
    await store.accept(a_change("2", "other"), "hash", ())
    (lane, _) = await claim(store, 1)
    await store.record(lane, a_step(change, led(change)))
    assert await store.forget(name="one") == {"g", "other"}
    assert await store.forget(name="one") == frozenset()
    with pytest.raises(LeaseLostError):
        await store.record(lane, Record(changes=()))
    again = {lane.privacy_group_id: lane for lane in await claim(store, 1.5)}
    assert again["g"].active == (led(change),)
    assert again["g"].token == lane.token + 1


async def test_a_lane_is_due_as_its_changes_are(store: SqlChangeStore) -> None:
    """Given back, a lane is due at once with unfinished work, later with a back-off, never with nothing to do."""
    change = a_change("1")
    await store.accept(change, "hash", ())
    assert await store.next_due() == START

    (lane,) = await claim(store, 1)
    active = led(change)
    await store.record(lane, a_step(change, active))
    await store.release(lane, now=START + after(2))
    assert await store.next_due() == START + after(2)

    (lane,) = await claim(store, 3)
    waiting = stepped(active, State.QUEUED, not_before=START + after(60))
    await store.record(lane, a_step(active, waiting))
    assert (await store.load(lane, now=START + after(3))).queued == ()
    await store.release(lane, now=START + after(4))
    assert await store.next_due() == START + after(60)
    assert await claim(store, 59) == ()

    (lane,) = await claim(store, 60)
    assert lane.queued == (waiting,)
    parked = led(waiting, State.PARKED)
    await store.record(lane, a_step(waiting, parked))
    await store.release(lane, now=START + after(61))
    assert await store.next_due() is None
    assert await claim(store, 10_000) == ()


async def test_a_long_queue_does_not_keep_others_waiting(store: SqlChangeStore) -> None:
    """A group that was just worked on goes behind those that wait, however old its next change is."""
    for name in ("1", "2"):
        await store.accept(a_change(name, "busy", at=0), "hash", ())
    await store.accept(a_change("3", "other", at=5), "hash", ())
    (lane,) = await claim(store, 6, limit=1)
    assert lane.privacy_group_id == "busy"
    await store.release(lane, now=START + after(7))
    assert [lane.privacy_group_id for lane in await claim(store, 8)] == ["other", "busy"]


async def test_load_shows_what_was_queued_meanwhile(store: SqlChangeStore) -> None:
    """A held lane's changes as they are now: the lead first, then its followers, and the new ones in the queue."""
    first, second = a_change("1"), a_change("2")
    for change in (first, second):
        await store.accept(change, "hash", ())
    (lane,) = await claim(store, 1)
    follower, lead = stepped(first, State.PREFLIGHT, lead_id=second.change_id), led(second)
    await store.record(lane, Record(changes=(follower, lead)))
    late = a_change("3")
    await store.accept(late, "hash", ())
    loaded = await store.load(lane, now=START + after(1))
    assert (loaded.active, loaded.queued, loaded.token) == ((lead, follower), (late,), lane.token)


async def test_two_holders_never_have_the_same_lane(store_url: str, clock: JumpingClock) -> None:
    """Replicas that claim at the same time share the lanes out among them, none twice, none left."""
    async with Database(store_url) as one, Database(store_url) as other:
        stores = [SqlChangeStore(one, clock), SqlChangeStore(other, clock)]
        for number in range(60):
            await stores[0].accept(a_change(str(number), f"g{number}"), "hash", ())
        found: list[str] = []

        async def work(number: int) -> None:
            while lanes := await claim(stores[number % 2], 1, holder=f"holder-{number}", limit=5):
                found.extend(lane.privacy_group_id for lane in lanes)

        await asyncio.gather(*(work(number) for number in range(4)))
        assert sorted(found) == sorted(f"g{number}" for number in range(60))


async def test_a_clock_that_was_hours_ahead_holds_nothing_up(store: SqlChangeStore) -> None:
    """What was put off to a time that no pause reaches is due at once: the clock was set back since it was written."""
    await store.accept(a_change("1", "g1", at=3 * 3600), "hash", ())
    await store.accept(a_change("2", "g2", at=600), "hash", ())
    (lane,) = await claim(store, 1)
    assert [change.change_id for change in lane.queued] == ["change-1"]
