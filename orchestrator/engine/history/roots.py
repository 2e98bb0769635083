"""Nodes' roots of groups at many blocks: read once while the node replays nothing."""

from collections.abc import Iterable, Sequence
from typing import Final

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.history.changes import ROOTS_AT_ONCE
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.membership.forecast.histories import Replay

REMEMBERED_SERIES: Final = 200
"""Nodes and groups of which roots are remembered."""
MOST_ROOTS: Final = 32_768
"""Roots that one question reads at most; what is left is read the next time."""


class NodeRoots:
    """Reads and remembers roots."""

    def __init__(self) -> None:
        self._series: BoundedDict[tuple[str, str], tuple[object, dict[int, str]]] = BoundedDict(REMEMBERED_SERIES)

    async def read(
        self, watcher: ChainWatcher, privacy_group_id: str, numbers: Iterable[int], replays: Sequence[Replay]
    ) -> dict[int, str] | None:
        """Return a node's roots of a group at blocks, empty text where it has none; None while more are to be read.

        Args:
            watcher: The node.
            privacy_group_id: The group.
            numbers: The blocks.
            replays: What the node replayed: another replay makes its maps anew, and with them old roots.

        Raises:
            NodeError: It does not answer.
        """
        wanted = tuple(numbers)
        known = self._known(watcher, privacy_group_id, replays)
        missing = [number for number in wanted if number not in known]
        for start in range(0, min(len(missing), MOST_ROOTS), ROOTS_AT_ONCE):
            views = await watcher.node.roots(privacy_group_id, missing[start : start + ROOTS_AT_ONCE])
            known.update((view.block_number, view.state_root) for view in views)
        # Kept, though not enough: each look gets further, and none holds up the lane for long.
        if len(missing) > MOST_ROOTS:
            return None
        return {number: known[number] for number in wanted}

    def _known(self, watcher: ChainWatcher, privacy_group_id: str, replays: Sequence[Replay]) -> dict[int, str]:
        state = (watcher.reorganisations, tuple((replay.privacy_group_id, replay.at_block) for replay in replays))
        place = (watcher.node.name, privacy_group_id)
        kept_state, known = self._series.get(place, (state, {}))
        if kept_state != state:
            known = {}
        self._series[place] = state, known
        return known
