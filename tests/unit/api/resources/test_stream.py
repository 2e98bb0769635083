"""Status events as server-sent events."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from structlog.testing import capture_logs

from orchestrator.api.resources import stream
from tests.fakes.http_api import GROUP, GROUP_IN_PATH, FakeEvent, FakeParts

Client = TestClient[Any, Any]
STARTED = "membership.change.started.v1"


def event(number: int) -> FakeEvent:
    return FakeEvent(resume_id=str(number), event_type=STARTED, text=f'{{"id": "{number}"}}')


async def read_event(response: ClientResponse) -> dict[str, str]:
    """Read the next event, as field and value."""
    found: dict[str, str] = {}
    while True:
        line = (await asyncio.wait_for(response.content.readline(), 60)).decode()
        assert line, "the stream ended"
        if not line.strip() and "data" in found:
            break
        name, separator, value = line.strip().partition(": ")
        if separator and name:
            found[name] = value
    return found


async def eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - what is waited for happens on the other side of a socket
            await asyncio.sleep(0.01)


async def test_events_arrive_as_they_happen(client: Client, parts: FakeParts) -> None:
    """A subscriber gets each event with its type and the id to resume from."""
    async with client.get("/v1/events") as response:
        assert response.content_type == "text/event-stream"
        await eventually(lambda: parts.feed.readers == 1)
        parts.feed.publish(event(1))
        assert await read_event(response) == {"retry": "1000", "id": "1", "event": STARTED, "data": '{"id": "1"}'}
        parts.feed.publish(event(2))
        assert (await read_event(response))["id"] == "2"


@pytest.mark.parametrize("by", ["header", "query"])
async def test_a_subscription_resumes(client: Client, parts: FakeParts, by: str) -> None:
    """With the id of the last event, what came after it is sent."""
    parts.feed.events += [event(1), event(2), event(3)]
    headers = {"Last-Event-ID": "1"} if by == "header" else {}
    query = "?last_event_id=1" if by == "query" else ""
    async with client.get(f"/v1/events{query}", headers=headers) as response:
        assert [(await read_event(response))["id"] for _ in range(2)] == ["2", "3"]


async def test_filters_reach_the_feed(client: Client, parts: FakeParts) -> None:
    """Group, change and types are handed to the feed, which sends nothing else."""
    query = {"group": GROUP_IN_PATH, "change": "change-1", "type": STARTED}
    async with client.get("/v1/events", params=query):
        await eventually(lambda: bool(parts.feed.asked))
    assert parts.feed.asked == [
        {"resume_id": None, "privacy_group_id": GROUP, "within": None, "change_id": "change-1", "types": (STARTED,)}
    ]


@pytest.mark.parametrize(
    "query", ["type=unknown", "group=x", "last_event_id=x", f"last_event_id={10**30}", "kind=x", "change=%00"]
)
async def test_a_wrong_filter_is_refused(client: Client, query: str) -> None:
    """A filter that means nothing is refused before the stream begins."""
    assert (await client.get(f"/v1/events?{query}")).status == 422


async def test_a_reader_that_goes_is_forgotten(client: Client, parts: FakeParts) -> None:
    """When a subscriber disconnects its subscription ends."""
    async with client.get("/v1/events"):
        await eventually(lambda: parts.feed.readers == 1)

    def gone() -> bool:
        parts.feed.publish(event(len(parts.feed.events) + 1))
        return parts.feed.readers == 0

    await eventually(gone)


async def test_a_feed_that_ends_says_why(client: Client, parts: FakeParts) -> None:
    """When the feed gives a subscriber up, the last event says why and the stream ends."""
    parts.feed.closed = "events before 7 are deleted; read again without Last-Event-ID"
    async with client.get("/v1/events", headers={"Last-Event-ID": "1"}) as response:
        last = await read_event(response)
        assert last["event"] == "closed"
        assert "before 7" in last["data"]
        assert await asyncio.wait_for(response.content.read(), 60) == b""
        assert "id" not in last


async def test_an_id_that_is_none_any_more_is_given_up(client: Client, parts: FakeParts) -> None:
    """A reader comes back with the last id that it saw: it is given another one, or it would come back for ever."""
    parts.feed.closed = "there is no event 900 yet: it is from another store"
    parts.feed.resume_from = "0"
    async with client.get("/v1/events", headers={"Last-Event-ID": "900"}) as response:
        assert (await read_event(response))["id"] == "0"


async def test_a_feed_that_ends_after_its_reader_is_no_defect(client: Client, parts: FakeParts) -> None:
    """When the feed ends for a subscriber that has gone meanwhile, nothing is logged as failed."""
    with capture_logs() as logged:
        async with client.get("/v1/events") as response:
            await eventually(lambda: parts.feed.readers == 1)
            assert response.connection is not None
            assert response.connection.transport is not None
            response.connection.transport.abort()
        await asyncio.sleep(0.05)  # the daemon's side of the connection notices
        parts.feed.closed = "the daemon stops"
        parts.feed.news.set()
        await eventually(lambda: parts.feed.readers == 0)
        await asyncio.sleep(0.05)
    assert logged == []


async def test_subscribers_are_let_go_when_the_daemon_stops(
    client: Client, server: TestServer, parts: FakeParts
) -> None:
    """Shutdown ends every stream at once instead of waiting for the subscribers."""
    async with client.get("/v1/events") as response:
        await eventually(lambda: parts.feed.readers == 1)
        async with asyncio.timeout(60):
            await server.app.shutdown()
            await response.content.read()
    await eventually(lambda: parts.feed.readers == 0)


async def test_subscribers_are_counted(client: Client, parts: FakeParts, monkeypatch: pytest.MonkeyPatch) -> None:
    """More subscribers than the daemon serves get 503."""
    monkeypatch.setattr(stream, "MAX_STREAMS", 1)
    async with client.get("/v1/events"):
        await eventually(lambda: parts.feed.readers == 1)
        assert (await client.get("/v1/events")).status == 503
