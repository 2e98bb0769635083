"""How long an addition will take, from what earlier ones took on the same node and line of Besu. Pure.

Bundling (the sender's node collects the history, while the group is locked) and the replay (the new member's node
executes it) both grow with the number of transactions. Until `ENOUGH` additions were measured the figures are rough
ones, from docs/besu.md#replay-measured and #tessera.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import combinations
from math import floor
from statistics import median
from typing import Final

ENOUGH: Final = 3
"""Additions after which the network's own figures are used."""
NEWEST: Final = 12
"""Additions that are looked at: a network changes."""
LOCK_BLOCKS: Final = 2
"""Blocks between a lock and its addition at the least (docs/besu.md#how-replay-damages-other-groups)."""
BYTES_OF_A_SMALL_TRANSACTION: Final = 390
"""What a small private transaction takes in a bundle (docs/besu.md#tessera): 1 MiB holds about 2,700 of them."""
SMALLEST_LIMIT_BYTES: Final = 1 << 20
"""The smallest limit that was met: a Tessera with H2 2.1.210."""

_ALIKE: Final = 0.2
"""Additions whose sizes differ by less of the larger tell nothing of how time grows with size."""
_LEAST_SECONDS: Final = 1e-3
_LEAST_MARGIN: Final = 0.1
_ROUND_MARGIN: Final = 0.25
_LINES: Final = 64
"""Lines that are remembered."""


class Quantity(StrEnum):
    """What is measured of an addition."""

    BUNDLING = "bundling"
    LOCK = "lock"
    REPLAY = "replay"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one addition took.

    Attributes:
        transactions: Private transactions that were bundled or replayed.
        seconds: What that took.
        blocks: Blocks that were made meanwhile; 0 where that was not counted.
    """

    transactions: int
    seconds: float
    blocks: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """How long something will take.

    Attributes:
        low_seconds, likely_seconds, high_seconds: From what to what, and what is most likely.
        measured: Additions on this node and line that it rests on; fewer than `ENOUGH` are none.
    """

    low_seconds: float
    likely_seconds: float
    high_seconds: float
    measured: int

    @property
    def rough(self) -> bool:
        """Whether it rests on other networks' figures."""
        return self.measured < ENOUGH


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedReplayTime:
    """What the replay of one new member will take.

    Attributes:
        enclave_key: The member.
        time: How long its node replays.
        blocks_behind: By how many blocks its node falls behind the head meanwhile, at the most.
    """

    enclave_key: str
    time: Expected
    blocks_behind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Durations:
    """What an addition will take.

    Attributes:
        transactions: Private transactions in the group's blocks, those of other groups in them included.
        bundle_bytes: What the bundle takes if all of them are small: larger ones make it larger.
        bundling: How long the sender's node collects the history.
        lock: How long the group is locked.
        replays: The new members' replays, as far as they can be told.
    """

    transactions: int
    bundle_bytes: int
    bundling: Expected
    lock: Expected
    replays: tuple[ExpectedReplayTime, ...]

    @property
    def fits(self) -> bool:
        """Whether the bundle is within the smallest limit that was met, as far as small transactions go."""
        return self.bundle_bytes <= SMALLEST_LIMIT_BYTES


@dataclass(frozen=True, slots=True)
class _Rough:
    fixed: float
    low: float
    likely: float
    high: float


_ROUGH: Final = {
    # 300 transactions in 0.3 s and 6,000 in 5 to 6 s with Orion; 200 in 1.6 s and 1,000 in 5.9 s with Tessera.
    Quantity.BUNDLING: _Rough(fixed=0.1, low=0.0008, likely=0.002, high=0.008),
    # 300 in 0.8 to 2.2 s, 1,500 in 4 to 6 s, 6,000 in 16 s.
    Quantity.REPLAY: _Rough(fixed=0.2, low=0.0025, likely=0.0035, high=0.0075),
}


def expected(quantity: Quantity, transactions: int, samples: Sequence[Sample]) -> Expected:
    """Return how long bundling or replaying so many transactions will take.

    Args:
        quantity: Which of the two.
        transactions: How many.
        samples: What earlier additions took on the same node and line, newest first.
    """
    rough = _ROUGH[quantity]
    known = tuple(sample for sample in samples if sample.transactions > 0 and sample.seconds >= 0)[:NEWEST]
    # With fewer, one odd addition would decide.
    if len(known) < ENOUGH:
        return Expected(
            low_seconds=rough.fixed + rough.low * transactions,
            likely_seconds=rough.fixed + rough.likely * transactions,
            high_seconds=rough.fixed + rough.high * transactions,
            measured=len(known),
        )
    fixed, each = _line(known, rough.fixed)
    likely = fixed + each * transactions
    # The median: one addition during an outage is to widen nothing.
    off = median(abs(s.seconds - fixed - each * s.transactions) / max(s.seconds, _LEAST_SECONDS) for s in known)
    margin = 1 + max(_LEAST_MARGIN, 2 * off)
    if transactions > 2 * max(sample.transactions for sample in known):
        margin += _ROUND_MARGIN  # nothing of that size was seen
    return Expected(
        low_seconds=likely / margin, likely_seconds=likely, high_seconds=likely * margin, measured=len(known)
    )


# A hundred additions that begin together are forecast from the same few samples, and the same ones give the same line.
@lru_cache(maxsize=_LINES)
def _line(known: tuple[Sample, ...], usual: float) -> tuple[float, float]:
    """Return what any addition takes, and what each transaction adds.

    Of the lines through two additions, and through one and what is usual, the one from which all others deviate least,
    by parts of what they took: one odd addition is none, and a large one counts as much as a small one.
    """
    through_one = [(fixed, s) for s in known for fixed in (min(usual, s.seconds / 2), 0.0)]
    lines = [(fixed, (s.seconds - fixed) / s.transactions) for fixed, s in through_one]
    for one, other in combinations(known, 2):
        if abs(one.transactions - other.transactions) > _ALIKE * max(one.transactions, other.transactions):
            each = (one.seconds - other.seconds) / (one.transactions - other.transactions)
            lines.append((one.seconds - each * one.transactions, each))

    def deviation(line: tuple[float, float]) -> float:
        return sum(abs(line[0] + line[1] * s.transactions - s.seconds) / max(s.seconds, _LEAST_SECONDS) for s in known)

    # A line that falls, or begins below nothing, would promise that a large group is quick.
    return min((line for line in lines if min(line) >= 0), key=deviation)


def block_period(locks: Sequence[Sample], configured: float) -> float:
    """Return the seconds between two blocks: as locks that were measured show it, else as it is configured."""
    seen = [lock.seconds / lock.blocks for lock in locks[:NEWEST] if lock.blocks > 0 and lock.seconds > 0]
    return median(seen) if len(seen) >= ENOUGH else configured


def expected_lock(bundling: Expected, period_seconds: float) -> Expected:
    """Return how long the group is locked: the addition waits for its block, and is sent when the history is bundled.

    Args:
        bundling: How long that takes.
        period_seconds: Between two blocks.
    """

    def locked(seconds: float) -> float:
        return (LOCK_BLOCKS + floor(seconds / period_seconds)) * period_seconds

    return Expected(
        low_seconds=locked(bundling.low_seconds),
        likely_seconds=locked(bundling.likely_seconds),
        high_seconds=locked(bundling.high_seconds),
        measured=bundling.measured,
    )


def blocks_behind(replay: Expected, period_seconds: float) -> int:
    """Return by how many blocks a node falls behind while it replays, at the most: it imports none meanwhile."""
    return 1 + floor(replay.high_seconds / period_seconds)


def error_of(expected_seconds: float, taken_seconds: float) -> float:
    """Return by which part of what it took a forecast was off."""
    return abs(expected_seconds - taken_seconds) / max(taken_seconds, _LEAST_SECONDS)
