"""Which of some blocks hold a transaction of a group that a node replayed."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from orchestrator.engine.history.roots import NodeRoots
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.membership.forecast.histories import Replay


async def with_blocks(
    roots: NodeRoots, watcher: ChainWatcher, replays: Sequence[Replay], numbers: Collection[int]
) -> tuple[Replay, ...] | None:
    """Return a node's replays with those of some blocks that hold a transaction of their group; None while unread.

    A block that the node executed answers for itself, with a root that is nowhere before: where a block and its parent
    show one root, the block holds nothing of the group. Where they differ it may, which is what is asked for.

    Args:
        roots: Reads them.
        watcher: The node.
        replays: Its replays.
        numbers: The blocks in question.

    Raises:
        NodeError: It does not answer.
    """
    found = []
    for replay in replays:
        # A replay that came before the block did not run it.
        asked = sorted(n for n in numbers if replay.at_block is None or replay.at_block > n)
        around = sorted({number for n in asked for number in (n - 1, n)})
        seen = await roots.read(watcher, replay.privacy_group_id, around, replays)
        if seen is None:
            return None
        found.append(replace(replay, blocks=frozenset(n for n in asked if seen[n] != seen[n - 1])))
    return tuple(found)
