"""Requests as they come in: what is accepted, what is refused and how it is said."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.intake.request_mistakes import MAX_DEADLINE_SECONDS, MAX_MEMBERS
from orchestrator.engine.intake.requests import (
    MAX_BODY_BYTES,
    REQUEST_TYPE,
    ChangeRequest,
    InvalidRequestError,
    checked_request_id,
    parse_batch,
    parse_json,
    parse_request,
    parse_trigger,
)
from orchestrator.engine.messages.cloud_events import AMQP, HTTP, NATS, Binding
from orchestrator.membership.model import Kind, Repair

GROUP = base64.b64encode(b"g" * 32).decode()
KEY = base64.b64encode(b"k" * 32).decode()
EC_KEY = base64.b64encode(b"e" * 91).decode()
ACCOUNT = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"
ADD: dict[str, Any] = {"kind": "add_members", "privacy_group_id": GROUP, "members": [KEY]}
HASH = "0x" + "1F" * 32
CURE = ADD | {"kind": "cure_group", "transaction": HASH, "reason": "a stranger copied the marker"}


def an_envelope(data: object = ADD, **attributes: object) -> bytes:
    event = {"specversion": "1.0", "id": "r-1", "source": "/test", "type": REQUEST_TYPE, "data": data} | attributes
    return json.dumps({name: value for name, value in event.items() if value != "left out"}).encode()


def test_all_mistakes_are_told_at_once() -> None:
    """The field is the first wrong one, and the message names the others, a bounded number of them."""
    wrong = {"kind": "add", "privacy_group_id": "short", "members": ["x"] * 9, "account": "0x1", "deadline_seconds": 0}
    error = refusal(an_envelope(wrong))
    assert error.field == "data.kind"
    for said in ("must be one of", "data.privacy_group_id must be canonical base64", "data.members.0 must be", "…"):
        assert said in error.message
    assert error.message.count(";") == 5


def binary_headers(**more: str) -> dict[str, str]:
    return {"ce-specversion": "1.0", "ce-id": "r-1", "ce-source": "/test", "ce-type": REQUEST_TYPE} | more


def refusal(body: bytes, headers: Mapping[str, str] | None = None) -> InvalidRequestError:
    with pytest.raises(InvalidRequestError) as caught:
        parse_trigger(body, headers or {})
    return caught.value


def test_a_structured_event_is_read() -> None:
    """A CloudEvents JSON document becomes a request with everything that it says."""
    request = parse_trigger(
        an_envelope(ADD | {"members": [KEY, EC_KEY], "account": ACCOUNT, "deadline_seconds": 60}, subject="x", ext="y"),
        {"content-type": "application/cloudevents+json; charset=utf-8"},
    )
    assert request == ChangeRequest(
        request_id="r-1",
        source="/test",
        kind=Kind.ADD_MEMBERS,
        privacy_group_id=GROUP,
        members=(KEY, EC_KEY),
        account=ACCOUNT,
        deadline_seconds=60,
    )
    assert request.deadline is not None
    assert request.deadline.total_seconds() == 60


@pytest.mark.parametrize(
    ("headers", "binding"),
    [
        (binary_headers(**{"ce-id": "r%201%C3%A9"}), HTTP),
        (binary_headers(**{"ce-id": "r%201%C3%A9"}), NATS),
        ({f"cloudevents:{n.removeprefix('ce-')}": v for n, v in binary_headers(**{"ce-id": "r 1é"}).items()}, AMQP),
        ({f"cloudevents_{n.removeprefix('ce-')}": v for n, v in binary_headers(**{"ce-id": "r 1é"}).items()}, AMQP),
        (binary_headers(**{"ce-id": "r 1é"}), AMQP),
    ],
    ids=["http", "nats", "amqp", "amqp, other spelling", "amqp, HTTP's headers"],
)
def test_a_binary_event_is_read(headers: dict[str, str], binding: Binding) -> None:
    """With attributes in headers and the data as the body it is the same; HTTP and NATS headers are percent-encoded."""
    request = parse_trigger(json.dumps(ADD).encode(), headers | {"content-type": "application/json"}, binding)
    assert request == parse_request("r 1é", ADD, source="/test")


@pytest.mark.parametrize("binding", [HTTP, NATS, AMQP])
def test_a_request_says_in_which_trace_it_is(binding: Binding) -> None:
    """The event's own attribute goes first, then what carried it says; what is no trace is as if it were not there."""
    own, carried = (f"00-{digit * 32}-{digit * 16}-01" for digit in "ab")
    structured = {"content-type": "application/cloudevents+json"}
    for attributes, headers, wanted in (
        ({"traceparent": own, "tracestate": "v=1"}, {"traceparent": carried}, own),
        ({}, {"traceparent": carried, "tracestate": "v=1"}, carried),
        ({}, {"ce-traceparent": carried, "ce-tracestate": "v=1"}, carried),
        ({"traceparent": "no trace"}, {"traceparent": "none either"}, None),
    ):
        request = parse_trigger(an_envelope(**attributes), structured | headers, binding)
        assert (None if request.trace is None else request.trace.traceparent) == wanted
        assert request.trace is None or request.trace.state == "v=1"
        assert request.body_hash == parse_trigger(an_envelope(), {}).body_hash
    binary = {"content-type": "application/json", "traceparent": carried} | {
        f"{binding.prefixes[-1]}{name}": str(value)
        for name, value in json.loads(an_envelope(traceparent=own)).items()
        if name != "data"
    }
    request = parse_trigger(json.dumps(ADD).encode(), binary, binding)
    assert request.trace is not None
    assert request.trace.traceparent == own


def test_data_may_be_encoded_in_base64() -> None:
    """CloudEvents' JSON format allows data_base64 instead of data."""
    encoded = base64.b64encode(json.dumps(ADD).encode()).decode()
    assert parse_trigger(an_envelope("left out", data_base64=encoded), {}) == parse_request("r-1", ADD, source="/test")


@pytest.mark.parametrize(
    ("data", "field", "said"),
    [
        (ADD | {"kind": "explode"}, "data.kind", "add_members"),
        ({"members": [KEY]}, "data.kind", "required"),
        (ADD | {"privacy_group_id": "AAAA"}, "data.privacy_group_id", "32 bytes"),
        (ADD | {"privacy_group_id": GROUP[:-1]}, "data.privacy_group_id", "32 bytes"),
        (ADD | {"privacy_group_id": EC_KEY}, "data.privacy_group_id", "32 bytes"),
        (ADD | {"privacy_group_id": GROUP[:-2] + "d="}, "data.privacy_group_id", "canonical"),
        (ADD | {"privacy_group_id": 7}, "data.privacy_group_id", "text"),
        ({"kind": "add_members", "members": [KEY]}, "data.privacy_group_id", "required"),
        (ADD | {"members": []}, "data.members", "at least one"),
        (ADD | {"members": KEY}, "data.members", "list"),
        (ADD | {"members": [KEY, "AAAA"]}, "data.members.1", "91 bytes"),
        (ADD | {"members": [KEY, None]}, "data.members.1", "text"),
        (ADD | {"members": [KEY, EC_KEY, KEY]}, "data.members", "more than once"),
        (ADD | {"members": [KEY] * (MAX_MEMBERS + 1)}, "data.members", "at most 64"),
        ({"kind": "unlock_group", "privacy_group_id": GROUP, "members": [KEY]}, "data.members", "left out"),
        (ADD | {"transaction": HASH}, "data.transaction", "for cure_group only"),
        ({**CURE, "transaction": None}, "data.transaction", "required for cure_group"),
        (CURE | {"transaction": "0x12"}, "data.transaction", "64 hexadecimal digits"),
        (CURE | {"reason": " "}, "data.reason", "required for cure_group"),
        (CURE | {"deadline_seconds": 60}, "data.deadline_seconds", "left out for cure_group"),
        ({**CURE, "members": []}, "data.members", "at least one"),
        (ADD | {"account": "0x12"}, "data.account", "40 hexadecimal digits"),
        (ADD | {"deadline_seconds": 0}, "data.deadline_seconds", "1 to 604800"),
        (ADD | {"deadline_seconds": MAX_DEADLINE_SECONDS + 1}, "data.deadline_seconds", "1 to 604800"),
        (ADD | {"deadline_seconds": 1.5}, "data.deadline_seconds", "whole number"),
        (ADD | {"deadline_seconds": True}, "data.deadline_seconds", "whole number"),
        (ADD | {"deadline_seconds": "60"}, "data.deadline_seconds", "whole number"),
        (ADD | {"surprise": 1}, "data.surprise", "not a known field"),
        ([], "data", "object"),
        ("add", "data", "object"),
    ],
)
def test_each_mistake_in_the_data_is_named(data: object, field: str, said: str) -> None:
    """What is asked for is refused with the field that is wrong and what it should be; the id is still told."""
    error = refusal(an_envelope(data))
    assert error.field == field
    assert said in error.message
    assert str(error) == f"{field} {error.message}"
    assert error.request_id == "r-1"


def test_the_group_of_a_refused_request_is_told_when_it_is_valid() -> None:
    """A refusal belongs to the group that the request names, if that much is right."""
    assert refusal(an_envelope(ADD | {"kind": "explode"})).privacy_group_id == GROUP
    assert refusal(an_envelope(ADD | {"privacy_group_id": "x"})).privacy_group_id is None


@pytest.mark.parametrize(
    ("body", "headers", "field"),
    [
        (b"x" * (MAX_BODY_BYTES + 1), {}, "body"),
        (b"", {}, "body"),
        (b"{", {}, "body"),
        (b"\xff\xfe{}", {}, "body"),
        (b"[]", {}, "body"),
        (b'{"a": NaN}', {}, "body"),
        (b"[" * 200_000, {}, "body"),
        (b'{"id": "1", "id": "2"}', {}, "body"),
        (b'{"a": ' + b"9" * 5000 + b"}", {}, "body"),
        (an_envelope(), {"content-type": "application/cloudevents+avro"}, "content-type"),
        (an_envelope(), {"content-type": "application/cloudevents-batch+json"}, "content-type"),
        (an_envelope(id="left out"), {}, "id"),
        (an_envelope(id=""), {}, "id"),
        (an_envelope(id=7), {}, "id"),
        (an_envelope(id="i" * 257), {}, "id"),
        (an_envelope(id="a\nb"), {}, "id"),
        (an_envelope(id="a\x00b"), {}, "id"),
        (an_envelope(id="\ud800"), {}, "id"),
        (an_envelope(specversion="0.3"), {}, "specversion"),
        (an_envelope(type="other"), {}, "type"),
        (an_envelope(source=""), {}, "source"),
        (an_envelope(datacontenttype="text/plain"), {}, "datacontenttype"),
        (an_envelope(Upper=1), {}, "'Upper'"),
        (an_envelope("left out"), {}, "data"),
        (an_envelope("left out", data_base64="%"), {}, "data_base64"),
        (an_envelope(data_base64="e30="), {}, "data_base64"),
        (json.dumps(ADD).encode(), binary_headers(**{"content-type": "text/plain"}), "datacontenttype"),
        (b"not json", binary_headers(), "data"),
    ],
)
def test_each_mistake_in_the_envelope_is_named(body: bytes, headers: dict[str, str], field: str) -> None:
    """What is no such CloudEvent is refused with the attribute that is wrong."""
    assert refusal(body, headers).field == field


def test_a_cure_is_bound_to_the_addition_that_it_cures() -> None:
    """The change carries whom it removes and adds again, and why; the reason is for the audit log alone."""
    asked = parse_request("1", CURE)
    assert asked.repair == Repair(members=(KEY,), since_block=0, stale_pmt=HASH.lower())
    assert asked.body_hash == parse_request("1", CURE | {"reason": "again"}).body_hash
    assert asked.body_hash != parse_request("1", CURE | {"transaction": "0x" + "2f" * 32}).body_hash
    assert parse_request("1", ADD).repair is None


def test_unlocking_and_creating_may_leave_out_what_they_do_not_need() -> None:
    """unlock_group names no members; create_group may leave its id to be chosen."""
    assert parse_request("1", {"kind": "unlock_group", "privacy_group_id": GROUP}).members == ()
    assert parse_request("1", {"kind": "create_group", "members": [KEY]}).privacy_group_id is None


def test_the_hash_is_that_of_what_is_asked_for() -> None:
    """Layout, order of fields, absent or null fields, the letters' case of the account and the id don't change it."""
    request = parse_request("1", ADD | {"account": ACCOUNT})
    same = parse_trigger(
        an_envelope({"account": ACCOUNT.lower(), "deadline_seconds": None, **dict(reversed(ADD.items()))}, id="2"), {}
    )
    assert same.body_hash == request.body_hash
    assert len(request.body_hash) == 64


@pytest.mark.parametrize("other", [{"members": [EC_KEY]}, {"kind": "remove_members"}, {"deadline_seconds": 5}])
def test_another_request_has_another_hash(other: dict[str, Any]) -> None:
    """Whatever is asked for is in the hash."""
    assert parse_request("1", ADD | other).body_hash != parse_request("1", ADD).body_hash


def test_a_whole_number_may_be_written_with_a_point() -> None:
    """60.0 is 60: the same request, and the same change."""
    whole, pointed = (parse_request("r", ADD | {"deadline_seconds": seconds}) for seconds in (60, 60.0))
    assert (whole, whole.body_hash) == (pointed, pointed.body_hash)


def test_a_batch_is_valid_as_a_whole() -> None:
    """Each event of a batch becomes a request; when one is not valid its place is named, and none is taken."""
    events = [json.loads(an_envelope(id=f"r-{number}")) for number in range(3)]
    assert [request.request_id for request in parse_batch(json.dumps(events).encode())] == ["r-0", "r-1", "r-2"]
    events[1]["data"] = ADD | {"members": []}
    with pytest.raises(InvalidRequestError) as refused:
        parse_batch(json.dumps(events).encode())
    assert (refused.value.field, refused.value.request_id) == ("1.data.members", "r-1")
    events[1] |= {"id": "r-0", "data": events[0]["data"]}
    assert [request.request_id for request in parse_batch(json.dumps(events).encode())] == ["r-0", "r-0", "r-2"]
    events[2] |= {"id": "r-0", "data": ADD | {"kind": "remove_members"}}
    with pytest.raises(InvalidRequestError) as refused:
        parse_batch(json.dumps(events).encode())
    assert (refused.value.field, refused.value.request_id) == ("2.id", "r-0")
    for wrong in (b"{}", b" " * (MAX_BODY_BYTES + 1)):
        with pytest.raises(InvalidRequestError, match="body"):
            parse_batch(wrong)


def test_plain_json_is_parsed_as_strictly() -> None:
    """The body of an HTTP request meets the same rules."""
    assert parse_json(b'{"a": [1]}') == {"a": [1]}
    for bad in (b'{"a": 1, "a": 2}', b"Infinity", b"x" * (MAX_BODY_BYTES + 1)):
        with pytest.raises(InvalidRequestError):
            parse_json(bad)
    with pytest.raises(InvalidRequestError, match="Idempotency-Key"):
        checked_request_id("", field="Idempotency-Key")


@pytest.mark.parametrize("depth", [100, 900, 980, 1000, 50_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    """However deep a document is nested, it is refused and not followed down."""
    body = an_envelope("left out")[:-1] + b', "data": ' + b"[" * depth + b"]" * depth + b"}"
    assert refusal(body).field in {"body", "data"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary(max_size=200), st.dictionaries(st.sampled_from([*binary_headers(), "content-type"]), st.text()))
def test_no_bytes_do_more_than_be_refused(body: bytes, headers: dict[str, str]) -> None:
    """Whatever comes in is a request or an InvalidRequestError."""
    with pytest.raises(InvalidRequestError):
        parse_trigger(body, headers)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys((*ADD, "account", "deadline_seconds", "x"), json_values)))
def test_no_data_does_more_than_be_refused(data: dict[str, Any]) -> None:
    """Whatever JSON is asked for is a request or an InvalidRequestError with one line."""
    with pytest.raises(InvalidRequestError) as caught:
        parse_trigger(an_envelope(data), {})
    assert "\n" not in str(caught.value)


@given(
    st.sampled_from([kind for kind in Kind if kind not in (Kind.UNLOCK_GROUP, Kind.CURE_GROUP)]),
    st.binary(min_size=32, max_size=32),
    st.lists(st.binary(min_size=32, max_size=32) | st.binary(min_size=91, max_size=91), min_size=1, unique=True),
)
def test_every_valid_request_is_accepted(kind: Kind, group: bytes, members: list[bytes]) -> None:
    """Any group id of 32 bytes and any keys of 32 or 91 bytes are read as they are."""
    keys = [base64.b64encode(member).decode() for member in members][:MAX_MEMBERS]
    data = {"kind": kind.value, "privacy_group_id": base64.b64encode(group).decode(), "members": keys}
    request = parse_trigger(an_envelope(data), {})
    assert (request.kind, list(request.members)) == (kind, keys)
