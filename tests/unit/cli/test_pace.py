"""How long a replay still takes."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.cli.pace import Pace

START = datetime(2024, 11, 5, tzinfo=UTC)


def test_nothing_can_be_told_at_first() -> None:
    """Before something has moved there is no estimate."""
    pace = Pace()
    assert pace.seconds_left("member", 40) is None
    pace.note("member", 10, START)
    pace.note("member", 10, START + timedelta(seconds=3))
    assert pace.seconds_left("member", 40) is None


def test_the_rate_is_that_since_the_first_sight() -> None:
    """Ten blocks in five seconds leave fifteen seconds for thirty more."""
    pace = Pace()
    pace.note("member", 0, START)
    pace.note("member", 10, START + timedelta(seconds=5))
    assert pace.seconds_left("member", 40) == 15.0


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 1000)), min_size=1, max_size=20))
def test_an_estimate_is_never_negative(seen: list[tuple[int, int]]) -> None:
    """Whatever was seen, also a clock that jumps back, an estimate is zero or more, and zero when all is done."""
    pace = Pace()
    for blocks, seconds in seen:
        pace.note("member", blocks, START + timedelta(seconds=seconds))
    left = pace.seconds_left("member", 100)
    assert left is None or left >= 0
    pace.note("member", 100, START + timedelta(seconds=2000))
    assert pace.seconds_left("member", 100) == 0.0
