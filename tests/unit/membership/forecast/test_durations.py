"""How long additions will take: rough at first, then by what the network itself showed."""

from collections.abc import Callable
from itertools import pairwise
from random import Random
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.membership.forecast.durations import (
    ENOUGH,
    Expected,
    Quantity,
    Sample,
    block_period,
    blocks_behind,
    error_of,
    expected,
    expected_lock,
)

# (transactions, seconds): docs/besu.md#replay-measured 1 and 4, #tessera; middles where a range was measured.
REPLAYS = [(300, 1.5), (1_500, 5.0), (6_000, 16.0)]
BUNDLES_OF_ORION = [(300, 0.3), (1_500, 1.2), (6_000, 5.5)]
BUNDLES_OF_TESSERA = [(200, 1.6), (1_000, 5.9)]


def samples(*pairs: tuple[int, float]) -> list[Sample]:
    return [Sample(transactions=transactions, seconds=seconds) for transactions, seconds in pairs]


@pytest.mark.parametrize(
    ("quantity", "recorded"),
    [
        (Quantity.REPLAY, REPLAYS),
        (Quantity.BUNDLING, BUNDLES_OF_ORION),
        (Quantity.BUNDLING, BUNDLES_OF_TESSERA),
    ],
)
def test_rough_figures_hold_what_was_recorded(quantity: Quantity, recorded: list[tuple[int, float]]) -> None:
    """Before anything was measured, what real networks took is within the range, and it is told to be rough."""
    for transactions, seconds in recorded:
        time = expected(quantity, transactions, ())
        assert time.rough
        assert 0.75 * time.low_seconds <= seconds <= 1.25 * time.high_seconds


@pytest.mark.parametrize(("quantity", "recorded"), [(Quantity.REPLAY, REPLAYS), (Quantity.BUNDLING, BUNDLES_OF_ORION)])
def test_three_additions_tell_the_next(quantity: Quantity, recorded: list[tuple[int, float]]) -> None:
    """By three recorded additions each other size between them is told within a quarter of the line through them."""
    known = samples(*recorded)
    for (few, quick), (many, slow) in pairwise(recorded):
        middle = (few + many) // 2
        time = expected(quantity, middle, known)
        assert not time.rough
        assert error_of(time.likely_seconds, (quick + slow) / 2) <= 0.25


def errors_of(seconds_of: Callable[[int], float], sizes: list[int], quantity: Quantity) -> list[float]:
    """Return by how much each forecast from the fourth on was off, where additions of about that size were seen."""
    known: list[Sample] = []
    errors: list[float] = []
    for transactions in sizes:
        seconds = seconds_of(transactions)
        if len(known) >= ENOUGH and _alike(transactions, known):
            errors.append(error_of(expected(quantity, transactions, known).likely_seconds, seconds))
        known.insert(0, Sample(transactions=transactions, seconds=seconds))
    return errors


@pytest.mark.parametrize("quantity", [Quantity.BUNDLING, Quantity.REPLAY])
def test_after_three_additions_the_median_error_is_a_quarter_at_most(quantity: Quantity) -> None:
    """On each of 200 networks whose additions waver by up to 20 % either way the median error is at most 25 %."""
    for seed in range(200):
        chance = Random(seed)  # noqa: S311 - reproducible
        fixed, each = chance.uniform(0.0, 2.0), chance.uniform(0.0005, 0.01)
        sizes = [chance.randint(50, 5_000) for _ in range(15)]
        errors = errors_of(lambda n: (fixed + each * n) * chance.uniform(0.8, 1.2), sizes, quantity)  # noqa: B023 - used in its turn
        assert len(errors) >= 5
        assert median(errors) <= 0.25, seed


@given(st.floats(0.0, 2.0), st.floats(0.0005, 0.01), st.lists(st.integers(50, 5_000), min_size=8, max_size=8))
def test_a_network_that_does_not_waver_is_told_exactly(fixed: float, each: float, sizes: list[int]) -> None:
    """Where time is a line over size, and two sizes differ enough to show it, the forecasts are that line."""
    errors = errors_of(lambda n: fixed + each * n, [100, 500, 2_000, *sizes], Quantity.REPLAY)
    assert max(errors, default=0.0) <= 0.01


def _alike(transactions: int, known: list[Sample]) -> bool:
    """Whether additions of about that size were seen: what is far outside of them is a guess, and told as one."""
    sizes = [sample.transactions for sample in known]
    return min(sizes) / 2 <= transactions <= 2 * max(sizes)


def test_one_odd_addition_changes_little() -> None:
    """A node that stood for a minute once does not spoil what the others show."""
    usual = samples((100, 1.0), (200, 1.9), (400, 4.1), (800, 8.0))
    before = expected(Quantity.REPLAY, 600, usual).likely_seconds
    after = expected(Quantity.REPLAY, 600, [Sample(transactions=300, seconds=60.0), *usual]).likely_seconds
    assert error_of(after, before) <= 0.25


def test_a_size_that_was_never_seen_is_told_less_surely() -> None:
    """The range of a history ten times as long as any before is wider."""
    known = samples((100, 1.0), (200, 2.0), (400, 4.0))
    seen, unseen = expected(Quantity.REPLAY, 300, known), expected(Quantity.REPLAY, 4_000, known)
    assert unseen.high_seconds / unseen.low_seconds > seen.high_seconds / seen.low_seconds


def test_additions_of_one_size_tell_smaller_and_larger_ones() -> None:
    """Where all were of about one size, time is taken to grow with size, and nothing is divided by nothing."""
    known = samples((100, 1.0), (101, 1.1), (100, 0.9))
    assert expected(Quantity.REPLAY, 1_000, known).likely_seconds == pytest.approx(8.2, rel=0.25)


def test_a_lock_lasts_two_blocks_and_those_in_which_the_history_is_bundled() -> None:
    """As measured: 1.6 s of bundling at 2 s a block is a window of two blocks, and 5.9 s at 1.5 s one of five."""

    def bundling(seconds: float) -> Expected:
        return Expected(low_seconds=seconds, likely_seconds=seconds, high_seconds=seconds, measured=3)

    assert expected_lock(bundling(1.6), 2.0).likely_seconds == 4.0
    assert expected_lock(bundling(5.9), 1.5).likely_seconds == 7.5


def test_the_period_is_that_of_measured_locks() -> None:
    """Three locks show it; before that it is the configured one."""
    locks = [Sample(transactions=1, seconds=2.0 * blocks, blocks=blocks) for blocks in (2, 3, 2)]
    assert block_period(locks, 5.0) == 2.0
    assert block_period(locks[:2], 5.0) == 5.0


def test_a_node_falls_behind_by_the_blocks_of_its_replay() -> None:
    """It imports nothing while it replays: at a block a second, ten seconds are eleven blocks at the most."""
    replay = Expected(low_seconds=8, likely_seconds=9, high_seconds=10, measured=3)
    assert blocks_behind(replay, 1.0) == 11
