"""What is told of how long a replay still takes: it falls, narrows, and rises only for a reason."""

from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.membership.replay_time import SLOWER, TimeLeft, estimate, reported

TOTAL = 1_000
PORTION = 10


def watched(looks: list[tuple[float, int]], total: int = TOTAL, window: int | None = None) -> list[TimeLeft | None]:
    """Return what is told after each look, which is (seconds since the first, transactions replayed).

    The rate is that since the first look, or over so many looks.
    """
    said: list[TimeLeft | None] = []
    for number, (at, done) in enumerate(looks):
        since, before = looks[number - window] if window is not None and number >= window else (0.0, 0)
        new = estimate(before=before, done=done, total=total, taken=timedelta(seconds=at - since))
        said.append(reported(new, said[-1] if said else None))
    return said


def replay(seconds_each: list[float]) -> list[tuple[float, int]]:
    """Return the looks at a replay of equal portions that take these times."""
    return [(sum(seconds_each[: n + 1]), PORTION * (n + 1)) for n in range(len(seconds_each) - 1)]


@given(st.lists(st.tuples(st.floats(0.05, 60), st.integers(0, 200)), min_size=2, max_size=40))
def test_what_is_told_never_rises_without_a_reason(steps: list[tuple[float, int]]) -> None:
    """However a replay goes, neither end of the range rises, except where it is told to have become slower."""
    looks: list[tuple[float, int]] = []
    for seconds, transactions in steps:
        at, done = looks[-1] if looks else (0.0, 0)
        looks.append((at + seconds, min(TOTAL, done + transactions)))
    for before, after in pairwise(watched(looks)):
        if before is None or after is None:
            assert before is None
            continue
        assert after.low_seconds <= after.likely_seconds <= after.high_seconds
        if after.low_seconds > before.low_seconds or after.high_seconds > before.high_seconds:
            assert after.slower
            assert after.low_seconds > SLOWER * before.high_seconds


@given(st.lists(st.floats(0.75, 1.25), min_size=20, max_size=60))
def test_a_replay_that_wavers_is_told_once(seconds_each: list[float]) -> None:
    """While portions take as long as each other within a quarter, nothing is told anew, and the truth is near."""
    looks = replay(seconds_each)
    said = watched(looks, PORTION * len(seconds_each))
    whole = sum(seconds_each)
    for (at, _), left in zip(looks, said, strict=True):
        assert left is not None
        assert not left.slower
        assert left.high_seconds >= 0.75 * (whole - at)
        assert left.low_seconds <= 1.4 * (whole - at)


def test_the_range_narrows() -> None:
    """It begins within a factor of two to either side and ends within a quarter."""
    said = watched(replay([1.0] * 100))
    first, last = said[0], said[-1]
    assert first is not None
    assert last is not None
    assert first.high_seconds / first.low_seconds == 4
    assert last.high_seconds / last.low_seconds < 1.6


def test_a_replay_that_becomes_slow_is_told_anew_and_says_so() -> None:
    """Ten times slower from the middle on: the range rises, once it must, and says why."""
    said = watched(replay([1.0] * 50 + [10.0] * 50), window=6)
    assert said[49] is not None
    assert not said[49].slower
    assert said[-1] is not None
    assert said[-1].slower


def test_more_to_replay_is_told_anew() -> None:
    """A range is about so much work: of more, as when transactions became known, there is another one."""
    before = estimate(before=0, done=10, total=20, taken=timedelta(seconds=10))
    new = estimate(before=0, done=100, total=400, taken=timedelta(seconds=10))
    assert reported(new, before) == new


def test_nothing_is_told_before_something_moved() -> None:
    """Without movement there is no rate; what was told stays told."""
    assert estimate(before=5, done=5, total=20, taken=timedelta(seconds=10)) is None
    before = estimate(before=0, done=5, total=20, taken=timedelta(seconds=10))
    assert reported(None, before) == before
