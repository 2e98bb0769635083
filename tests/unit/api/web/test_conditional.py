"""Reading again for little, and waiting for news."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from orchestrator.membership.model import State
from tests.fakes.http_api import FakeEvent, FakeParts, make_change
from tests.unit.api.resources.test_stream import eventually

Client = TestClient[Any, Any]
PATH = "/v1/changes/change-1"


@pytest.fixture(autouse=True)
def change(parts: FakeParts) -> None:
    """There is one change, queued."""
    parts.record.stored["change-1"] = make_change()


@pytest.mark.parametrize("path", [PATH, "/v1/changes", "/v1/groups", "/v1/attention", "/v1/nodes", "/v1/names"])
async def test_what_is_known_is_not_sent_again(client: Client, path: str) -> None:
    """Whoever has the document gets 304 without a body, by a strong or weak tag or among several."""
    tag = (await client.get(path)).headers["ETag"]
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await client.get(path, headers={"If-None-Match": known})
        assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", tag)


async def test_what_changed_is_sent(client: Client, parts: FakeParts) -> None:
    """A change that moved on has another tag."""
    tag = (await client.get(PATH)).headers["ETag"]
    parts.record.stored["change-1"] = replace(make_change(), state=State.LOCKING)
    again = await client.get(PATH, headers={"If-None-Match": tag})
    assert (again.status, (await again.json())["state"]) == (200, "locking")


async def test_problems_have_no_tag(client: Client) -> None:
    """An error is never taken for a document that is known."""
    missing = await client.get("/v1/changes/other", headers={"If-None-Match": "*"})
    assert missing.status == 404
    assert "ETag" not in missing.headers


async def test_a_client_waits_for_news(client: Client, parts: FakeParts) -> None:
    """With a wait the answer comes with the next event, and holds what it brought."""
    asked = asyncio.create_task(client.get(PATH, headers={"Prefer": "respond-async, wait=30"}))
    await eventually(lambda: parts.feed.readers == 1)
    assert not asked.done()
    parts.record.stored["change-1"] = replace(make_change(), state=State.LOCKING)
    parts.feed.publish(FakeEvent(resume_id="1", event_type="membership.change.progressed.v1", text="{}"))
    answer = await asked
    assert (await answer.json())["state"] == "locking"
    assert answer.headers["Preference-Applied"] == "wait"
    await eventually(lambda: parts.feed.readers == 0)


async def test_nobody_waits_for_what_is_news_already(client: Client, parts: FakeParts) -> None:
    """A change that ended, or that moved on since the client read it, is answered at once."""
    old = await client.get(PATH, headers={"Prefer": "wait=30", "If-None-Match": '"older"'})
    assert (await old.json())["state"] == "queued"
    parts.record.stored["change-1"] = replace(make_change(), state=State.SUCCEEDED)
    ended = await client.get(PATH, headers={"Prefer": "wait=30"})
    assert (await ended.json())["state"] == "succeeded"


async def test_a_wait_ends(client: Client) -> None:
    """When nothing happens the answer comes after the time, as it was."""
    answer = await client.get(PATH, headers={"Prefer": "wait=1"})
    assert (await answer.json())["state"] == "queued"
