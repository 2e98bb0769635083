"""Webhooks over HTTP."""

from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from orchestrator.events.webhooks.control import WebhookStanding
from tests.fakes.http_api import NOW, FakeParts

Client = TestClient[Any, Any]


@pytest.fixture(autouse=True)
def webhook(parts: FakeParts) -> None:
    """There is one webhook, which fails."""
    parts.webhooks.known["erp"] = WebhookStanding(
        name="erp", address="https://erp.example.org", position=7, behind=3, failures=15, paused_since=NOW, detail="500"
    )


async def test_webhooks_are_listed(client: Client) -> None:
    """Each webhook shows how far it is and what keeps it, and nothing of its address but the host."""
    (found,) = (await (await client.get("/v1/webhooks")).json())["webhooks"]
    assert (found["name"], found["address"], found["behind"], found["detail"]) == (
        "erp",
        "https://erp.example.org",
        3,
        "500",
    )


async def test_webhooks_are_steered(client: Client) -> None:
    """One is paused, resumed, and goes on behind an event that is named."""
    assert (await (await client.post("/v1/webhooks/erp/pause")).json())["stopped_since"] is not None
    resumed = await (await client.post("/v1/webhooks/erp/resume")).json()
    assert (resumed["stopped_since"], resumed["failures"]) == (None, 0)
    for after in (2, 3.0):  # the same kind of number to JSON
        again = await client.post("/v1/webhooks/erp/redrive", json={"after": after})
        assert (await again.json())["position"] == after


@pytest.mark.parametrize(
    "body", [{}, {"after": "2"}, {"after": True}, {"after": -1}, {"after": 2**60}, [], {"after": 11}]
)
async def test_what_can_not_be_redriven_is_refused(client: Client, body: object) -> None:
    """A number that none of the events has, or none at all, is refused with the field that is wrong."""
    answer = await client.post("/v1/webhooks/erp/redrive", json=body)
    assert (answer.status, (await answer.json())["field"]) == (422, "after")


async def test_a_test_tells_what_became_of_it(client: Client, parts: FakeParts) -> None:
    """Whether the receiver took it is an answer, not an error."""
    assert await (await client.post("/v1/webhooks/erp/test")).json() == {"taken": True, "detail": "it took the event"}
    parts.webhooks.taken = (False, "it answered 401")
    assert await (await client.post("/v1/webhooks/erp/test")).json() == {"taken": False, "detail": "it answered 401"}


@pytest.mark.parametrize("verb", ["pause", "resume", "test", "redrive"])
async def test_an_unknown_webhook_is_not_found(client: Client, verb: str) -> None:
    """A name that is not configured answers 404 and names it."""
    answer = await client.post(f"/v1/webhooks/other/{verb}", json={"after": 1} if verb == "redrive" else None)
    assert answer.status == 404
    assert "other" in (await answer.json())["detail"]
