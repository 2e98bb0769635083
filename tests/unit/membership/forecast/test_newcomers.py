"""Can a former member's node go on from what it has?"""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.membership.forecast.histories import GroupBlock, GroupHistory, Replay
from orchestrator.membership.forecast.newcomers import NewcomerFacts, departure, executed_last, lacks_from

RECORDED_NEWCOMER = {
    2596: "a", 2597: "b", 2598: "c", 2599: "d", 2600: "a", 2601: "e", 2602: "f", 2603: "d", 2605: "g", 2606: "d",
    2607: "h", 2608: "f", 2609: "i", 2610: "h", 2611: "k", 2612: "h", 2613: "l", 2616: "m", 2617: "n", 2619: "o",
    2620: "n", 2621: "p", 2622: "o",
}  # fmt: skip # two recordings, read beside each other
RECORDED_HEALTHY = {
    2596: "a", 2597: "b", 2598: "c", 2599: "d", 2601: "e", 2602: "f", 2605: "g", 2607: "h", 2609: "i", 2611: "k",
    2613: "l", 2616: "m", 2617: "n", 2619: "o", 2621: "q", 2622: "r", 2623: "s", 2625: "t", 2627: "u",
}  # fmt: skip # two recordings, read beside each other
"""Roots of a node that halted when it was added again, and of a healthy one: from the block on, letters for roots."""


def at(recorded: dict[int, str], number: int) -> str:
    return recorded[max(block for block in recorded if block <= number)]


def history(roots: dict[int, str], through: int) -> GroupHistory:
    blocks = tuple(GroupBlock(number=n, block_hash=f"b{n}", state_root=r) for n, r in roots.items() if n <= through)
    return GroupHistory(privacy_group_id="G", blocks=blocks, through=through, through_hash=f"b{through}")


def newcomer(
    roots: dict[int, str], head: int, *replays: Replay, holds: bool = True, shared: bool = False
) -> NewcomerFacts:
    return NewcomerFacts(enclave_key="N", node="n", head=head, holds=holds, shared=shared, roots=roots, replays=replays)


@pytest.mark.parametrize("head", range(2622, 2640))
def test_the_recorded_member_is_refused_at_every_head(head: int) -> None:
    """Its roots go back and forth; a bisection over them passed it at some heads, and its node halted."""
    healthy = history(RECORDED_HEALTHY, head)
    shown = {number: at(RECORDED_NEWCOMER, number) for number in range(2596, head + 1)}
    found = departure(healthy, newcomer(shown, head))
    assert found.trouble is not None
    assert (found.last, found.block_number, found.passing) == (2619, 2620, False)


def replay(at_block: int | None, *blocks: int) -> Replay:
    return Replay(privacy_group_id="X", at_block=at_block, blocks=frozenset(blocks))


@given(st.sets(st.integers(1, 20), min_size=2), st.data())
def test_who_left_undisturbed_goes_on_behind_its_last_block(numbers: set[int], data: st.DataObject) -> None:
    """A node that nothing was replayed on keeps the group as it was when it left."""
    roots = {number: f"r{number}" for number in sorted(numbers)}
    last = data.draw(st.sampled_from(sorted(numbers)))
    head = data.draw(st.integers(last, 25))
    shown = dict.fromkeys(range(last, head + 1), f"r{last}")
    found = departure(history(roots, 25), newcomer(shown, head))
    assert (found.last, found.trouble) == (last, None)


ROOTS = {3: "r3", 4: "r4", 8: "r8"}


def test_a_replay_over_the_last_block_counts_when_the_group_goes_on_in_the_next() -> None:
    """The map that the replay begins from may lack the group, which no root shows."""
    shown = dict.fromkeys(range(3, 10), "r3")
    close, far = history(ROOTS, 9), history({3: "r3", 5: "r5"}, 9)
    assert departure(close, newcomer(shown, 9, replay(7, 3))).trouble is not None
    assert departure(close, newcomer(shown, 9, replay(None, 3))).trouble is not None
    assert departure(close, newcomer(shown, 9, replay(7, 2, 4))).trouble is None
    assert departure(close, newcomer(shown, 9, replay(3, 3))).trouble is None
    assert departure(far, newcomer(shown, 9, replay(7, 3))).trouble is None
    own = Replay(privacy_group_id="G", at_block=7, blocks=frozenset({3}))
    assert departure(close, newcomer(shown, 9, own)).trouble is None


def test_what_a_node_replayed_unseen_may_be_over_its_last_block() -> None:
    """A tenant's node does not list all groups: what can't be told is not risked, where it matters."""
    shown = dict.fromkeys(range(3, 10), "r3")
    close, far = history(ROOTS, 9), history({3: "r3", 5: "r5"}, 9)
    tenant = replace(newcomer(shown, 9), unseen="not all groups are listed")
    assert departure(close, tenant).trouble is not None
    assert departure(far, tenant).trouble is None


def test_at_its_last_block_itself_it_waits_for_the_next() -> None:
    """Where the group goes on is not known yet; a block later it is."""
    found = departure(history({3: "r3"}, 3), newcomer({3: "r3"}, 3, replay(None, 3)))
    assert found.passing
    assert departure(history({3: "r3"}, 4), newcomer({3: "r3", 4: "r3"}, 4, replay(None, 3))).trouble is None


def test_a_state_that_nobody_ever_had_is_refused() -> None:
    """There is nothing of the group's that the node could go on from."""
    found = departure(history(ROOTS, 9), newcomer({9: "odd"}, 9))
    assert found.trouble is not None


def test_who_fell_back_replays_from_there() -> None:
    """A block that the node executed once answers for itself; at all others it shows what it fell back to."""
    shown = {3: "r3", 4: "r4", 5: "r3", 6: "r3", 7: "r3", 8: "r8", 9: "r3"}
    found = departure(history(ROOTS, 9), newcomer(shown, 9))
    assert (found.last, found.trouble) == (3, None)
    assert departure(history(ROOTS, 9), newcomer(shown | {6: "r4"}, 9)).block_number == 6


def test_a_shared_node_replays_nothing_and_a_fresh_one_all() -> None:
    """What counts is the node, not the key."""
    shared = newcomer({9: "r8"}, 9, shared=True)
    assert departure(history(ROOTS, 9), shared).last == 9
    assert departure(history(ROOTS, 9), newcomer({9: ""}, 9, holds=False)).last == 0


def test_an_unseen_node_is_taken_at_its_last_removal() -> None:
    """What a member executed while it was one it need not replay."""
    unseen = NewcomerFacts(
        enclave_key="N", node=None, head=None, holds=None, roots={}, replays=(), left_block=4, unseen="not ours"
    )
    assert lacks_from(unseen, departure(history(ROOTS, 9), unseen)) == 4
    assert executed_last(history(ROOTS, 9), "r8") == 8
