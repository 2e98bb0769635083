"""Subscribers of a real daemon over HTTP: server-sent events, webhooks and the AsyncAPI document."""

import asyncio
import base64
import hashlib
import hmac
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from orchestrator.events.webhooks.signatures import SIGNATURE_HEADER
from tests.patience import patient
from tests.servers.local_application import served

if TYPE_CHECKING:
    from tests.integration.events.conftest import Daemon

GROUPS = [base64.b64encode(bytes([number]) * 32).decode() for number in range(1, 4)]
BEFORE = base64.b64encode(bytes(32)).decode()
SECRET = "shared"
LIFE = ["accepted", "started", "failed"]


def kind_of(document: dict[str, Any]) -> str:
    return str(document["type"]).split(".")[2]


async def until_ready(session: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(patient(60)):
        while True:
            try:
                async with session.get(f"{url}/livez") as answer:
                    if answer.ok:
                        return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)


async def ask(session: aiohttp.ClientSession, url: str, request_id: str, group: str) -> None:
    # Whoever is over its deadline before a busy daemon comes to it fails without having been started.
    deadline = math.ceil(patient(1))
    data = {"kind": "create_group", "privacy_group_id": group, "members": [group], "deadline_seconds": deadline}
    async with session.post(f"{url}/v1/changes", json=data, headers={"Idempotency-Key": request_id}) as answer:
        assert answer.status in {200, 201, 202}, await answer.text()


async def stream(
    session: aiohttp.ClientSession, url: str, resume_id: str, **filters: str
) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Yield (id, document) of server-sent events."""
    async with session.get(f"{url}/v1/events", params=filters, headers={"Last-Event-ID": resume_id}) as answer:
        assert answer.status == 200, await answer.text()
        event_id = ""
        async for line in answer.content:
            name, _, value = line.decode().strip().partition(": ")
            if name == "id":
                event_id = value
            elif name == "data":
                yield event_id, json.loads(value)


async def take(events: AsyncIterator[tuple[str, dict[str, Any]]], ends: int) -> list[tuple[str, dict[str, Any]]]:
    """Read until so many changes have ended, each of which is failed."""
    taken = []
    async with asyncio.timeout(patient(60)):
        while ends:
            taken.append(await anext(events))
            ends -= kind_of(taken[-1][1]) == LIFE[-1]
    return taken


def life(events: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """What was told of one change, each kind once: how often it was tried, and told to wait, depends on the load."""
    kinds = dict.fromkeys(kind_of(document) for _, document in events)
    return [kind for kind in kinds if kind != "progressed"]


async def until_posting(session: aiohttp.ClientSession, url: str, hook: "Hook") -> str:
    """Make events until the webhook, which hears of new ones only, has begun; return the last one's id."""
    rounds = 0
    async with asyncio.timeout(patient(60)):
        while not hook.documents:
            await ask(session, url, f"before-{rounds}", BEFORE)
            rounds += 1
            seen = await take(stream(session, url, "0"), rounds)
    await hook.until_last(seen[-1][1])
    hook.documents.clear()
    return seen[-1][0]


class Hook:
    """Takes webhooks."""

    def __init__(self) -> None:
        self.url = ""
        self.documents: list[dict[str, Any]] = []
        self.moved = asyncio.Event()

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        expected = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        assert request.headers[SIGNATURE_HEADER] == expected
        self.documents.append(json.loads(body))
        self.moved.set()
        return web.Response()

    async def until_last(self, document: dict[str, Any]) -> None:
        async with asyncio.timeout(patient(60)):
            while self.documents[-1]["id"] != document["id"]:
                self.moved.clear()
                await self.moved.wait()

    async def until(self, count: int) -> None:
        async with asyncio.timeout(patient(60)):
            while len({document["id"] for document in self.documents}) < count:
                self.moved.clear()
                await self.moved.wait()


@asynccontextmanager
async def hook_server() -> AsyncIterator[Hook]:
    hook = Hook()
    app = web.Application()
    app.router.add_post("/", hook.take)
    async with served(app) as url:
        hook.url = f"{url}/"
        yield hook


@pytest.mark.timeout(180)
async def test_subscribers_hear_every_event_and_resume(nats_url: str, run_daemon: Callable[..., "Daemon"]) -> None:
    """Streams and webhooks get each event in order, filtered as asked; after SIGKILL of the daemon they go on."""
    async with hook_server() as hook, aiohttp.ClientSession() as session:
        extra = f'[[webhooks]]\nname = "test"\nurl = "{hook.url}"\nallow_private = true\n'
        daemon = run_daemon(nats_url, extra, {"ORCHESTRATOR_WEBHOOKS__0__SECRET": SECRET})
        await until_ready(session, daemon.url)
        group = base64.urlsafe_b64encode(base64.b64decode(GROUPS[0])).decode().rstrip("=")
        start = await until_posting(session, daemon.url, hook)
        for number, name in enumerate(GROUPS):
            await ask(session, daemon.url, f"r-{number}", name)
        everything = await take(stream(session, daemon.url, start), len(GROUPS))
        ids = [event_id for event_id, _ in everything]
        assert ids == sorted(ids, key=int)
        of_group = await take(stream(session, daemon.url, "0", group=group), 1)
        assert life(of_group) == LIFE
        numbers = [document["data"]["sequence"] for _, document in of_group]
        assert numbers == list(range(1, len(of_group) + 1))
        ends = await take(stream(session, daemon.url, start, type="membership.change.failed.v1"), 3)
        assert {document["data"]["request_id"] for _, document in ends} == {"r-0", "r-1", "r-2"}
        await hook.until(len(everything))

        daemon.kill()
        daemon.start()
        await until_ready(session, daemon.url)
        await ask(session, daemon.url, "r-3", GROUPS[0])
        resumed = await take(stream(session, daemon.url, ids[-1]), 1)
        assert life(resumed) == LIFE
        numbers += [document["data"]["sequence"] for _, document in resumed]
        assert numbers == list(range(1, len(of_group) + len(resumed) + 1))
        await hook.until(len(everything) + len(resumed))
        posted = list({document["id"]: document for document in hook.documents}.values())
        assert posted == [document for _, document in everything + resumed]

        async with session.get(f"{daemon.url}/asyncapi.json") as answer:
            assert (await answer.json())["asyncapi"] == "3.0.0"
    assert await asyncio.to_thread(daemon.stop) == 0
