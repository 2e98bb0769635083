"""Requests as clients send them: the Idempotency-Key of the draft, and CloudEvents in each mode."""

import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from tests.fakes.http_api import ACCOUNT, GROUP, KEYS, FakeParts

Client = TestClient[Any, Any]
DATA = {"kind": "add_members", "privacy_group_id": GROUP, "members": [KEYS[2]], "account": ACCOUNT}
TYPE = "membership.change.requested.v1"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


def an_event(event_id: str = "e-1", **more: object) -> dict[str, object]:
    return {"specversion": "1.0", "id": event_id, "source": "/s", "type": TYPE, "data": DATA} | more


def in_headers(**more: str) -> dict[str, str]:
    found = {f"ce-{name}": str(value) for name, value in an_event().items() if name != "data"}
    return found | {f"ce-{name}": value for name, value in more.items()}


def ids(parts: FakeParts) -> list[str]:
    return [change.request_id for change in parts.record.stored.values()]


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ('"k-1"', "k-1"),
        ("k-1", "k-1"),
        (r'"a \"b\" \\"', r'a "b" \\'[:-1]),
        ('"k-1"; expires=60', "k-1"),
        ("it's mine", "it's mine"),
    ],
)
async def test_a_key_is_read_as_its_draft_writes_it(client: Client, parts: FakeParts, sent: str, meant: str) -> None:
    """A key in quotes, with what may be escaped in it and parameters behind it, is the one without them."""
    for value in (sent, sent):
        assert (await client.post("/v1/changes", json=DATA, headers={"Idempotency-Key": value})).status in (200, 202)
    assert ids(parts) == [meant]


@pytest.mark.parametrize("sent", ["", '""', '"open', '"a"b', r'"a\b"', '"k-1", "k-2"', "k" * 257])
async def test_what_is_no_key_is_refused(client: Client, parts: FakeParts, sent: str) -> None:
    """A key that is empty, too long, or quoted wrongly answers 400 and changes nothing."""
    response = await client.post("/v1/changes", json=DATA, headers={"Idempotency-Key": sent})
    assert (response.status, (await response.json())["field"]) == (400, "Idempotency-Key")
    assert ids(parts) == []


async def test_two_keys_are_one_too_many(client: Client, parts: FakeParts) -> None:
    """Which of two keys is meant can't be told."""
    headers = [("Idempotency-Key", "k-1"), ("Idempotency-Key", "k-2")]
    assert (await client.post("/v1/changes", json=DATA, headers=headers)).status == 400
    assert ids(parts) == []


async def test_an_event_in_binary_mode_is_a_request(client: Client, parts: FakeParts) -> None:
    """Attributes in headers and the data as the body need no key: the event's id is enough, also a second time."""
    first = await client.post("/v1/changes", json=DATA, headers=in_headers(time="2026-11-23T13:45:01Z"))
    again = await client.post("/v1/changes", json=DATA, headers=in_headers())
    assert (first.status, again.status, ids(parts)) == (202, 200, ["e-1"])


async def test_an_event_without_a_content_type_is_a_request(client: Client, parts: FakeParts) -> None:
    """SDKs send none where the event has no datacontenttype."""
    data = json.dumps(DATA).encode()
    response = await client.post("/v1/changes", data=data, headers=in_headers(), skip_auto_headers=["Content-Type"])
    assert (response.status, ids(parts)) == (202, ["e-1"])


async def test_an_event_in_structured_mode_is_a_request(client: Client, parts: FakeParts) -> None:
    """The document is the event; what tracing adds as headers changes nothing."""
    headers = {"Content-Type": f"{STRUCTURED}; charset=utf-8", "ce-traceparent": "00-1-2-01"}
    response = await client.post("/v1/changes", data=json.dumps(an_event()), headers=headers)
    assert (response.status, ids(parts)) == (202, ["e-1"])


async def test_a_batch_is_several_requests(client: Client, parts: FakeParts) -> None:
    """Its changes come back in its order: 202, and 200 when all were asked for before; a wrong one refuses all."""
    events: list[dict[str, Any]] = [an_event(f"e-{number}") for number in range(3)]
    headers = {"Content-Type": BATCH}
    first = await client.post("/v1/changes", data=json.dumps(events), headers=headers)
    again = await client.post("/v1/changes", data=json.dumps(events), headers=headers)
    assert (first.status, again.status) == (202, 200)
    assert [change["request_id"] for change in (await first.json())["changes"]] == ["e-0", "e-1", "e-2"]
    wrong = [an_event("e-4"), an_event("e-5", type="other")]
    response = await client.post("/v1/changes", data=json.dumps(wrong), headers=headers)
    assert (response.status, (await response.json())["field"]) == (422, "1.type")
    assert ids(parts) == ["e-0", "e-1", "e-2"]


@pytest.mark.parametrize(
    ("headers", "status", "field"),
    [
        (in_headers(type="order.placed"), 422, "type"),
        (in_headers(id="%C0%A0"), 422, "id"),
        (in_headers() | {"Content-Type": "text/plain"}, 422, "datacontenttype"),
        (in_headers() | {"Content-Type": "application/cloudevents+avro"}, 415, "Content-Type"),
        (in_headers(type="order.placed") | {"Idempotency-Key": "e-1"}, 422, "type"),
        (in_headers() | {"Idempotency-Key": "another"}, 400, "Idempotency-Key"),
    ],
)
async def test_what_is_no_request_is_refused(
    client: Client, parts: FakeParts, headers: dict[str, str], status: int, field: str
) -> None:
    """An event of another type, with broken attributes or with a key that is not its id is told, key or not."""
    sent = {"Content-Type": "application/json"} | headers
    response = await client.post("/v1/changes", data=json.dumps(DATA), headers=sent)
    assert (response.status, (await response.json())["field"]) == (status, field)
    assert ids(parts) == []


async def test_the_same_id_with_other_data_is_refused(client: Client) -> None:
    """An event that is known with other data answers 422 and names the id."""
    await client.post("/v1/changes", json=DATA, headers=in_headers())
    response = await client.post("/v1/changes", json=DATA | {"members": [KEYS[1]]}, headers=in_headers())
    assert (response.status, (await response.json())["field"]) == (422, "id")


async def test_an_attribute_twice_is_refused(client: Client) -> None:
    """Which of two ids is meant can't be told."""
    headers = [*in_headers().items(), ("ce-id", "e-2")]
    response = await client.post("/v1/changes", json=DATA, headers=headers)
    assert (response.status, (await response.json())["field"]) == (400, "ce-id")


async def test_an_event_with_its_id_as_the_key_is_taken(client: Client, parts: FakeParts) -> None:
    """A client that always sends a key sends the event's id."""
    headers = in_headers() | {"Idempotency-Key": '"e-1"'}
    assert (await client.post("/v1/changes", json=DATA, headers=headers)).status == 202
    assert ids(parts) == ["e-1"]
