"""The feed, on a real outbox."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from orchestrator.engine.ports.queues import FeedClosedError
from orchestrator.events.feed import EventFeed, FeedItem
from orchestrator.events.ports import StoredEvent
from orchestrator.membership.news.status import EventType
from tests.fakes.clock import FastClock
from tests.patience import patient

if TYPE_CHECKING:
    from tests.unit.events.conftest import Source


@pytest.fixture
async def feed(source: "Source", clock: FastClock) -> AsyncIterator[EventFeed]:
    async with following(EventFeed(source.outbox, clock)) as running:
        yield running


@asynccontextmanager
async def following(feed: EventFeed) -> AsyncIterator[EventFeed]:
    task = asyncio.create_task(feed.run())
    try:
        yield feed
    finally:
        task.cancel()
        await asyncio.wait({task})


async def take(events: AsyncIterator[FeedItem], count: int) -> list[FeedItem]:
    async with asyncio.timeout(patient(10)):
        return [await anext(events) for _ in range(count)]


async def take_all_into(got: list[FeedItem], events: AsyncIterator[FeedItem]) -> None:
    async with asyncio.timeout(patient(10)):
        async for item in events:
            got += [item]  # one by one: what came before the end counts


def numbers(items: list[FeedItem]) -> list[int]:
    return [json.loads(item.text)["data"]["number"] for item in items]


async def until_subscribed(feed: EventFeed, count: int) -> None:
    async with asyncio.timeout(patient(10)):
        while feed.subscribers < count:  # noqa: ASYNC110 - nothing tells of subscribers
            await asyncio.sleep(0)


async def test_a_feed_that_waits_reads_no_page(
    source: "Source", clock: FastClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing is committed each look is at the newest position alone."""
    pages: list[int] = []
    looks: asyncio.Queue[int] = asyncio.Queue()

    async def after(position: int, *, limit: int) -> tuple[StoredEvent, ...]:
        pages.append(position)
        return ()

    async def wait(position: int, seconds: float) -> None:
        looks.put_nowait(position)
        await asyncio.sleep(0)

    # What the feed asks of its outbox is seen nowhere else.
    monkeypatch.setattr(source.outbox, "after", after)
    monkeypatch.setattr(source.outbox, "wait_for_events", wait)
    async with following(EventFeed(source.outbox, clock)), asyncio.timeout(patient(10)):
        for _ in range(3):
            await looks.get()
    assert not pages


async def test_new_events_arrive_as_they_are_committed(source: "Source", feed: EventFeed) -> None:
    """Who subscribes without an id gets what is committed from then on, as one-line documents."""
    earlier = feed.subscribe(resume_id=None)
    taking = asyncio.create_task(take(earlier, 3))
    await until_subscribed(feed, 1)
    await source.commit(3)
    assert numbers(await taking) == [1, 2, 3]  # these are given out
    waiting = asyncio.create_task(take(feed.subscribe(resume_id=None), 2))
    await until_subscribed(feed, 2)
    await source.commit(2)
    items = await waiting
    assert numbers(items) == [4, 5]
    assert items[0].event_type == EventType.CHANGE_PROGRESSED
    assert "\n" not in items[0].text


async def test_a_subscriber_resumes_where_it_was(source: "Source", feed: EventFeed) -> None:
    """From 0 everything comes, from an event's id what is behind it, then the new ones, without gap or repeat."""
    await source.commit(600)
    events = feed.subscribe(resume_id="0")
    first = await take(events, 300)
    resumed = feed.subscribe(resume_id=first[-1].resume_id)
    rest = asyncio.create_task(take(resumed, 310))
    await source.commit(10)
    assert numbers(first) + numbers(await rest) == list(range(1, 611))


async def test_events_committed_while_catching_up_come_once(source: "Source", feed: EventFeed) -> None:
    """While a subscriber reads old events new ones are committed all the time; it sees each exactly once, in order."""

    async def commit_on() -> None:
        for _ in range(60):
            await source.commit(5)

    await source.commit(300)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(commit_on())
        readers = [tasks.create_task(take(feed.subscribe(resume_id="0"), 600)) for _ in range(3)]
    for reader in readers:
        assert numbers(reader.result()) == list(range(1, 601))


async def test_filters_let_through_what_is_asked_for(source: "Source", feed: EventFeed) -> None:
    """Group, change and type each narrow the events, old and new ones."""

    async def commit_some() -> None:
        await source.commit(group="a", change="x", kind=EventType.CHANGE_STARTED)
        await source.commit(group="a", change="y", kind=EventType.CHANGE_STARTED)
        await source.commit(group="b", change="z", kind=EventType.CHANGE_SUCCEEDED)

    await commit_some()
    of_group = feed.subscribe(resume_id="0", privacy_group_id="a")
    of_change = feed.subscribe(resume_id="0", change_id="y")
    of_type = feed.subscribe(resume_id="0", types=[EventType.CHANGE_SUCCEEDED, EventType.CHANGE_FAILED])
    readers = [
        asyncio.create_task(take(events, count)) for events, count in ((of_group, 4), (of_change, 2), (of_type, 2))
    ]
    await until_subscribed(feed, 3)
    await commit_some()
    assert [numbers(await reader) for reader in readers] == [[1, 2, 4, 5], [2, 5], [3, 6]]


async def test_a_slow_subscriber_is_ended_and_resumes_without_a_gap(source: "Source", clock: FastClock) -> None:
    """One that does not read gets what was buffered, then the end; others are not held up; resuming loses nothing."""
    async with following(EventFeed(source.outbox, clock, buffer=50)) as feed:
        slow = feed.subscribe(resume_id="0")
        quick = feed.subscribe(resume_id="0")
        firsts = [asyncio.create_task(take(events, 1)) for events in (slow, quick)]
        await until_subscribed(feed, 2)
        await source.commit(1)
        got, heard = [await first for first in firsts]
        for _ in range(12):
            await source.commit(10)
            heard += await take(quick, 10)
        assert numbers(heard) == list(range(1, 122))
        with pytest.raises(FeedClosedError, match="more than 50 events behind"):
            await take_all_into(got, slow)
        assert len(got) < 121
        got += await take(feed.subscribe(resume_id=got[-1].resume_id), 121 - len(got))
        assert numbers(got) == list(range(1, 122))


async def test_ids_that_lost_events_are_refused(source: "Source", feed: EventFeed, clock: FastClock) -> None:
    """Who resumes before deleted events, or behind the newest, is told so instead of missing something silently."""
    await source.commit(10)
    stored = await source.outbox.after(0, limit=10)
    await source.outbox.mark_published([entry.position for entry in stored], at=clock.now())
    later = clock.now() + timedelta(seconds=1)
    await source.outbox.delete_published(before=later, now=later, after=0, through_position=stored[5].position)
    with pytest.raises(FeedClosedError, match="deleted already"):
        await take(feed.subscribe(resume_id=str(stored[2].position)), 1)
    with pytest.raises(FeedClosedError, match="no event 999999 yet") as closed:
        await take(feed.subscribe(resume_id="999999"), 1)
    assert closed.value.resume_id == "0", "who comes back with the same id would be closed for ever"
    assert numbers(await take(feed.subscribe(resume_id=str(stored[5].position)), 4)) == [7, 8, 9, 10]
    assert numbers(await take(feed.subscribe(resume_id="0"), 4)) == [7, 8, 9, 10]


@pytest.mark.parametrize("bad", ["", "x", "-1", "1.0", "٣", "9" * 19])
async def test_what_is_no_id_is_refused(feed: EventFeed, bad: str) -> None:
    """An id is the decimal number that came with an event."""
    with pytest.raises(ValueError, match="is no id of an event"):
        await take(feed.subscribe(resume_id=bad), 1)


async def test_when_the_daemon_stops_subscriptions_end(source: "Source", clock: FastClock) -> None:
    """Subscribers are told to resume later, those that subscribe too late as well."""
    feed = EventFeed(source.outbox, clock)
    async with following(feed):
        waiting = asyncio.create_task(take(feed.subscribe(resume_id=None), 1))
        await until_subscribed(feed, 1)
    with pytest.raises(FeedClosedError, match="daemon stops"):
        await waiting
    with pytest.raises(FeedClosedError, match="daemon stops"):
        await take(feed.subscribe(resume_id=None), 1)


async def test_nothing_is_kept_for_those_who_left(source: "Source", feed: EventFeed) -> None:
    """A subscriber that goes is forgotten."""
    events = feed.subscribe(resume_id=None)
    waiting = asyncio.create_task(take(events, 1))
    await until_subscribed(feed, 1)
    waiting.cancel()
    await asyncio.wait({waiting})
    assert feed.subscribers == 0
