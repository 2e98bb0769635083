"""A stored status event as the CloudEvents 1.0 document that goes out. Pure.

The same document goes to the message queue, to subscribers over HTTP and to webhooks, with the same id, so that whoever
hears an event twice can tell.
"""

import json
from typing import Final

from orchestrator.events.ports import StoredEvent

SOURCE: Final = "/besu-membership-orchestrator"
"""CloudEvents ``source``: ids are unique within one store."""


def document(stored: StoredEvent) -> dict[str, object]:
    """Return the CloudEvents document of a status event.

    ``subject`` is the privacy group id, the extension ``sequence`` counts the group's events from 1 without gaps (as
    text, as the CloudEvents extension of that name wants it); ``data`` repeats it as a number beside the ids.

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
        "source": SOURCE,
        "type": event.type.value,
        "time": stored.at.isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "sequence": str(stored.sequence),
        "data": data,
    }
    if event.privacy_group_id:
        found["subject"] = event.privacy_group_id
    return found


def text_of(stored: StoredEvent) -> str:
    """Return the document as JSON on one line; it can always be encoded, whatever an earlier version stored."""
    text = json.dumps(document(stored), separators=(",", ":"), ensure_ascii=False)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
