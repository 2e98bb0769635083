"""A stored status event as the CloudEvents 1.0 document that goes out. Pure.

The same document goes to the message queue, to subscribers over HTTP and to webhooks, with the same id, so that whoever
hears an event twice can tell.
"""

import json
from typing import Final

from orchestrator.events.ports import StoredEvent

PLACE_DIGITS: Final = 20
"""A place in the outbox is a number of 64 bits: with leading zeros its text is ordered as the number is."""


def document(stored: StoredEvent) -> dict[str, object]:
    """Return the CloudEvents document of a status event.

    ``subject`` is the privacy group id. The extension ``sequence`` is the event's place among all of its source, as
    text that is ordered as the events are; ``data.sequence`` counts the group's events from 1 without gaps.
    ``formerid`` is the id that earlier releases gave the event, for subscribers that still know events by it.
    ``traceparent`` and ``tracestate`` (CloudEvents' distributed tracing extension) are there where the change is in a
    trace.

    Args:
        stored: The event.
    """
    event = stored.event
    data: dict[str, object] = {
        "privacy_group_id": event.privacy_group_id or None,
        "change_id": event.change_id,
        "request_id": event.request_id,
        "sequence": stored.sequence,
        **event.data,
    }
    found: dict[str, object] = {
        "specversion": "1.0",
        "id": stored.event_id,
        "source": stored.source,
        "type": event.type.value,
        "time": stored.at.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "sequence": f"{stored.position:0{PLACE_DIGITS}d}",
        "formerid": stored.former_id,
        "data": data,
    }
    if event.privacy_group_id:
        found["subject"] = event.privacy_group_id
    if event.traceparent:
        found["traceparent"] = event.traceparent
    if event.tracestate:
        found["tracestate"] = event.tracestate
    return found


def text_of(stored: StoredEvent) -> str:
    """Return the document as JSON on one line; it can always be encoded, whatever an earlier version stored."""
    text = json.dumps(document(stored), separators=(",", ":"), ensure_ascii=False)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
