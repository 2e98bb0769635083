"""A change with all that is told of it, and how its states are told apart, on both databases."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from orchestrator.engine.archives.whole_changes import ChangeVersion
from orchestrator.engine.ports.records import AdditionTime, ChangeFilter
from orchestrator.membership.attempt import AttemptStatus
from orchestrator.membership.forecast.durations import Quantity
from orchestrator.membership.model import Change, State
from orchestrator.store import Database, SqlChangeStore
from orchestrator.store.stores.time_store import SqlAdditionTimes
from tests.contract.store.test_recording import NOW, held
from tests.fakes.changes import a_change, a_step, an_attempt, led, stepped
from tests.fakes.clock import START


async def marked(store: SqlChangeStore, change_id: str) -> str:
    version = await store.version(change_id)
    whole = await store.whole(change_id)
    assert version is not None
    assert whole is not None
    assert whole.version == version
    return version.mark


def begun(lead: Change) -> AdditionTime:
    """How long the lock of a change takes, not known yet."""
    return AdditionTime(
        change_id=lead.change_id,
        quantity=Quantity.LOCK,
        enclave_key="",
        node="member1",
        besu_version="23.10.3",
        transactions=1,
        at=START,
    )


async def test_a_change_comes_with_all_that_belongs_to_it(database: Database, store: SqlChangeStore) -> None:
    """One read brings what the reads of its parts bring; a follower's attempts and times are its lead's."""
    times = SqlAdditionTimes(database)
    lead, follower = a_change("1"), a_change("2")
    lane = await held(store, lead, follower)
    leading = led(lead, attempt=an_attempt("1"))
    following = stepped(follower, State.PREFLIGHT, lead_id=lead.change_id)
    await store.record(lane, a_step(lead, leading, an_attempt("1"), at=NOW))
    await store.record(lane, a_step(follower, following, at=NOW))
    took = begun(lead)
    await times.keep([took])
    for change in (leading, following):
        whole = await store.whole(change.change_id)
        assert whole is not None
        assert whole.change == await store.change(change.change_id)
        assert whole.history == await store.history(change.change_id)
        assert whole.attempts == await store.attempts(change.change_id) == (an_attempt("1"),)
        assert whole.times == (took,)
        assert whole.version == await store.version(change.change_id)


async def test_every_state_has_a_mark_of_its_own(database: Database, store: SqlChangeStore) -> None:
    """A step of the change, of its lead, and a time that is kept or finished each make another version."""
    times = SqlAdditionTimes(database)
    lead, follower = a_change("1"), a_change("2")
    lane = await held(store, lead, follower)
    first = led(lead, attempt=an_attempt("1"))
    following = stepped(follower, State.PREFLIGHT, lead_id=lead.change_id)
    seen = [await marked(store, follower.change_id)]
    await store.record(lane, a_step(follower, following, at=NOW))
    seen.append(await marked(store, follower.change_id))
    await store.record(lane, a_step(lead, first, an_attempt("1"), at=NOW))
    seen.append(await marked(store, follower.change_id))
    sent = replace(an_attempt("1"), status=AttemptStatus.SENT, sent_block=9)
    await store.record(lane, a_step(first, stepped(first, State.LOCKING, attempt=sent), sent, at=NOW))
    seen.append(await marked(store, follower.change_id))
    took = begun(lead)
    await times.keep([took])
    seen.append(await marked(store, follower.change_id))
    await times.keep([replace(took, taken_seconds=1.0)])
    seen.append(await marked(store, follower.change_id))
    await times.keep([replace(took, taken_seconds=2.0, at=START + timedelta(seconds=1))])
    seen.append(await marked(store, follower.change_id))
    assert len(set(seen)) == len(seen)


async def test_who_asks_at_the_same_time_shares_a_read(store: SqlChangeStore) -> None:
    """Many askers get each the version of their own change, and nothing for one that there is not; one may go away."""
    changes = [a_change(str(number)) for number in range(5)]
    for change in changes:
        await store.accept(change, "hash", ())
    gone = asyncio.ensure_future(store.version(changes[0].change_id))
    asked = [asyncio.ensure_future(store.version(change.change_id)) for change in changes for _ in range(3)]
    missing = asyncio.ensure_future(store.version("un\x00known"))
    await asyncio.sleep(0)
    gone.cancel()
    found = await asyncio.gather(*asked)
    assert await missing is None
    assert await store.whole("un\x00known") is None
    assert [version.privacy_group_id for version in found if isinstance(version, ChangeVersion)] == [
        change.privacy_group_id for change in changes for _ in range(3)
    ]


async def test_changes_are_found_by_their_request(store: SqlChangeStore) -> None:
    """All changes of a request's id are found, whoever asked, and only within the groups that are looked at."""
    for number, source in (("1", "/a"), ("2", "/b"), ("3", "/a")):
        name = "other" if number == "3" else "order 7"
        await store.accept(replace(a_change(number), request_id=name), "hash", (), source=source)
    one, other = a_change("1"), a_change("2")
    assert [change.change_id for change in await store.changes(ChangeFilter(request_id="order 7"))] == [
        other.change_id,
        one.change_id,
    ]
    assert await store.count(ChangeFilter(request_id="order 7")) == 2
    assert await store.changes(ChangeFilter(request_id="order")) == ()
    assert await store.changes(ChangeFilter(request_id="order 7", within=("elsewhere",))) == ()
