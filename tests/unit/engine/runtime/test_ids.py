from datetime import timedelta

from orchestrator.engine.runtime.ids import new_ids
from tests.fakes.clock import START


def test_ids_sort_by_time_and_differ_within_a_millisecond() -> None:
    """A later id is greater than an earlier one, and two of the same moment are not the same."""
    moments = iter([START, START, START + timedelta(milliseconds=1)])
    new_id = new_ids(lambda: next(moments))
    first, second, third = new_id(), new_id(), new_id()
    assert first != second
    assert max(first, second) < third
    assert {len(first), len(second), len(third)} == {32}
