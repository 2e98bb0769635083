"""Webhooks, posted to a real HTTP server on loopback."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from orchestrator.events.ports import Checkpoint
from orchestrator.events.webhooks.delivery import LONGEST_RETRY_AFTER_SECONDS, Endpoint, retry_after_seconds
from orchestrator.events.webhooks.poster import Persistence, Webhooks
from orchestrator.events.webhooks.signatures import SIGNATURE_HEADER, signature, standard_key
from orchestrator.membership.news.status import EventType
from tests.fakes.clock import START, FastClock
from tests.patience import patient
from tests.servers.local_application import served

if TYPE_CHECKING:
    from tests.unit.events.conftest import Source

SECRET = b"shared"
QUICK = Persistence(
    timeout_seconds=30.0,
    first_pause_seconds=1.0,
    longest_pause_seconds=8.0,
    failures_before_pause=4,
    paused_seconds=60.0,
)


class Receiver:
    """An HTTP server that takes events, or answers something else when it is told to."""

    def __init__(self) -> None:
        self.url = ""
        self.statuses: list[int] = []
        self.always: int | None = None
        self.hangs = False
        self.tried: list[int] = []
        self.taken: list[int] = []
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.retry_after: str | None = None
        self.permission: dict[str, str] | None = None
        self.asked: list[str | None] = []
        self.moved = asyncio.Condition()

    async def permit(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers.get("WebHook-Request-Origin"))
        if self.permission is None:
            return web.Response(status=405)
        return web.Response(headers=self.permission)

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        number = json.loads(body)["data"].get("number", 0)
        status = self.always or (self.statuses.pop(0) if self.statuses else 204)
        async with self.moved:
            self.requests.append((dict(request.headers), body))
            self.tried.append(number)
            if status < 300 and not self.hangs:
                self.taken.append(number)
            self.moved.notify_all()
        if self.hangs:
            await asyncio.sleep(60)
        headers = {"Location": self.url} if 300 <= status < 400 else {}
        if self.retry_after is not None:
            headers["Retry-After"] = self.retry_after
        return web.Response(status=status, headers=headers)

    async def until_taken(self, numbers: list[int]) -> None:
        async with asyncio.timeout(patient(15)), self.moved:
            await self.moved.wait_for(lambda: len(self.taken) >= len(numbers))
        assert self.taken == numbers

    async def until_tried(self, count: int) -> None:
        async with asyncio.timeout(patient(15)), self.moved:
            await self.moved.wait_for(lambda: len(self.tried) >= count)


@asynccontextmanager
async def serving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    app.router.add_route("OPTIONS", "/hook", receiver.permit)
    async with served(app) as url:
        receiver.url = f"{url}/hook"
        yield receiver


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with serving() as running:
        yield running


async def until_checkpoint(source: "Source", reached: Callable[[Checkpoint], bool], name: str = "hook") -> Checkpoint:
    async with asyncio.timeout(patient(10)):
        while True:
            known = await source.outbox.checkpoint(f"webhook:{name}")
            if known is not None and reached(known):
                return known
            await asyncio.sleep(0.001)


def endpoint(receiver: Receiver, name: str = "hook", **more: Any) -> Endpoint:
    return replace(Endpoint(name=name, url=receiver.url, secret=SECRET, allow_private=True), **more)


@asynccontextmanager
async def posting(source: "Source", clock: FastClock, *endpoints: Endpoint, holder: str = "one") -> AsyncIterator[None]:
    task = asyncio.create_task(Webhooks(source.outbox, endpoints, clock, holder, QUICK).run())
    try:
        for known in endpoints:
            await until_checkpoint(source, lambda _: True, known.name)
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_events_are_posted_in_order_and_signed(source: "Source", clock: FastClock, receiver: Receiver) -> None:
    """Each event is a CloudEvents document with the HMAC-SHA256 of exactly its bytes."""
    await source.commit(2)
    async with posting(source, clock, endpoint(receiver)):
        await source.commit(3)
        await receiver.until_taken([3, 4, 5])
    for headers, body in receiver.requests:
        assert headers["Content-Type"] == "application/cloudevents+json"
        assert headers[SIGNATURE_HEADER] == "sha256=" + hmac.new(SECRET, body, hashlib.sha256).hexdigest()
        assert json.loads(body)["specversion"] == "1.0"


def test_the_signature_is_the_documented_one() -> None:
    """The well-known test vector of HMAC-SHA256 comes out."""
    assert signature(b"key", b"The quick brown fox jumps over the lazy dog") == (
        "sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"
    )


async def test_without_a_secret_there_is_no_signature(source: "Source", clock: FastClock, receiver: Receiver) -> None:
    """No header rather than one that means nothing."""
    async with posting(source, clock, endpoint(receiver, secret=None)):
        await source.commit(1)
        await receiver.until_taken([1])
    assert SIGNATURE_HEADER not in receiver.requests[0][0]


async def test_a_refused_event_is_tried_again_before_the_next(
    source: "Source", clock: FastClock, receiver: Receiver
) -> None:
    """Nothing is skipped and nothing overtakes, whatever the endpoint answered."""
    receiver.statuses = [500, 302, 404]
    async with posting(source, clock, endpoint(receiver)):
        await source.commit(3)
        await receiver.until_taken([1, 2, 3])
    assert receiver.tried == [1, 1, 1, 1, 2, 3]


async def test_delivery_goes_on_behind_the_checkpoint(source: "Source", clock: FastClock, receiver: Receiver) -> None:
    """After a restart what was taken is not posted again, and what was committed meanwhile is."""
    async with posting(source, clock, endpoint(receiver)):
        await source.commit(2)
        await receiver.until_taken([1, 2])
        await until_position(source, 2)
    await source.commit(2)
    async with posting(source, clock, endpoint(receiver)):
        await receiver.until_taken([1, 2, 3, 4])


async def until_position(source: "Source", count: int) -> None:
    last = (await source.outbox.after(0, limit=count))[-1].position
    await until_checkpoint(source, lambda known: known.position >= last)


async def test_only_the_types_asked_for_are_posted(source: "Source", clock: FastClock, receiver: Receiver) -> None:
    """Other types move the checkpoint on without a post."""
    async with posting(source, clock, endpoint(receiver, types=(EventType.CHANGE_SUCCEEDED.value,))):
        await source.commit(5)
        await source.commit(1, kind=EventType.CHANGE_SUCCEEDED)
        await source.commit(3)
        await receiver.until_taken([6])
        await until_position(source, 9)


async def test_a_dead_endpoint_holds_no_other_up(source: "Source", clock: FastClock, receiver: Receiver) -> None:
    """While one endpoint hangs, another gets everything."""
    async with serving() as dead:
        dead.hangs = True
        async with posting(source, clock, endpoint(dead, "dead"), endpoint(receiver)):
            await source.commit(20)
            await receiver.until_taken(list(range(1, 21)))
        assert dead.taken == []


async def test_a_failing_endpoint_is_paused_and_recovers(
    source: "Source", clock: FastClock, receiver: Receiver
) -> None:
    """After repeated failure it is tried only now and then; when it takes events again, all the missed ones follow."""
    receiver.always = 503
    async with posting(source, clock, endpoint(receiver)):
        await source.commit(3)
        await receiver.until_tried(4)
        known = await until_checkpoint(source, lambda known: known.paused_since is not None)
        assert known.failures >= 4
        assert "503" in known.detail
        receiver.always = None
        await receiver.until_taken([1, 2, 3])
        recovered = await until_checkpoint(source, lambda known: known.failures == 0)
    assert recovered.paused_since is None


async def test_an_endpoint_that_is_gone_is_paused_at_once(
    source: "Source", clock: FastClock, receiver: Receiver
) -> None:
    """410 means that it will take nothing any more."""
    receiver.always = 410
    async with posting(source, clock, endpoint(receiver)):
        await source.commit(1)
        await until_checkpoint(source, lambda known: known.paused_since is not None)
    assert len(receiver.tried) == 1


async def test_private_addresses_are_refused_unless_allowed(
    source: "Source", clock: FastClock, receiver: Receiver
) -> None:
    """Neither an address nor a name of the own network is posted to; the checkpoint says why."""
    guarded = endpoint(receiver, allow_private=False)
    by_name = replace(guarded, name="name", url=receiver.url.replace("127.0.0.1", "localhost"))
    async with posting(source, clock, guarded, by_name):
        await source.commit(1)
        for name in ("hook", "name"):
            known = await until_checkpoint(source, lambda known: known.failures > 0, name)
            assert "no public address" in known.detail
    assert receiver.tried == []


async def test_one_of_several_replicas_posts(source: "Source", receiver: Receiver) -> None:
    """Two daemons on one store post each event once."""
    clock = FastClock(factor=1)  # a lease of which a busy machine can't let a hundredth part run out
    async with posting(source, clock, endpoint(receiver)), posting(source, clock, endpoint(receiver), holder="two"):
        await source.commit(10)
        await receiver.until_taken(list(range(1, 11)))
        await until_position(source, 10)
    assert len(receiver.tried) == 10


def test_pauses_grow_to_a_bound() -> None:
    """1, 2, 4 … seconds, at most the longest."""
    pauses = [Persistence(longest_pause_seconds=10).pause_seconds(failures) for failures in (1, 2, 3, 4, 5, 5000)]
    assert pauses == [1, 2, 4, 8, 10, 10]


def test_the_secret_does_not_show() -> None:
    """An endpoint in a log has no secret in it."""
    assert "shared" not in repr(Endpoint(name="a", url="b", secret=SECRET))


@pytest.mark.parametrize("secret", [b"shared", b"whsec_" + base64.b64encode(b"k" * 24), b"whsec_no base64"])
async def test_a_library_for_standard_webhooks_verifies_them(
    source: "Source", clock: FastClock, receiver: Receiver, secret: bytes
) -> None:
    """Id, time and signature are such as Standard Webhooks has them, over exactly the bytes that were posted."""
    async with posting(source, clock, endpoint(receiver, secret=secret)):
        await source.commit(1)
        await receiver.until_taken([1])
    ((headers, body),) = receiver.requests
    event_id, seconds = headers["webhook-id"], headers["webhook-timestamp"]
    assert event_id == json.loads(body)["id"]
    assert abs(int(seconds) - clock.now().timestamp()) < 600
    signed = f"{event_id}.{seconds}.".encode() + body
    expected = base64.b64encode(hmac.new(standard_key(secret), signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert standard_key(b"whsec_" + base64.b64encode(b"k" * 24)) == b"k" * 24


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", ["seconds", "date"])
async def test_an_endpoint_is_left_alone_for_as_long_as_it_says(
    source: "Source", clock: FastClock, receiver: Receiver, status: int, form: str
) -> None:
    """Retry-After, in seconds or as a date, is waited for when it is longer than the pause would be."""
    receiver.statuses = [status]
    at = clock.now() + timedelta(seconds=30)
    receiver.retry_after = "30" if form == "seconds" else format_datetime(at, usegmt=True)
    began = clock.now()
    async with posting(source, clock, endpoint(receiver)):
        await source.commit(1)
        await receiver.until_taken([1])
    assert clock.now() - began >= timedelta(seconds=28)


@pytest.mark.parametrize("said", ["-5", "soon", "1e9", "", "٣", "Thu, 99 Nov 2026 25:00:00 GMT"])
async def test_what_is_no_time_is_not_waited_for(
    source: "Source", clock: FastClock, receiver: Receiver, said: str
) -> None:
    """A Retry-After that says nothing leaves the usual pause."""
    receiver.statuses = [503]
    receiver.retry_after = said.encode().decode("latin-1")
    began = clock.now()
    async with posting(source, clock, endpoint(receiver)):
        await source.commit(1)
        await receiver.until_taken([1])
    assert clock.now() - began < timedelta(seconds=LONGEST_RETRY_AFTER_SECONDS)
    assert retry_after_seconds(said, clock.now()) == 0


def test_no_endpoint_is_left_alone_for_longer_than_an_hour() -> None:
    """However long a Retry-After is, in seconds or as a date."""
    for said in ("9" * 40, "Thu, 01 Jan 2099 00:00:00 GMT", "Thu, 01 Jan 2099 00:00:00"):
        assert retry_after_seconds(said, START) == LONGEST_RETRY_AFTER_SECONDS


async def test_the_authorization_is_read_for_each_post(source: "Source", clock: FastClock, receiver: Receiver) -> None:
    """A token that is replaced while the daemon runs is used from then on; one that can't be read is waited for."""
    values: list[str | None] = ["Bearer one", None, "Bearer two"]

    def authorization() -> str:
        value = values.pop(0)
        if value is None:
            raise FileNotFoundError("it is being replaced")
        return value

    async with posting(source, clock, endpoint(receiver, authorization=authorization)):
        await source.commit(2)
        await receiver.until_taken([1, 2])
    assert [headers["Authorization"] for headers, _ in receiver.requests] == ["Bearer one", "Bearer two"]
    assert "Bearer" not in repr(endpoint(receiver, authorization=lambda: "Bearer x"))


async def test_events_are_posted_with_permission_only(source: "Source", clock: FastClock, receiver: Receiver) -> None:
    """An endpoint that is asked gets nothing before it allows our name, and is asked once while it takes events."""
    async with posting(source, clock, endpoint(receiver, origin="membership.example.org")):
        await source.commit(1)
        await until_checkpoint(source, lambda known: known.failures >= 2)
        assert receiver.tried == []
        receiver.permission = {"WebHook-Allowed-Origin": "other.example.org"}
        failed = (await until_checkpoint(source, lambda known: "other.example.org" in known.detail)).failures
        receiver.permission = {"WebHook-Allowed-Origin": "membership.example.org"}
        await receiver.until_taken([1])
        asked = len(receiver.asked)
        await source.commit(2)
        await receiver.until_taken([1, 2, 3])
    assert failed >= 3
    assert set(receiver.asked) == {"membership.example.org"}
    assert len(receiver.asked) == asked


async def test_events_come_no_faster_than_allowed(source: "Source", clock: FastClock, receiver: Receiver) -> None:
    """The rate that an endpoint allows, in requests a minute, is kept."""
    receiver.permission = {"WebHook-Allowed-Origin": "*", "WebHook-Allowed-Rate": "6"}
    began = clock.now()
    async with posting(source, clock, endpoint(receiver, origin="membership.example.org")):
        await source.commit(3)
        await receiver.until_taken([1, 2, 3])
    assert clock.now() - began >= timedelta(seconds=20)
