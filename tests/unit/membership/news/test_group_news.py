"""What subscribers were last told of each group."""

from datetime import timedelta

from orchestrator.membership.news.group_news import MOST_GROUPS, GroupNews, after_event
from orchestrator.membership.news.status import EventType, Json, StatusEvent
from tests.fakes.clock import START

LATER = START + timedelta(hours=1)


def told(kind: EventType, group: str = "g", **data: Json) -> StatusEvent:
    return StatusEvent(type=kind, privacy_group_id=group, data=data)


def test_a_divergence_lasts_until_it_converges() -> None:
    """It is known since it was told first, with what was told last, and gone with the next agreement."""
    known = after_event({}, told(EventType.GROUP_DIVERGED, first_block=8), START)
    known = after_event(known, told(EventType.GROUP_DIVERGED, first_block=9), LATER)
    diverged = known["g"].diverged
    assert diverged is not None
    assert (diverged.at, diverged.data) == (START, {"first_block": 9})
    assert after_event(known, told(EventType.GROUP_CONVERGED), LATER) == {}


def test_a_closed_group_stays_closed() -> None:
    """That a group can't be extended is never taken back, and keeps the block that was told first."""
    known = after_event({}, told(EventType.GROUP_UNEXTENDABLE, block_number=5), START)
    known = after_event(known, told(EventType.GROUP_UNEXTENDABLE, block_number=7), LATER)
    known = after_event(known, told(EventType.GROUP_CONVERGED), LATER)
    closed = known["g"].unextendable
    assert closed is not None
    assert closed.data == {"block_number": 5}


def test_a_repeated_addition_counts_where_somebody_fell_back() -> None:
    """One that nobody fell back by is nothing to act on; the other is over when the members agree again."""
    harmless = told(EventType.GROUP_ADDITION_REPEATED, affected=[{"fell_back": False}])
    assert after_event({}, harmless, START) == {}
    known = after_event({}, told(EventType.GROUP_ADDITION_REPEATED, affected=[{"fell_back": True}]), START)
    assert known["g"].repeated is not None
    assert after_event(known, told(EventType.GROUP_CONVERGED), LATER) == {}


def test_other_events_change_nothing() -> None:
    """What is told of changes, locks and members is no news of this kind."""
    known = after_event({}, told(EventType.GROUP_DIVERGED), START)
    for kind in EventType:
        if kind not in (EventType.GROUP_DIVERGED, EventType.GROUP_CONVERGED, EventType.GROUP_UNEXTENDABLE):
            assert after_event(known, told(kind), LATER) == known


def test_the_number_of_groups_is_bounded() -> None:
    """Whoever makes groups differ without end makes the oldest be forgotten, not the memory grow."""
    full = {f"g{number}": GroupNews() for number in range(MOST_GROUPS)}
    known = after_event(full, told(EventType.GROUP_DIVERGED, "new"), START)
    assert len(known) == MOST_GROUPS
    assert "g0" not in known
    assert "new" in known
