"""CloudEvents 1.0 as they come in: one decoder, and a table of what differs between protocols. Pure.

The content type alone decides the mode: ``application/cloudevents+json`` is a whole event, ``…-batch+json`` a list of
them, anything else the data of an event whose attributes stand in headers (CloudEvents 1.0.2, its JSON format and its
HTTP and NATS bindings, section 3; those of AMQP and Kafka have no percent-encoding).
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from orchestrator.engine.messages.strict_json import StrictJsonError, load, shown

STRUCTURED_TYPE: Final = "application/cloudevents+json"
BATCH_TYPE: Final = "application/cloudevents-batch+json"
MOST_EVENTS: Final = 64
"""Events that a batch may hold."""

_EVENT_TYPES: Final = "application/cloudevents"
_ATTRIBUTE: Final = re.compile(r"[a-z0-9]+\Z")
_JSON_TYPE: Final = re.compile(r"[a-z]+/(?:[a-z0-9.-]+\+)?json\Z")
# RFC 3339; whether a month has so many days is not asked.
_TIME: Final = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?"
    r"(Z|[+-]([01]\d|2[0-3]):[0-5]\d)\Z",
    re.ASCII | re.IGNORECASE,
)
_NOT_EMPTY: Final = ("subject", "dataschema")
_DATA: Final = ("data", "data_base64")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """How a protocol carries events.

    Attributes:
        name: The protocol's.
        prefixes: What stands before an attribute's name in a header (in binary mode), lower case.
        encoded: Whether headers are percent-encoded and may be quoted; text as it is otherwise.
    """

    name: str
    prefixes: tuple[str, ...]
    encoded: bool


HTTP: Final = Binding(name="HTTP", prefixes=("ce-",), encoded=True)
NATS: Final = Binding(name="NATS", prefixes=("ce-",), encoded=True)
# CloudEvents binds AMQP 1.0; those who send its properties by AMQP 0.9.1, or HTTP's headers, send text as it is.
AMQP: Final = Binding(name="AMQP", prefixes=("cloudevents:", "cloudevents_", "ce-"), encoded=False)
KAFKA: Final = Binding(name="Kafka", prefixes=("ce_",), encoded=False)


class InvalidEventError(ValueError):
    """What came in is no CloudEvent.

    Attributes:
        field: The attribute, or ``body``, ``data``, ``content-type``.
        message: What it should be, to be read after the field.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudEvent:
    """One event as it came; its attributes are not checked, apart from being no more than once there.

    Attributes:
        attributes: What was said of it; an attribute that is null was not said.
        body: The data's bytes (binary mode); None when the document has it.
    """

    attributes: Mapping[str, object]
    body: bytes | None = None

    def data(self) -> object:
        """Return the data, which has to be JSON.

        Raises:
            InvalidEventError: It is not, or there is none.
        """
        if self.body is not None:
            return _load(self.body, "data")
        document = self.attributes
        if "data_base64" in document:
            encoded = document["data_base64"]
            if "data" in document or not isinstance(encoded, str):
                raise InvalidEventError("data_base64", "must be text, and stand instead of data")
            try:
                return _load(base64.b64decode(encoded, validate=True), "data_base64")
            except InvalidEventError:
                raise
            except ValueError:  # binascii.Error is one; text that is not ASCII raises another
                raise InvalidEventError("data_base64", "is no base64") from None
        if "data" not in document:
            raise InvalidEventError("data", "is required: it says what is asked for")
        return document["data"]

    def checked_type(self, wanted: str) -> None:
        """Refuse an event of another type or version, with names that are no attributes', or whose data is no JSON.

        Raises:
            InvalidEventError: It is one.
        """
        for name, value in self.attributes.items():
            if name not in _DATA:
                _check_attribute(name, value)
        version = self.attributes.get("specversion")
        if version != "1.0":
            raise InvalidEventError("specversion", f'must be "1.0", not {shown(version)}')
        if self.attributes.get("type") != wanted:
            raise InvalidEventError("type", f"must be {wanted}, not {shown(self.attributes.get('type'))}")
        content_type = self.attributes.get("datacontenttype")
        if content_type is not None and not (isinstance(content_type, str) and _JSON_TYPE.match(media(content_type))):
            raise InvalidEventError("datacontenttype", f"must be application/json, not {shown(content_type)}")


def _check_attribute(name: str, value: object) -> None:
    """Refuse what the specification says no attribute can be; what its own conformance cases hold invalid."""
    if not _ATTRIBUTE.match(name):
        raise InvalidEventError(shown(name), "is no name of a CloudEvents attribute: lower-case letters, digits")
    if not isinstance(value, str | int):
        raise InvalidEventError(name, "must be text, a whole number or a boolean, as attributes are")
    if name in _NOT_EMPTY and not (isinstance(value, str) and value):
        raise InvalidEventError(name, "must be text that is not empty, or be left out")
    if name == "time" and not (isinstance(value, str) and _TIME.match(value)):
        raise InvalidEventError(name, f"must be a time as RFC 3339 writes it, not {shown(value)}")


def media(content_type: str) -> str:
    """Return a content type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def is_event(headers: Mapping[str, str], binding: Binding) -> bool:
    """Whether a message is meant as a CloudEvent: its content type says so, or it has attributes in its headers."""
    return media(headers.get("content-type", "")).startswith(_EVENT_TYPES) or any(
        name.lower().startswith(binding.prefixes) for name in headers
    )


def decode(body: bytes, headers: Mapping[str, str], binding: Binding) -> CloudEvent:
    """Read one event; a message without any sign of the mode is read as a whole event.

    Args:
        body: The message.
        headers: Its headers; one whose name differs from another's only by case makes an attribute that is there twice.
        binding: How it was carried.

    Raises:
        InvalidEventError: It is none.
    """
    content_type = headers.get("content-type", "")
    if media(content_type).startswith(_EVENT_TYPES):
        if media(content_type) != STRUCTURED_TYPE:
            raise InvalidEventError("content-type", f"{shown(content_type)} is not read here; send one JSON event")
        return _of_document(_load(body, "body"))
    attributes = _attributes_in(headers, binding)
    if not attributes:
        return _of_document(_load(body, "body"))
    if content_type:
        attributes.setdefault("datacontenttype", content_type)
    return CloudEvent(attributes=attributes, body=body)


def decode_batch(body: bytes) -> tuple[CloudEvent, ...]:
    """Read a list of events.

    Raises:
        InvalidEventError: It is none, is empty, or has more than `MOST_EVENTS`.
    """
    documents = _load(body, "body")
    if not isinstance(documents, list) or not 1 <= len(documents) <= MOST_EVENTS:
        raise InvalidEventError("body", f"must be a list of 1 to {MOST_EVENTS} CloudEvents")
    return tuple(_of_document(document) for document in documents)


def _of_document(document: object) -> CloudEvent:
    if not isinstance(document, dict):
        raise InvalidEventError("body", "must be one JSON object, a CloudEvent")
    # An attribute that is null is one that is not set; only data may be null.
    return CloudEvent(attributes={name: value for name, value in document.items() if value is not None})


def _attributes_in(headers: Mapping[str, str], binding: Binding) -> dict[str, object]:
    found: dict[str, object] = {}
    for header, value in headers.items():
        prefix = next((prefix for prefix in binding.prefixes if header.lower().startswith(prefix)), None)
        if prefix is not None:
            name = header.lower().removeprefix(prefix)
            if name in found:
                raise InvalidEventError(name if _ATTRIBUTE.match(name) else shown(name), "is there twice")
            found[name] = _decoded(value, name) if binding.encoded else value
    return found


def _decoded(value: str, name: str) -> str:
    """Undo what a header's value may have been through: first the quotes, then one round of percent-encoding."""
    if value.startswith('"'):
        quoted = _QUOTED.fullmatch(value.rstrip())
        if quoted is None:
            raise InvalidEventError(name, "begins with a quote and does not end with one")
        value = _ESCAPED.sub(r"\1", quoted[1])
    try:
        return unquote_to_bytes(value).decode()
    except UnicodeError:
        raise InvalidEventError(name, "is no UTF-8 when percent-decoded") from None


def _load(document: bytes, field: str) -> object:
    try:
        return load(document)
    except StrictJsonError as error:
        raise InvalidEventError(field, str(error)) from None
