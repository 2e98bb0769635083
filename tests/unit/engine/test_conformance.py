"""The cases by which CloudEvents' conformance suite tries an SDK (github.com/cloudevents/conformance), tried here.

Cases of one kind stand together; names, values and what holds for them are the suite's, in a request of ours.
"""

import base64
import json
from typing import Any

import pytest

from orchestrator.engine.intake.requests import REQUEST_TYPE, InvalidRequestError, parse_batch, parse_trigger
from orchestrator.engine.messages.cloud_events import (
    AMQP,
    BATCH_TYPE,
    HTTP,
    NATS,
    STRUCTURED_TYPE,
    Binding,
    InvalidEventError,
    decode,
    decode_batch,
)

BINDINGS = (HTTP, NATS, AMQP)
MINIMAL: dict[str, Any] = {
    "specversion": "1.0",
    "id": "minimal",
    "type": "io.cloudevents.test",
    "source": "https://e.org",
}
ASKED = {"kind": "unlock_group", "privacy_group_id": base64.b64encode(bytes(32)).decode()}
MISSING = object()

VALID: dict[str, dict[str, Any]] = {
    "minimal": {},
    "optional ones that are null": dict.fromkeys(("datacontenttype", "dataschema", "subject", "time")),
    "every attribute": {
        "datacontenttype": "application/json",
        "dataschema": "https://e.org/schema",
        "subject": "tests",
        "time": "2018-04-05T17:31:00Z",
    },
    "time to the nanosecond": {"time": "2018-04-05T17:31:00.000000000Z"},
    "time ahead": {"time": "2018-04-05T18:31:00+01:00"},
    "time behind": {"time": "2018-04-05T16:31:00-01:00"},
    "relative source": {"source": "#fragment"},
    "extensions of all types": {
        "extinteger": 10,
        "extboolean": True,
        "extstring": "text",
        "exturi": "https://e.org",
        "exturiref": "//authority/path",
        "exttimestamp": "2023-03-31T15:12:00Z",
        "extbinary": "TWE=",
    },
}
INVALID: dict[str, tuple[str, object]] = {
    **{f"no {name}": (name, MISSING) for name in MINIMAL},
    **{f"empty {name}": (name, "") for name in (*MINIMAL, "datacontenttype", "dataschema", "subject")},
    **{
        f"time {said}": ("time", said)
        for said in (
            "lunchtime",
            "2018-04-05T18:31Z",
            "2018-04-05T18:31:00X",
            "2018-04-05T18:31:00+25:00",
            "2018-04-05T18:31:00+xx:00",
            "2018-04-05T18:31:00+05",
        )
    },
    "unknown version": ("specversion", "0.9"),
    "content type that is none": ("datacontenttype", "xyz"),
    "id that is a number": ("id", 25),
    "id that is an object": ("id", {"xyz": "abc"}),
    "capitals in a name": ("MyExtension", "bad"),
    "a point in a name": ("my.extension", "bad"),
    "an extension that is no whole number": ("extension", 1.5),
    "data twice": ("data_base64", "eyAieHl6IjogMTIzIH0="),
}


@pytest.mark.parametrize("binding", BINDINGS, ids=lambda binding: binding.name)
@pytest.mark.parametrize("case", VALID)
def test_valid_events_are_read(case: str, binding: Binding) -> None:
    """Attributes are as they were sent; one that is null was not."""
    sent = MINIMAL | VALID[case]
    found = decode(json.dumps(sent).encode(), {"content-type": STRUCTURED_TYPE}, binding)
    found.checked_type("io.cloudevents.test")
    assert found.attributes == {name: value for name, value in sent.items() if value is not None}
    ours = MINIMAL | {"type": REQUEST_TYPE, "data": ASKED} | VALID[case]
    assert parse_trigger(json.dumps(ours).encode(), {"content-type": STRUCTURED_TYPE}, binding).request_id == "minimal"


@pytest.mark.parametrize("case", INVALID)
def test_invalid_events_are_refused(case: str) -> None:
    """What is no CloudEvent is refused, and the attribute named, alone and in a batch."""
    name, value = INVALID[case]
    event = MINIMAL | {"type": REQUEST_TYPE, "data": ASKED} | {name: value}
    event = {name: value for name, value in event.items() if value is not MISSING}
    with pytest.raises(InvalidRequestError) as refused:
        parse_trigger(json.dumps(event).encode(), {"content-type": STRUCTURED_TYPE})
    assert name in refused.value.field
    sound = MINIMAL | {"id": "another", "type": REQUEST_TYPE, "data": ASKED}
    with pytest.raises(InvalidRequestError) as refused:
        parse_batch(json.dumps([sound, event]).encode())
    assert refused.value.field.startswith("1.")


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
def test_binary_content_mode(content_type: str) -> None:
    """Each header with the prefix is an attribute, and the content type is that of the data, parameters and all."""
    attributes = {
        "specversion": "1.0",
        "type": "com.example.someevent",
        "time": "2018-04-05T03:56:24Z",
        "id": "1234-1234-1234",
        "source": "/mycontext/subcontext",
    }
    headers = {f"ce-{name}": value for name, value in attributes.items()} | {"host": "e.org", "content-length": "33"}
    found = decode(b'{\n    "message": "Hello World!"\n}', headers | {"content-type": content_type}, HTTP)
    assert found.attributes == attributes | {"datacontenttype": content_type}
    assert found.data() == {"message": "Hello World!"}


@pytest.mark.parametrize("content_type", [STRUCTURED_TYPE, f"{STRUCTURED_TYPE}; charset=utf-8"])
def test_structured_content_mode(content_type: str) -> None:
    """The document has attributes and data."""
    sent = MINIMAL | {"datacontenttype": "application/json", "data": {"message": "Hello World!"}}
    found = decode(json.dumps(sent).encode(), {"content-type": content_type, "host": "e.org"}, HTTP)
    assert {name: value for name, value in sent.items() if name != "data"}.items() <= found.attributes.items()
    assert found.data() == {"message": "Hello World!"}


def test_data_that_is_text_is_told_from_json() -> None:
    """An event with text as its data is one, and no request: its content type says so."""
    sent = MINIMAL | {"datacontenttype": "text/plain", "data": "Simple text"}
    found = decode(json.dumps(sent).encode(), {"content-type": STRUCTURED_TYPE}, HTTP)
    assert found.data() == "Simple text"
    with pytest.raises(InvalidEventError, match="datacontenttype"):
        found.checked_type("io.cloudevents.test")


def test_batches() -> None:
    """A list of events is a batch; with anything else in it, it is none."""
    assert [found.attributes for found in decode_batch(json.dumps([MINIMAL, MINIMAL]).encode())] == [MINIMAL, MINIMAL]
    with pytest.raises(InvalidEventError):
        decode_batch(json.dumps(["not an object", MINIMAL]).encode())
    with pytest.raises(InvalidEventError):
        decode(json.dumps([MINIMAL]).encode(), {"content-type": BATCH_TYPE}, NATS)
