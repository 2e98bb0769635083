"""Accepting requests, on both databases."""

import asyncio

import pytest

from orchestrator.engine.ports.records import ChangeFilter
from orchestrator.membership.errors import ConflictingRequestError
from orchestrator.membership.model import State
from orchestrator.membership.news.status import EventType, StatusEvent, announce
from orchestrator.store import Database, SqlChangeStore, SqlOutbox
from tests.fakes.changes import a_change
from tests.fakes.clock import START, JumpingClock

STATES = (State.SUCCEEDED, State.FAILED, State.QUEUED, State.PARKED, State.SUCCEEDED, State.PREFLIGHT, State.SUCCEEDED)


async def test_a_new_request_becomes_a_change(store: SqlChangeStore) -> None:
    """What was accepted is read back as it was given."""
    change = a_change("1", members=("k1", "k2"), account="0xab")
    acceptance = await store.accept(change, "hash", announce(None, change))
    assert (acceptance.change, acceptance.duplicate) == (change, False)
    assert await store.change(change.change_id) == change


async def test_the_same_request_again_is_the_same_change(store: SqlChangeStore, outbox: SqlOutbox) -> None:
    """A request that comes again with the same body gets the change it made before and announces nothing."""
    first = a_change("1")
    await store.accept(first, "hash", announce(None, first))
    again = a_change("2", request_id=first.request_id)
    acceptance = await store.accept(again, "hash", announce(None, again))
    assert (acceptance.change, acceptance.duplicate) == (first, True)
    assert await store.change(again.change_id) is None
    assert len(await outbox.pending(10)) == 1


async def test_a_request_id_with_another_body_is_refused(store: SqlChangeStore, outbox: SqlOutbox) -> None:
    """A known request id with another body changes nothing and says what to do."""
    first = a_change("1")
    await store.accept(first, "hash", announce(None, first))
    with pytest.raises(ConflictingRequestError, match=r"request-1.*change-1; use a new id"):
        await store.accept(a_change("2", request_id="request-1"), "other", ())
    assert await store.changes() == (first,)
    assert len(await outbox.pending(10)) == 1


async def test_a_refused_request_takes_no_other_with_it(store: SqlChangeStore) -> None:
    """Requests that wait together are committed together; those that are refused are so alone."""
    await store.accept(a_change("x"), "hash", ())
    changes = [a_change(str(number), f"g{number % 7}") for number in range(60)]
    bad = [a_change(f"bad-{number}", request_id="request-x") for number in range(3)]
    mixed = [*changes[:20], bad[0], *changes[20:40], bad[1], bad[2], *changes[40:]]
    outcomes = await asyncio.gather(
        *(store.accept(change, "other", announce(None, change)) for change in mixed), return_exceptions=True
    )
    refused = {
        change.change_id for change, outcome in zip(mixed, outcomes, strict=True) if isinstance(outcome, Exception)
    }
    assert refused == {change.change_id for change in bad}
    assert {change.change_id for change in await store.changes(limit=200)} == {
        "change-x",
        *(change.change_id for change in changes),
    }


async def test_one_request_many_times_at_once_is_one_change(store_url: str, clock: JumpingClock) -> None:
    """Two replicas that get the same request at the same time accept it once."""
    async with Database(store_url) as one, Database(store_url) as other:
        stores = [SqlChangeStore(one, clock), SqlChangeStore(other, clock)]
        changes = [a_change(f"{number}", request_id="same") for number in range(40)]
        found = await asyncio.gather(
            *(stores[number % 2].accept(change, "hash", ()) for number, change in enumerate(changes))
        )
        assert len({acceptance.change.change_id for acceptance in found}) == 1
        assert sum(not acceptance.duplicate for acceptance in found) == 1


async def test_events_are_numbered_within_their_group(store: SqlChangeStore, outbox: SqlOutbox) -> None:
    """Each group's events are numbered from 1 without a gap, in the order of their acceptance."""
    changes = [a_change(str(number), f"g{number % 3}") for number in range(30)]
    await asyncio.gather(*(store.accept(change, "hash", announce(None, change)) for change in changes))
    for group in ("g0", "g1", "g2"):
        events = await outbox.after(0, limit=100, privacy_group_id=group)
        assert [event.sequence for event in events] == list(range(1, 11))
        assert [event.event.change_id for event in events] == [
            change.change_id for change in changes if change.privacy_group_id == group
        ]


async def test_a_rejection_is_announced_without_a_change(
    store: SqlChangeStore, outbox: SqlOutbox, clock: JumpingClock
) -> None:
    """Rejected requests are announced in order, under the empty group when they name none, and make nothing due."""
    rejected = [
        StatusEvent(type=EventType.REQUEST_REJECTED, privacy_group_id="", request_id="r1", data={"field": "kind"}),
        StatusEvent(type=EventType.REQUEST_REJECTED, privacy_group_id="g", request_id="r2"),
        StatusEvent(type=EventType.REQUEST_REJECTED, privacy_group_id="", request_id="r3\x00\ud800"),
    ]
    await store.announce(rejected)
    stored = await outbox.pending(10)
    assert [(event.event.privacy_group_id, event.sequence, event.event.request_id) for event in stored] == [
        ("", 1, "r1"),
        ("", 2, "r3\N{REPLACEMENT CHARACTER}?"),
        ("g", 1, "r2"),
    ]
    assert stored[0].event == rejected[0]
    assert stored[0].at == START
    assert await store.next_due() is None


async def test_listing_is_newest_first_and_goes_on(store: SqlChangeStore) -> None:
    """Changes are listed newest first, by group and state, page by page."""
    changes = [a_change(str(number), f"g{number % 2}") for number in range(10)]
    for change in changes:
        await store.accept(change, "hash", ())
    newest = list(reversed(changes))
    assert list(await store.changes(limit=4)) == newest[:4]
    assert list(await store.changes(limit=4, before=newest[3].change_id)) == newest[4:8]
    assert list(await store.changes(ChangeFilter(privacy_group_id="g1"))) == [
        c for c in newest if c.privacy_group_id == "g1"
    ]
    assert list(await store.changes(ChangeFilter(states=(changes[0].state,)))) == newest
    assert await store.changes(before="unknown") == ()


async def test_groups_are_those_that_a_change_succeeded_in(store: SqlChangeStore) -> None:
    """A group is listed once a change of it has succeeded, and changes are found by group and state."""
    found = [a_change(str(number), f"g{number % 3}", state=state) for number, state in enumerate(STATES)]
    for change in found:
        await store.accept(change, "hash", ())
    succeeded = {change.privacy_group_id for change in found if change.state is State.SUCCEEDED}
    assert await store.groups() == tuple(sorted(succeeded))
    for change in found:
        assert change in await store.changes(
            ChangeFilter(privacy_group_id=change.privacy_group_id, states=(change.state,))
        )
        assert change in await store.changes(ChangeFilter(states=(change.state,)))
    ended = await store.changes(ChangeFilter(states=(State.SUCCEEDED, State.FAILED)))
    assert ended == tuple(change for change in reversed(found) if change.state in (State.SUCCEEDED, State.FAILED))
