"""Headers are found whatever the case of their names, and two that differ by it stay two."""

import pytest

from orchestrator.broker.header_names import lowered
from orchestrator.engine.messages.cloud_events import AMQP, NATS, Binding, InvalidEventError, decode


def test_names_are_in_lower_case() -> None:
    """A header is found by its name in lower case."""
    assert lowered([("Content-Type", "a/b"), ("CE-Id", "1")]) == {"content-type": "a/b", "ce-id": "1"}


@pytest.mark.parametrize("binding", [NATS, AMQP], ids=lambda binding: binding.name)
@pytest.mark.parametrize("names", [("ce-id", "CE-ID"), ("CE-ID", "ce-id"), ("Ce-Id", "cE-iD", "ce-id")])
def test_an_attribute_that_is_there_twice_is_seen(names: tuple[str, ...], binding: Binding) -> None:
    """In whichever order and case they come, no value takes the place of another without a word."""
    headers = lowered([(name, str(number)) for number, name in enumerate(names)])
    with pytest.raises(InvalidEventError, match="id is there twice"):
        decode(b"{}", headers, binding)
