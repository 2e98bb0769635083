"""Records of Kafka: their keys and headers, as CloudEvents' Kafka binding has them. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Final

from orchestrator.broker.header_names import lowered

CONTENT_TYPE: Final = "content-type"
CLOUD_EVENT: Final = "application/cloudevents+json"
ID_HEADER: Final = "ce_id"
TYPE_HEADER: Final = "ce_type"

Headers = list[tuple[str, str | bytes | None]]

_LONGEST_KEY: Final = 256


def key_of(body: bytes) -> bytes | None:
    """Return the key of a document of our own: its privacy group's id, by which a group keeps its order; None without.

    Args:
        body: A CloudEvents JSON document: a request (the id is in its data), a status event or a verdict (its subject).
    """
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(document, dict):
        return None
    data = document.get("data")
    group = data.get("privacy_group_id") if isinstance(data, dict) else None
    key = group if group is not None else document.get("subject")
    return key.encode("utf-8", "replace") if isinstance(key, str) and 0 < len(key) <= _LONGEST_KEY else None


def event_headers(event_type: str, event_id: str) -> Headers:
    """Return the headers of a whole event (structured mode), with what subscribers choose and recognise it by."""
    return [(CONTENT_TYPE, CLOUD_EVENT), (ID_HEADER, event_id), (TYPE_HEADER, event_type)]


def encoded(headers: Mapping[str, str]) -> Headers:
    """Return headers to be sent."""
    return list(headers.items())


def decoded(headers: Iterable[tuple[str, str | bytes | None]]) -> dict[str, str]:
    """Return headers that came, by their names in lower case; what is no UTF-8 is shown escaped, no value is empty."""
    return lowered((name, _text(value)) for name, value in headers)


def _text(value: str | bytes | None) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return value or ""
