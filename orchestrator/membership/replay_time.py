"""How long a replay will still take: a range that narrows and falls, and rises only when the facts have changed. Pure.

What was told stays told: of a new estimate only what is less is taken over. It is told anew, and may be more, when

- there is something else to replay than was known (its transactions became known, or there are more), or
- the replay has become so much slower that even the least it will take is more than `SLOWER` times the most that was
  told; then it says so (`TimeLeft.slower`).
"""

from dataclasses import dataclass, replace
from datetime import timedelta

SLOWER = 1.5

_SPREADS = ((0.1, 2.0), (0.5, 1.5))
"""Up to which share of the work the rate is trusted within which factor: blocks differ, and the first are few."""
_LEAST_SPREAD = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLeft:
    """What a replay will still take, in seconds.

    Attributes:
        low_seconds, likely_seconds, high_seconds: From what to what, and what is most likely.
        work: What there is to replay altogether (transactions, or blocks where these are not known): what it is about.
        slower: It was told anew because the replay has become slower.
    """

    low_seconds: float
    likely_seconds: float
    high_seconds: float
    work: int
    slower: bool = False


def estimate(*, before: int, done: int, total: int, taken: timedelta) -> TimeLeft | None:
    """Return what the rest will take at the rate that was seen; None while no rate can be told.

    Args:
        before: What was replayed when the rate began to be watched.
        done: What is replayed when it last moved.
        total: What there is to replay.
        taken: How long it took from one to the other.
    """
    seconds = taken.total_seconds()
    if done <= before or done >= total or seconds <= 0:
        return None
    likely = (total - done) * seconds / (done - before)
    share = done / total
    spread = next((factor for upto, factor in _SPREADS if share < upto), _LEAST_SPREAD)
    return TimeLeft(low_seconds=likely / spread, likely_seconds=likely, high_seconds=likely * spread, work=total)


def reported(new: TimeLeft | None, before: TimeLeft | None) -> TimeLeft | None:
    """Return what is told of a replay now.

    Args:
        new: What is estimated now.
        before: What was told last.
    """
    if new is None or before is None:
        return new or before
    if new.work != before.work:
        return new
    if new.low_seconds > SLOWER * before.high_seconds:
        return replace(new, slower=True)
    return TimeLeft(
        low_seconds=min(new.low_seconds, before.low_seconds),
        likely_seconds=min(new.likely_seconds, before.likely_seconds),
        high_seconds=min(new.high_seconds, before.high_seconds),
        work=new.work,
        slower=before.slower,
    )
