"""How far a node's chain is settled."""

from datetime import UTC, datetime, timedelta

from orchestrator.guard.settled_heads import SettledHeads

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def heads(*seen: tuple[float, int]) -> SettledHeads:
    found = SettledHeads(timedelta(seconds=100), timedelta(seconds=10))
    for seconds, number in seen:
        found.seen(number, at(seconds))
    return found


def test_a_block_is_settled_when_the_node_has_had_it_for_long() -> None:
    """Not before, and not what came after it."""
    steady = heads(*((second, 50 + second // 10) for second in range(0, 131, 5)))
    assert steady.newest == 63
    assert heads(*((second, 50) for second in range(0, 96, 5))).settled(at(99)) is None
    assert steady.settled(at(130)) == 53
    assert steady.settled(at(135)) == 53


def test_a_node_that_was_silent_or_went_back_begins_anew() -> None:
    """It may have been stopped in the middle of something; and what it had once says nothing of a new database."""
    assert heads((0, 50), (5, 50), (103, 50)).settled(at(104)) is None
    went_back = heads(*((second, 50) for second in range(0, 121, 5)), (125, 3))
    assert (went_back.newest, went_back.settled(at(126))) == (3, None)
    assert heads().settled(START) is None
    assert heads(*((second, 50) for second in range(0, 121, 5))).settled(at(140)) is None, "it does not answer now"
