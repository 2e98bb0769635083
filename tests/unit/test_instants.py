"""Times as whole microseconds."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from orchestrator.instants import micros, moment


def test_times_are_exact_and_in_utc() -> None:
    """A time of any zone is kept to the microsecond; one without a zone is refused."""
    at = datetime(2026, 3, 29, 3, 0, 0, 1, tzinfo=timezone(timedelta(hours=2)))
    assert moment(micros(at)) == at
    assert moment(micros(at)).tzinfo is UTC
    with pytest.raises(TypeError):
        micros(datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused
