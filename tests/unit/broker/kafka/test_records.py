"""Keys and headers of Kafka's records."""

import json

import pytest

from orchestrator.broker.kafka.records import decoded, event_headers, key_of

GROUP = "DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w="


@pytest.mark.parametrize(
    ("document", "key"),
    [
        ({"data": {"privacy_group_id": GROUP}, "subject": "another"}, GROUP.encode()),
        ({"subject": GROUP, "data": {}}, GROUP.encode()),
        ({"data": {"privacy_group_id": None}}, None),
        ({"data": {"privacy_group_id": 7}}, None),
        ({"data": {"privacy_group_id": "x" * 257}}, None),
        ([], None),
    ],
)
def test_the_key_is_the_group(document: object, key: bytes | None) -> None:
    """A document is keyed by the privacy group that it is about; without one it has no key."""
    assert key_of(json.dumps(document).encode()) == key


@pytest.mark.parametrize("body", [b"", b"\xff", b"no json", b"[" * 100_000])
def test_what_is_no_document_has_no_key(body: bytes) -> None:
    """Anything may be put back into the queue; what can't be read goes to any partition."""
    assert key_of(body) is None


def test_headers_are_text_by_names_in_lower_case() -> None:
    """What is no UTF-8 is shown escaped; a name that differs from another by case only stays visible."""
    headers: list[tuple[str, str | bytes | None]] = [
        ("Content-Type", b"a/b"),
        ("ce_id", b"\xff1"),
        ("CE_ID", "2"),
        ("none", None),
    ]
    assert decoded(headers) == {"content-type": "a/b", "ce_id": "\\xff1", "CE_ID": "2", "none": ""}


def test_an_event_has_what_subscribers_choose_by() -> None:
    """Type and id stand in headers beside the whole event."""
    assert event_headers("a.type", "an id") == [
        ("content-type", "application/cloudevents+json"),
        ("ce_id", "an id"),
        ("ce_type", "a.type"),
    ]
