"""CloudEvents as each protocol carries them: modes, names and values of attributes, and what is no event."""

import base64
import json
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engine.messages.cloud_events import (
    AMQP,
    BATCH_TYPE,
    HTTP,
    MOST_EVENTS,
    NATS,
    STRUCTURED_TYPE,
    Binding,
    CloudEvent,
    InvalidEventError,
    decode,
    decode_batch,
    is_event,
)

EVENT: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"a": 1}}
BINDINGS = (HTTP, NATS, AMQP)


def body(**more: object) -> bytes:
    return json.dumps(EVENT | more).encode()


def in_headers(prefix: str, **more: str) -> dict[str, str]:
    return {f"{prefix}{name}": value for name, value in {**EVENT, **more}.items() if name != "data"}


@pytest.mark.parametrize("binding", BINDINGS, ids=lambda binding: binding.name)
@pytest.mark.parametrize(
    "content_type",
    [STRUCTURED_TYPE, "Application/CloudEvents+JSON", "application/cloudevents+json; charset=UTF-8", ""],
)
def test_structured_mode_reads_the_document(binding: Binding, content_type: str) -> None:
    """The document is the event; extension attributes are among the others."""
    found = decode(body(ext="x"), {"content-type": content_type} if content_type else {}, binding)
    assert (found.attributes["id"], found.attributes["ext"], found.data()) == ("1", "x", {"a": 1})


@pytest.mark.parametrize("binding", BINDINGS, ids=lambda binding: binding.name)
def test_the_content_type_alone_decides_the_mode(binding: Binding) -> None:
    """Attributes in headers beside a structured document, as tracing puts them there, don't make it a binary one."""
    headers = {"content-type": STRUCTURED_TYPE, "ce-traceparent": "00-1-2-01", "ce-id": "another"}
    assert decode(body(), headers, binding).attributes["id"] == "1"


@pytest.mark.parametrize(
    ("binding", "prefix"), [(HTTP, "ce-"), (NATS, "ce-"), (AMQP, "cloudevents:"), (AMQP, "cloudevents_"), (AMQP, "ce-")]
)
def test_binary_mode_reads_the_headers(binding: Binding, prefix: str) -> None:
    """Attributes stand in headers, the body is the data; its content type is that of the data."""
    headers = in_headers(prefix) | {"content-type": "application/json; charset=utf-8", "traceparent": "x"}
    found = decode(b'{"a": 1}', headers, binding)
    assert found.attributes == {name: EVENT[name] for name in EVENT if name != "data"} | {
        "datacontenttype": "application/json; charset=utf-8"
    }
    assert found.data() == {"a": 1}
    found.checked_type("t")


def test_a_message_without_content_type_has_json() -> None:
    """SDKs leave the content type out where the event has no datacontenttype; JSON is the default."""
    found = decode(b"{}", in_headers("ce-"), HTTP)
    found.checked_type("t")
    assert found.data() == {}
    assert "datacontenttype" not in found.attributes


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("plain", "plain"),
        ('"quoted"', "quoted"),
        (r'"a \"b\" \\ c"', r'a "b" \ c'),
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ('"in%20both"', "in both"),
        ("%2541", "%41"),
        ("100%", "100%"),
        ("a%zz", "a%zz"),
        ("größer", "größer"),
    ],
)
@pytest.mark.parametrize("binding", [HTTP, NATS], ids=lambda binding: binding.name)
def test_values_of_headers_are_decoded_once(binding: Binding, sent: str, meant: str) -> None:
    """First quotes, then one round of percent-encoding are undone; over AMQP the value is what it is."""
    assert decode(b"{}", in_headers("ce-", id=sent), binding).attributes["id"] == meant
    assert decode(b"{}", in_headers("ce-", id=sent), AMQP).attributes["id"] == sent


@pytest.mark.parametrize("sent", ["%C0%A0", "%ED%A0%80", "%FF", "%F4%90%80%80", "\udcff", '"open', '"a"b'])
def test_what_is_no_text_is_refused(sent: str) -> None:
    """Overlong and broken UTF-8 and open quotes are told, and not taken for something near."""
    with pytest.raises(InvalidEventError) as refused:
        decode(b"{}", in_headers("ce-", id=sent), HTTP)
    assert refused.value.field == "id"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_what_a_sender_encodes_is_read_as_it_was(text: str) -> None:
    """Whatever text a sender percent-encodes as the binding says comes out the same."""
    encoded = quote(text, safe=" !#$&'()*+,/:;=?@[]")
    assert decode(b"{}", in_headers("ce-", subject=encoded), HTTP).attributes["subject"] == text


@pytest.mark.parametrize(
    ("headers", "binding"),
    [
        ({"ce-id": "1", "Ce-Id": "2"}, NATS),
        ({"cloudevents:id": "1", "cloudevents_id": "1"}, AMQP),
        ({"cloudevents:id": "1", "ce-id": "2"}, AMQP),
    ],
)
def test_an_attribute_that_is_there_twice_is_refused(headers: dict[str, str], binding: Binding) -> None:
    """Which of the two is meant can't be told."""
    with pytest.raises(InvalidEventError, match="id is there twice"):
        decode(b"{}", headers, binding)


def test_null_is_not_set() -> None:
    """An attribute that is null in a document is one that was left out; so is data_base64."""
    found = decode(body(subject=None, datacontenttype=None, data_base64=None), {}, NATS)
    assert set(found.attributes) == set(EVENT)
    assert found.data() == {"a": 1}


def test_a_byte_order_mark_is_no_mistake() -> None:
    """Some programs write one before each document."""
    assert decode(b"\xef\xbb\xbf" + body(), {}, NATS).attributes["id"] == "1"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"specversion": "0.3"}, "specversion"),
        ({"specversion": 1.0}, "specversion"),
        ({"type": "other"}, "type"),
        ({"datacontenttype": "text/xml"}, "datacontenttype"),
        ({"datacontenttype": 7}, "datacontenttype"),
        ({"With-Dash": "x"}, "'With-Dash'"),
        ({"data_base64": "e30="}, "data_base64"),
    ],
)
def test_what_is_no_such_event_is_told(changed: dict[str, object], field: str) -> None:
    """The attribute that is wrong is named."""
    found = decode(body(**changed), {}, NATS)
    with pytest.raises(InvalidEventError) as refused:
        (found.data if field == "data_base64" else partial(found.checked_type, "t"))()
    assert refused.value.field == field


@pytest.mark.parametrize("encoded", ["e30", "é", "e30=\n", 7])
def test_base64_is_read_strictly(encoded: object) -> None:
    """What is no base64 is not guessed at; what is, is read as JSON."""
    found = CloudEvent(attributes={"data_base64": encoded})
    with pytest.raises(InvalidEventError):
        found.data()
    assert CloudEvent(attributes={"data_base64": base64.b64encode(b"[1]").decode()}).data() == [1]


@pytest.mark.parametrize("binding", BINDINGS, ids=lambda binding: binding.name)
@pytest.mark.parametrize("content_type", ["application/cloudevents+avro", "application/cloudevents", BATCH_TYPE])
def test_other_formats_are_refused(binding: Binding, content_type: str) -> None:
    """A format that is not read here, and a batch where one event is read, are no data of something else."""
    with pytest.raises(InvalidEventError, match="content-type"):
        decode(body(), {"content-type": content_type}, binding)


def test_a_batch_is_a_list_of_events() -> None:
    """Its events come in their order; no list, an empty one and one that is too long are none."""
    assert [
        found.attributes["id"] for found in decode_batch(f"[{body().decode()},{body(id='2').decode()}]".encode())
    ] == [
        "1",
        "2",
    ]
    for wrong in (b"{}", b"[]", b"[1]", b"x", json.dumps([EVENT] * (MOST_EVENTS + 1)).encode()):
        with pytest.raises(InvalidEventError) as refused:
            decode_batch(wrong)
        assert refused.value.field == "body"


def test_a_message_shows_whether_it_is_an_event() -> None:
    """Its content type or one attribute in its headers tells; a plain body has neither."""
    assert is_event({"content-type": "application/cloudevents-batch+json"}, HTTP)
    assert is_event({"content-type": "application/json", "ce-id": "1"}, HTTP)
    assert not is_event({"content-type": "application/json", "cloudevents:id": "1"}, HTTP)
