"""Status events as documents: what the rules announce is what the models describe."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator.events.documents.envelope import document, text_of
from orchestrator.events.documents.schema import DOCUMENTS
from orchestrator.membership.model import Change, Effect, GroupView, Kind, MemberProgress, State, Verdict
from orchestrator.membership.news.status import EventType, StatusEvent, announce
from orchestrator.membership.reasons.table import RULES, Reason
from tests.fakes.changes import a_change

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@dataclass(frozen=True)
class Stored:
    """An event as an outbox gives it."""

    event: StatusEvent
    position: int = 9
    event_id: str = "id-1"
    former_id: str = "id-0"
    source: str = "urn:test:store"
    sequence: int = 4
    at: datetime = AT


def test_the_document_of_an_event() -> None:
    """Attributes, ids and data stand where CloudEvents and the schema put them."""
    event = StatusEvent(
        type=EventType.GROUP_LOCKED, privacy_group_id="g", change_id="c", request_id="r", data={"block_number": 7}
    )
    assert document(Stored(event)) == {
        "specversion": "1.0",
        "id": "id-1",
        "source": "urn:test:store",
        "type": "membership.group.locked.v1",
        "time": "2026-01-02T03:04:05.678901Z",
        "datacontenttype": "application/json",
        "sequence": "00000000000000000009",
        "formerid": "id-0",
        "subject": "g",
        "data": {"privacy_group_id": "g", "change_id": "c", "request_id": "r", "sequence": 4, "block_number": 7},
    }


def test_an_event_without_a_group_has_no_subject() -> None:
    """CloudEvents wants a subject to say something or to be left out."""
    event = StatusEvent(
        type=EventType.REQUEST_REJECTED, privacy_group_id="", data={"field": "id", "message": "is required"}
    )
    written = document(Stored(event))
    assert "subject" not in written
    assert_described(event)


@given(st.text())
def test_the_text_is_one_line(said: str) -> None:
    """Server-sent events and logs take it as it is, whatever is in the data."""
    event = StatusEvent(type=EventType.GROUP_LOCKED, privacy_group_id="g", data={"said": said})
    assert "\n" not in text_of(Stored(event))
    assert "\r" not in text_of(Stored(event))
    assert json.loads(text_of(Stored(event)))["data"]["said"] == said


def assert_described(event: StatusEvent) -> None:
    written = json.loads(text_of(Stored(event)))
    model = DOCUMENTS[event.type]
    parsed = model.model_validate_json(json.dumps(written), strict=True)
    again: dict[str, Any] = json.loads(parsed.model_dump_json(exclude_unset=True))
    for found in (again, written):  # times are written in other ways
        found.pop("time")
        found["data"].pop("not_before", None)
    assert again == written


VIEW = GroupView(block_number=8, exists=True, participants=("a", "b"), version="0x1", state_root="0x2")
EFFECT = Effect(block_number=8, block_hash="0x3", view=VIEW)

progresses = st.builds(
    MemberProgress,
    enclave_key=st.sampled_from(["a", "b"]),
    verdict=st.sampled_from(Verdict),
    blocks_replayed=st.integers(0, 9),
    blocks_total=st.integers(0, 9),
    head=st.none() | st.integers(0, 9),
    moved_at=st.just(AT),
    in_sync_through=st.none() | st.integers(0, 9),
)
reasons = st.builds(
    Reason, slug=st.sampled_from(sorted(RULES)), detail=st.text(max_size=9), members=st.sampled_from([(), ("a",)])
)


@st.composite
def changes(draw: st.DrawFn) -> Change:
    return a_change(
        "x",
        kind=draw(st.sampled_from(Kind)),
        state=draw(st.sampled_from(State)),
        lead_id="change-x",
        not_before=draw(st.none() | st.just(AT)),
        reason=draw(reasons),
        lock_block=draw(st.none() | st.integers(1, 9)),
        effect=draw(st.none() | st.just(EFFECT)),
        progress=tuple(draw(st.lists(progresses, max_size=2))),
    )


@given(changes(), changes())
def test_whatever_the_rules_announce_fits_the_schema(before: Change, after: Change) -> None:
    """Whatever a change goes through, each event has exactly the fields that the models describe."""
    assume(not before.ended)
    for event in announce(before, after):
        assert_described(event)


@pytest.mark.parametrize("kind", Kind)
def test_an_accepted_change_is_announced_as_described(kind: Kind) -> None:
    """The first event of a change fits too."""
    [event] = announce(None, replace(a_change("x"), kind=kind))
    assert event.type is EventType.CHANGE_ACCEPTED
    assert_described(event)
