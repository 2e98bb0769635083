"""Columns of head maps say what a map per block says."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.devnet.config import DevnetConfig
from orchestrator.devnet.emulation import Emulation
from orchestrator.devnet.encoding import to_base64
from orchestrator.devnet.network.history import make_history
from orchestrator.devnet.private.head_maps import GroupTimeline, commit_block, recommit_block
from orchestrator.devnet.private.private_state import ExecutedTransaction

GROUPS = [bytes([number]) * 32 for number in range(3)]
BLOCKS = 8


def some_record() -> ExecutedTransaction:
    """A stored transaction; which one does not matter here."""
    emulation = Emulation(DevnetConfig(block_period_seconds=0))
    make_history(emulation.network, 0, privacy_group_id=to_base64(GROUPS[0]))
    return emulation.network.nodes[0].timelines[GROUPS[0]].records[0]


RECORDS = (some_record(),)
groups = st.sampled_from(GROUPS)


@given(
    executed=st.lists(st.sets(groups), min_size=BLOCKS, max_size=BLOCKS),
    replayed=st.lists(st.tuples(groups, st.integers(1, BLOCKS), st.integers(2, BLOCKS + 1)), max_size=8),
    kept=st.integers(0, BLOCKS),
)
def test_columns_say_what_maps_say(
    executed: list[set[bytes]], replayed: list[tuple[bytes, int, int]], kept: int
) -> None:
    """After any blocks, replayed blocks, and a fork, each group has the entry that a dict per block has."""
    timelines: dict[bytes, GroupTimeline] = {}
    maps: list[dict[bytes, int]] = [{}]
    for block, found in enumerate(executed, start=1):
        commit_block(timelines, block, dict.fromkeys(found, RECORDS))
        maps.append(maps[-1] | dict.fromkeys(found, block))
    for group, block, end in replayed:
        recommit_block(timelines, block, group, RECORDS, BLOCKS)
        maps[block] = maps[block - 1] | {group: block}
        if end > block + 1:
            timelines[group].set_heads(block + 1, end, block, BLOCKS)
            for between in range(block + 1, end):
                maps[between][group] = block

    def check(newest: int) -> None:
        for group in GROUPS:
            timeline = timelines.get(group, GroupTimeline())
            assert [timeline.head_at(block) for block in range(newest + 1)] == [
                entries.get(group) for entries in maps[: newest + 1]
            ]
            assert timeline.changes == sorted(set(timeline.changes))

    check(BLOCKS)
    for timeline in timelines.values():
        timeline.forget_after(kept)
    check(kept)


def test_a_copy_changes_without_the_original() -> None:
    """A replay that is only tried leaves the node's maps alone."""
    timelines = {GROUPS[0]: GroupTimeline()}
    commit_block(timelines, 1, {GROUPS[0]: RECORDS})
    tried = {group: timeline.copy() for group, timeline in timelines.items()}
    commit_block(tried, 2, {GROUPS[0]: RECORDS})
    tried[GROUPS[0]].history_key = bytes(32)

    assert timelines[GROUPS[0]].blocks == timelines[GROUPS[0]].changes == [1]
    assert timelines[GROUPS[0]].history_key is None
    assert tried[GROUPS[0]].head_at(2) == 2
