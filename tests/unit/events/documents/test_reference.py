"""The reference in the documentation."""

from pathlib import Path

import pytest

from orchestrator.events.documents.reference import BEGIN, END, reference, with_reference
from orchestrator.events.documents.schema import DATA, EventData
from orchestrator.membership.news.status import EventType

DOCUMENT = Path(__file__).parents[4] / "docs" / "events.md"


def test_the_documentation_has_the_present_reference() -> None:
    """docs/events.md is what the models make of it; write `with_reference` of it to the file when they changed."""
    text = DOCUMENT.read_text()
    assert text == with_reference(text)


def test_every_field_of_every_event_is_there_and_described() -> None:
    """Each type has its section, and each field a row that says what it is."""
    text = reference()
    for event_type in EventType:
        _, _, section = text.partition(f"### `{event_type.value}`")
        assert "```json" in section
        for name, info in DATA[event_type].model_fields.items():
            assert f"| `{name}` |" in text
            assert info.description, (event_type, name)
    assert set(EventData.model_fields) == {"privacy_group_id", "change_id", "request_id", "sequence"}


def test_marks_are_needed() -> None:
    """A document without the marks is not overwritten."""
    with pytest.raises(ValueError, match="marks"):
        with_reference("# Nothing")
    assert with_reference(f"a{BEGIN}old{END}b").startswith("a")
