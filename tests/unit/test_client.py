"""The client of the daemon's HTTP API."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from orchestrator.client import (
    DaemonClient,
    DaemonError,
    DaemonUnreachableError,
    RefusedError,
    UsageError,
    connect,
    following,
)
from tests.fakes.http_api import make_change
from tests.patience import patient


class Scripted:
    """A server that answers as a test says."""

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.streams: list[bytes] = []
        self.asked: list[tuple[str, str, str | None]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.method, request.path_qs, request.headers.get("Last-Event-ID")))
        if request.path == "/v1/events":
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            if self.streams:
                await response.write(self.streams.pop(0))
                return response
            await asyncio.sleep(60)
        return self.answers.pop(0)


@pytest.fixture
async def scripted() -> Scripted:
    """The server's script."""
    return Scripted()


@pytest.fixture
async def client(scripted: Scripted) -> AsyncIterator[DaemonClient]:
    """A client of the scripted server."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", scripted.answer)
    async with TestServer(app) as server, connect(str(server.make_url("/"))) as connected:
        yield connected


def stream(*events: tuple[str, str]) -> bytes:
    return b"retry: 1000\r\n\r\n: ping\r\n\r\n" + b"".join(
        f"id: {number}\r\nevent: {kind}\r\ndata: {json.dumps({'number': number})}\r\n\r\n".encode()
        for number, kind in events
    )


async def test_events_are_parsed(client: DaemonClient, scripted: Scripted) -> None:
    """Events come with id, type and document; pings and the retry hint are passed over."""
    scripted.streams.append(stream(("1", "a"), ("2", "b")))
    found = [event async for event in client.events(resume_id="0", change_id="change-1", types=("a", "b"))]
    assert [(event.resume_id, event.event_type, event.document) for event in found] == [
        ("1", "a", {"number": "1"}),
        ("2", "b", {"number": "2"}),
    ]
    assert scripted.asked == [("GET", "/v1/events?type=a&type=b&change=change-1", "0")]


async def test_following_resumes_behind_the_last_event(client: DaemonClient, scripted: Scripted) -> None:
    """A stream that ends is opened again behind the last event, and each piece of news wakes the follower."""
    scripted.streams += [stream(("1", "a"), ("2", "a")), stream(("3", "a"))]
    async with asyncio.timeout(patient(10)), following(client, "change-1", pause_seconds=0.05) as news:
        while len(scripted.asked) < 3:
            await news()
    assert [resumed for _, _, resumed in scripted.asked] == ["0", "2", "3"]


async def test_a_newer_daemon_is_understood(client: DaemonClient, scripted: Scripted) -> None:
    """Fields that this program does not know are passed over."""
    from orchestrator.api.documents.changes import change_document  # noqa: PLC0415 - the one place that needs it

    document = json.loads(change_document(make_change()).model_dump_json()) | {"novelty": 1}
    scripted.answers.append(web.json_response(document))
    assert (await client.amend("change-1", "retry")).change_id == "change-1"


@pytest.mark.parametrize("body", ["[]", "not JSON", '{"change_id": 1}'])
async def test_another_server_is_told(client: DaemonClient, scripted: Scripted, body: str) -> None:
    """An answer that is no document of the daemon is an error that asks whether this is the daemon."""
    scripted.answers.append(web.Response(text=body))
    with pytest.raises(DaemonError, match="is it of another version"):
        await client.amend("change-1", "retry")


@pytest.mark.parametrize("body", ["[]", "<html>", "{}", '{"detail": "what happened"}'])
async def test_a_refusal_is_told_in_its_words(client: DaemonClient, scripted: Scripted, body: str) -> None:
    """A problem document's detail is the error's message; an answer that is none gives the status."""
    scripted.answers.append(web.Response(text=body, status=409))
    with pytest.raises(RefusedError, match=r"what happened|HTTP 409") as caught:
        await client.amend("change-1", "retry")
    assert caught.value.status == 409


async def test_an_address_that_is_none_is_told() -> None:
    """A missing or foreign scheme is a mistake of the address, and not a daemon that is away."""
    for address in ("127.0.0.1:8080", "localhost:8080", "ftp://127.0.0.1"):
        async with connect(address) as client:
            with pytest.raises(UsageError, match="write it like http"):
                await client.names()


async def test_nobody_there_is_told() -> None:
    """A refused connection, for calls and streams, is an error that says how to start a daemon."""
    async with connect("http://127.0.0.1:1") as client:
        with pytest.raises(DaemonUnreachableError, match="orchestrator run"):
            await client.groups()
        with pytest.raises(DaemonUnreachableError, match="orchestrator run"):
            await anext(aiter(client.events()))
