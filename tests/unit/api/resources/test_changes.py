"""Asking for changes over HTTP, following them, retry and cancel."""

from dataclasses import replace
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from yarl import URL

from orchestrator.engine.ports.store import StoreError
from orchestrator.membership.model import State
from tests.fakes.http_api import (
    ACCOUNT,
    GROUP,
    GROUP_IN_PATH,
    KEYS,
    NOW,
    RAW,
    FakeParts,
    make_change,
    make_parked_change,
)
from tests.fakes.surveys import a_plan

Client = TestClient[Any, Any]
BODY = {"kind": "add_members", "privacy_group_id": GROUP, "members": [KEYS[2]], "account": ACCOUNT}


def key(request_id: str = "request-1") -> dict[str, str]:
    return {"Idempotency-Key": request_id}


async def test_a_request_is_accepted(client: Client, parts: FakeParts) -> None:
    """A valid request answers 202 with the queued change and where to follow it."""
    response = await client.post("/v1/changes", json=BODY, headers=key())
    assert response.status == 202
    assert response.headers["Location"] == "/v1/changes/change-1"
    change = await response.json()
    assert (change["state"], change["request_id"], change["members"]) == ("queued", "request-1", [KEYS[2]])
    assert list(parts.record.stored) == ["change-1"]


async def test_the_same_request_is_the_same_change(client: Client) -> None:
    """The same request under the same key answers 200 with the change that it made the first time."""
    first = await client.post("/v1/changes", json=BODY, headers=key())
    again = await client.post("/v1/changes", json=BODY, headers=key())
    assert (first.status, again.status) == (202, 200)
    assert (await again.json())["change_id"] == (await first.json())["change_id"]


async def test_another_request_under_the_same_key_is_refused(client: Client) -> None:
    """Another request under a known key answers 422, as the key's draft wants it, and changes nothing."""
    await client.post("/v1/changes", json=BODY, headers=key())
    response = await client.post("/v1/changes", json={**BODY, "members": [KEYS[1]]}, headers=key())
    assert response.status == 422
    assert (await response.json())["type"] == "urn:orchestrator:problem:conflicting-request"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({**BODY, "kind": "destroy"}, "kind"),
        ({**BODY, "privacy_group_id": "short"}, "privacy_group_id"),
        ({**BODY, "members": []}, "members"),
        ({**BODY, "members": ["short"]}, "members.0"),
        ({**BODY, "members": [KEYS[2], KEYS[2]]}, "members"),
        ({**BODY, "account": "0x12"}, "account"),
        ({**BODY, "deadline_seconds": 0}, "deadline_seconds"),
        ({**BODY, "surprise": 1}, "surprise"),
        ([], "body"),
    ],
)
async def test_a_wrong_field_is_named(client: Client, parts: FakeParts, body: object, field: str) -> None:
    """A request that is not valid answers 422 with a problem document that names the field."""
    response = await client.post("/v1/changes", json=body, headers=key())
    problem = await response.json()
    assert response.status == 422
    assert response.content_type == "application/problem+json"
    assert (problem["status"], problem["field"]) == (422, field)
    assert parts.record.stored == {}


async def test_a_request_needs_an_id(client: Client) -> None:
    """Without an Idempotency-Key the answer is 400: the client could not send it again safely."""
    response = await client.post("/v1/changes", json=BODY)
    assert response.status == 400
    assert (await response.json())["field"] == "Idempotency-Key"


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"{", "application/json", 422),
        (b'{"kind": "add_members", "kind": "x"}', "application/json", 422),
        (b"{}", "text/plain", 415),
        (b" " * (256 * 1024 + 1), "application/json", 413),
    ],
)
async def test_what_is_no_json_is_refused(client: Client, data: bytes, content_type: str, status: int) -> None:
    """A body that is no JSON, of another media type or too large answers with a problem document."""
    response = await client.post("/v1/changes", data=data, headers={**key(), "Content-Type": content_type})
    assert response.status == status
    assert (await response.json())["status"] == status


async def test_changes_are_listed_in_pages(client: Client, parts: FakeParts) -> None:
    """Changes come newest first, a page at a time, until `next` is null."""
    for number in range(1, 6):
        parts.record.stored[f"change-{number}"] = make_change(f"change-{number}")
    seen: list[str] = []
    before: dict[str, str] = {}
    while True:
        page = await (await client.get("/v1/changes", params={"limit": "2", **before})).json()
        seen += [change["change_id"] for change in page["changes"]]
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    assert seen == [f"change-{number}" for number in range(5, 0, -1)]


async def test_changes_are_filtered(client: Client, parts: FakeParts) -> None:
    """`group` and `state` narrow the list; a group may be written in base64 or base64url."""
    parts.record.stored["a"] = make_change("a")
    parts.record.stored["b"] = replace(make_change("b"), state=State.SUCCEEDED)
    parts.record.stored["c"] = make_change("c", privacy_group_id=KEYS[0])
    for group in (GROUP, GROUP_IN_PATH):
        page = await (await client.get("/v1/changes", params={"group": group, "state": "queued"})).json()
        assert [change["change_id"] for change in page["changes"]] == ["a"]


@pytest.mark.parametrize(
    "query",
    ["state=done", "limit=0", "limit=x", "limit=501", f"limit={10**6:015}", "group=x", "stat=queued", "before="],
)
async def test_a_wrong_filter_is_refused(client: Client, query: str) -> None:
    """A filter that means nothing answers 422 instead of everything."""
    response = await client.get(f"/v1/changes?{query}")
    assert response.status == 422
    assert (await response.json())["field"] == query.partition("=")[0]


async def test_a_change_explains_itself(client: Client, parts: FakeParts) -> None:
    """One change shows why it is where it is: reason, remedy, progress, attempts, but never signed bytes."""
    parts.record.stored["change-1"] = make_parked_change()
    response = await client.get("/v1/changes/change-1")
    text = await response.text()
    change = await response.json()
    assert change["state"] == "parked"
    assert change["reason"]["slug"] == "member_missing"
    assert change["reason"]["judgement"] == "park"
    assert "add it again" in change["reason"]["remedy"]
    assert change["progress"][0]["blocks_replayed"] == 3
    assert change["effect"]["block_number"] == 9
    assert change["attempts"][0]["pmt_hashes"] == ["0x" + "cd" * 32]
    assert "raw" not in change["attempts"][0]
    assert RAW.hex() not in text


async def test_an_unknown_change_is_not_found(client: Client) -> None:
    """A change that there is not answers 404, for reading, retry and cancel."""
    for response in (
        await client.get("/v1/changes/nothing"),
        await client.post("/v1/changes/nothing/retry"),
        await client.post("/v1/changes/nothing/cancel"),
    ):
        assert response.status == 404
        assert (await response.json())["type"] == "urn:orchestrator:problem:unknown-change"


async def test_a_parked_change_is_retried(client: Client, parts: FakeParts) -> None:
    """Retry queues a parked change again and leaves a trace in its history."""
    parts.record.stored["change-1"] = make_parked_change()
    response = await client.post("/v1/changes/change-1/retry")
    assert response.status == 200
    assert (await response.json())["state"] == "queued"
    history = (await (await client.get("/v1/changes/change-1")).json())["history"]
    assert [(entry["fact"], entry["from_state"], entry["to_state"]) for entry in history] == [
        ("RetryRequested", "parked", "queued")
    ]


async def test_a_queued_change_is_cancelled(client: Client, parts: FakeParts) -> None:
    """Cancel ends a change that has sent nothing."""
    parts.record.stored["change-1"] = make_change()
    response = await client.post("/v1/changes/change-1/cancel")
    assert (response.status, (await response.json())["state"]) == (200, "cancelled")


async def test_a_change_at_work_is_given_up(client: Client, parts: FakeParts) -> None:
    """Cancel is its deadline then: what is on its way is burnt or undone before it ends."""
    at_work = replace(make_change(), state=State.ADDING, lead_id="change-1", plan=a_plan())
    parts.record.stored["change-1"] = at_work
    response = await client.post("/v1/changes/change-1/cancel")
    assert (response.status, (await response.json())["state"]) == (200, "adding")
    assert parts.record.stored["change-1"].deadline == NOW


@pytest.mark.parametrize(
    ("state", "verb", "why"),
    [
        (State.SUCCEEDED, "cancel", "The change is succeeded; one that has ended can't be cancelled."),
        (State.QUEUED, "retry", "The change is queued; only a parked one can be retried."),
    ],
)
async def test_what_is_impossible_now_is_refused(
    client: Client, parts: FakeParts, state: State, verb: str, why: str
) -> None:
    """Retry and cancel in a state that does not allow them answer 409 and say which do."""
    parts.record.stored["change-1"] = replace(make_change(), state=state)
    response = await client.post(f"/v1/changes/change-1/{verb}")
    assert response.status == 409
    assert (await response.json())["detail"] == why
    assert parts.record.stored["change-1"].state is state


async def test_a_change_that_is_worked_on_is_left_alone(client: Client, parts: FakeParts) -> None:
    """Cancel while a worker holds the change answers 409 with when to ask again."""
    parts.record.stored["change-1"] = make_change()
    parts.record.held.add("change-1")
    response = await client.post("/v1/changes/change-1/cancel")
    assert response.status == 409
    assert response.headers["Retry-After"]


async def test_a_store_that_is_away_is_told(client: Client, parts: FakeParts) -> None:
    """While the store does not answer, nothing is accepted: 503 with when to ask again, and no inner words."""
    parts.record.failure = StoreError("connection to 10.0.0.1 refused")
    response = await client.post("/v1/changes", json=BODY, headers=key())
    assert response.status == 503
    assert response.headers["Retry-After"]
    assert "10.0.0.1" not in await response.text()


async def test_a_defect_does_not_leak(client: Client, parts: FakeParts) -> None:
    """An unexpected error answers 500 without its message."""
    parts.record.failure = RuntimeError("inner words")
    response = await client.get("/v1/changes")
    assert response.status == 500
    assert "inner words" not in await response.text()


async def test_a_parked_change_is_closed_with_a_reason(client: Client, parts: FakeParts) -> None:
    """A parked change that left nothing in the group fails with the operator's reason; another body is refused."""
    parts.record.stored["change-1"] = replace(make_parked_change(), effect=None, attempt=None)
    for body in ({"reason": 1}, {"why": "gone"}, ["gone"]):
        assert (await client.post("/v1/changes/change-1/cancel", json=body)).status == 422
    response = await client.post("/v1/changes/change-1/cancel", json={"reason": "member3 left the consortium"})
    document = await response.json()
    assert (document["state"], document["reason"]["slug"]) == ("failed", "closed_by_operator")
    assert document["reason"]["detail"] == "member3 left the consortium"


async def test_a_change_that_has_sent_is_not_cancelled(client: Client, parts: FakeParts) -> None:
    """Cancelling a parked change whose addition was executed answers 409 and says why, instead of failing."""
    parts.record.stored["change-1"] = replace(make_parked_change(), transacted=True)
    response = await client.post("/v1/changes/change-1/cancel")
    assert response.status == 409
    assert (await response.json())["type"] == "urn:orchestrator:problem:impossible-now"


async def test_the_next_page_is_linked(client: Client, parts: FakeParts) -> None:
    """A page names the next one also as a Link, with the filters that it was asked with; the last one does not."""
    for number in range(3):
        parts.record.stored[f"change-{number}"] = make_change(f"change-{number}")
    page = await client.get("/v1/changes", params={"limit": "2", "group": GROUP_IN_PATH})
    link = URL(str(page.links["next"]["url"]))
    assert dict(link.query) == {"limit": "2", "group": GROUP_IN_PATH, "before": "change-1"}
    last = await client.get(str(link.relative()))
    assert [change["change_id"] for change in (await last.json())["changes"]] == ["change-0"]
    assert "next" not in last.links


async def test_changes_of_a_request_are_found(client: Client, parts: FakeParts) -> None:
    """By the whole id that the sender gave it; what can be none is refused with the parameter's name."""
    parts.record.stored["change-1"] = make_change()
    for asked, found in (("request of change-1", 1), ("request of", 0)):
        page = await (await client.get("/v1/changes", params={"request": asked, "count": "true"})).json()
        assert (len(page["changes"]), page["total"]) == (found, found)
    refused = await client.get("/v1/changes", params={"request": "x" * 257})
    assert (refused.status, (await refused.json())["field"]) == (422, "request")
