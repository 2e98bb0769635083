"""A replay as it is watched: monotone, stalled or not, its rate, and how often it is told."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.membership.facts import ConvergenceObserved, Sighting
from orchestrator.membership.model import Change, Effect, GroupView, Kind, MemberProgress, Plan, State, Verdict
from orchestrator.membership.news.status import PROGRESS_STEPS, EventType, StatusEvent, announce, progress_data
from orchestrator.membership.proof.comparison import MARK_EVERY, RATE_WINDOW, assess
from tests.fakes.clock import START

EFFECT_BLOCK = 100
TOTAL = 90
SECOND = timedelta(seconds=1)


def view(number: int, root: str = "0x1") -> GroupView:
    version = "0xv" if number == EFFECT_BLOCK else ""
    members = ("old", "new") if number == EFFECT_BLOCK else ()
    return GroupView(block_number=number, exists=True, participants=members, version=version, state_root=root)


def adding(*progress: MemberProgress) -> Change:
    plan = Plan(
        node="one",
        abi="bytes",
        to_add=("new",),
        to_remove=(),
        participants=("old",),
        version="0x0",
        unlock_by_empty_add=False,
        first_block=97,
    )
    return Change(
        change_id="c",
        request_id="r",
        kind=Kind.ADD_MEMBERS,
        privacy_group_id="g",
        members=("new",),
        account="0xa",
        created_at=START,
        state=State.REPLAYING,
        lead_id="c",
        plan=plan,
        effect=Effect(block_number=EFFECT_BLOCK, block_hash="0xh", view=view(EFFECT_BLOCK)),
        progress=progress,
    )


def seen(new: Sighting, head: int = 110) -> ConvergenceObserved:
    old = Sighting(enclave_key="old", node="one", head=head, views=tuple(view(n) for n in range(EFFECT_BLOCK, 104)))
    return ConvergenceObserved(
        effect_block_hash="0xh", head=head, sightings=(new, old), proof_blocks=3, confirmations=0
    )


def replaying(replayed: int, head: int | None = EFFECT_BLOCK - 1) -> Sighting:
    return Sighting(enclave_key="new", node="two", head=head, blocks_replayed=replayed, blocks_total=TOTAL)


def watch(change: Change, new: Sighting, after: timedelta) -> Change:
    """Return the change with the progress that one more look gives."""
    progress = assess(change, seen(new), START + after).progress
    return adding(*progress)


def entry_of(change: Change) -> MemberProgress:
    return change.progress[0]


@given(st.lists(st.tuples(st.integers(0, TOTAL), st.sampled_from([99, None])), min_size=1, max_size=30))
def test_progress_never_goes_back_and_ends_at_one_hundred_percent(looks: list[tuple[int, int | None]]) -> None:
    """Whatever single looks could see (a new tracker begins at nothing), progress rises; in sync it is whole."""
    change = adding()
    reached = 0
    for number, (replayed, head) in enumerate(looks):
        change = watch(change, replaying(replayed, head), number * SECOND)
        entry = entry_of(change)
        assert reached <= entry.blocks_replayed <= entry.blocks_total == TOTAL
        reached = entry.blocks_replayed
    done = Sighting(enclave_key="new", node="two", head=105, views=(view(EFFECT_BLOCK),), blocks_total=TOTAL)
    entry = entry_of(watch(change, done, len(looks) * SECOND))
    assert entry.verdict is Verdict.IN_SYNC
    assert entry.blocks_replayed == entry.blocks_total == TOTAL


def test_a_replay_that_stands_is_stalled_until_it_moves() -> None:
    """After a minute without movement it is stalled, stays so over a restart, and replays again once it moves."""
    change = watch(adding(), replaying(10), 0 * SECOND)
    assert entry_of(watch(change, replaying(10), 59 * SECOND)).verdict is Verdict.REPLAYING
    stalled = watch(watch(change, replaying(10), 30 * SECOND), replaying(10), 60 * SECOND)
    assert entry_of(stalled).verdict is Verdict.STALLED
    # A new process knows nothing but the change, and its first looks see less than was seen before.
    assert entry_of(watch(stalled, replaying(0), 70 * SECOND)).verdict is Verdict.STALLED
    assert entry_of(watch(stalled, replaying(11), 80 * SECOND)).verdict is Verdict.REPLAYING


def test_a_node_that_goes_silent_stalls_too() -> None:
    """A node that stops answering while it replays is stalled after the same time."""
    change = watch(adding(), replaying(10), 0 * SECOND)
    change = watch(change, replaying(10, None), 1 * SECOND)
    assert entry_of(watch(change, replaying(10, None), 62 * SECOND)).verdict is Verdict.STALLED


@given(st.integers(1, 20), st.integers(1, 40))
def test_rate_and_remaining_time_are_those_of_a_steady_replay(blocks_per_second: int, seconds: int) -> None:
    """A replay at a steady rate is told at that rate, with the time that it will really take."""
    change = watch(adding(), replaying(0), 0 * SECOND)
    for second in range(1, seconds + 1):
        done = min(second * blocks_per_second, TOTAL - 1)
        if done == entry_of(change).blocks_replayed:
            break
        change = watch(change, replaying(done), second * SECOND)
    entry = entry_of(change)
    rate, remaining = entry.blocks_per_second, entry.remaining_seconds
    assert rate is not None
    assert remaining is not None
    assert rate <= blocks_per_second
    assert remaining == pytest.approx((TOTAL - entry.blocks_replayed) / rate)
    if entry.blocks_replayed < TOTAL - 1:
        assert rate == pytest.approx(blocks_per_second)


def test_the_rate_is_that_of_the_last_minute() -> None:
    """A replay that was quick and is slow now is told slow; few marks are kept however long it takes."""
    change = adding()
    for second in range(30):
        change = watch(change, replaying(second), second * SECOND)
    for second in range(30, 30 + 60 * 10, 10):
        change = watch(change, replaying(30 + (second - 30) // 10), second * SECOND)
        assert len(entry_of(change).marks) <= RATE_WINDOW // MARK_EVERY + 2
    assert entry_of(change).blocks_per_second == pytest.approx(0.1, rel=0.05)


def test_there_is_no_rate_before_something_moved() -> None:
    """One look tells no rate, and so does a replay that has stalled or is over."""
    change = watch(adding(), replaying(10), 0 * SECOND)
    data = progress_data(entry_of(change))
    assert (data["blocks_per_second"], data["remaining_seconds"]) == (None, None)


def test_a_long_replay_is_told_in_few_events() -> None:
    """However many looks a replay takes, subscribers get at most one event for each two percent, and the end."""
    change = adding()
    events: list[StatusEvent] = []
    for replayed in range(TOTAL + 1):
        after = watch(change, replaying(replayed), replayed * SECOND)
        events += announce(change, after)
        change = after
    done = Sighting(enclave_key="new", node="two", head=105, views=(view(EFFECT_BLOCK),), blocks_total=TOTAL)
    events += announce(change, watch(change, done, TOTAL * SECOND))
    assert {event.type for event in events} == {EventType.CHANGE_PROGRESSED}
    assert 10 < len(events) <= PROGRESS_STEPS + 2
