"""Dead letters around the message as it came."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.broker.letters import (
    CUT_HEADER,
    HEADER_ROOM_BYTES,
    REASON_HEADER,
    SOURCE_HEADER,
    buried,
    original_headers,
)


def test_the_message_is_kept_and_the_reason_added() -> None:
    """Body and headers stay; what a queue wrote on the message does not."""
    headers = {"Content-Type": "a/b", "Nats-Msg-Id": "1", "x-death": "2", "ce-id": "3", "bad name": "4"}
    body, written = buried(b"\x00", headers, reason="no\ngood", source="in", most_bytes=1000)
    assert body == b"\x00"
    assert written == {"content-type": "a/b", "ce-id": "3", REASON_HEADER: "no good", SOURCE_HEADER: "in"}
    assert original_headers(written) == {"content-type": "a/b", "ce-id": "3"}


def test_burying_a_replayed_letter_again_tells_the_newest_reason() -> None:
    """A letter that is buried a second time has one reason."""
    _, first = buried(b"", {}, reason="first", source="in", most_bytes=1000)
    _, second = buried(b"", first, reason="second", source="in", most_bytes=1000)
    assert second[REASON_HEADER] == "second"


def test_a_message_without_a_reason_says_so() -> None:
    """The reason is never empty, which some queues would not carry."""
    assert buried(b"", {}, reason=" \n", source="in", most_bytes=1000)[1][REASON_HEADER] == "not said"


@given(
    st.binary(max_size=300),
    st.dictionaries(st.text(max_size=20), st.text(max_size=200), max_size=5),
    st.text(max_size=3000),
    st.integers(min_value=HEADER_ROOM_BYTES, max_value=HEADER_ROOM_BYTES + 400),
)
def test_a_letter_always_fits(body: bytes, headers: dict[str, str], reason: str, most_bytes: int) -> None:
    """Whatever came in, its letter is within the limit and of one-line ASCII headers; cut only when it must be."""
    kept, written = buried(body, headers, reason=reason, source="membership.requests", most_bytes=most_bytes)
    size = len(kept) + sum(len(name) + len(value) + 4 for name, value in written.items())
    assert size <= most_bytes
    assert all(value.isascii() and (value.isprintable() or not value) for value in written.values())
    assert body.startswith(kept)
    assert (kept == body) or written[CUT_HEADER] == str(len(body))
