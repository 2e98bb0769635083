"""What each node showed last of each group, for those who would ask the same node for the same block again."""

from typing import Final

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.membership.model import GroupView

REMEMBERED: Final = 10_000


class SeenRoots:
    """Remembers by node and group the newest view; nothing in it is needed after a restart."""

    def __init__(self) -> None:
        self._seen: BoundedDict[tuple[str, str], tuple[int, GroupView]] = BoundedDict(REMEMBERED)

    def note(self, watcher: ChainWatcher, privacy_group_id: str, view: GroupView) -> None:
        """Keep what a node has just shown of a group: its root, or that it has no such group at that block."""
        self._seen[watcher.node.name, privacy_group_id] = watcher.reorganisations, view

    def at(self, watcher: ChainWatcher, privacy_group_id: str, block_number: int) -> GroupView | None:
        """Return what a node showed of a group at a block; None where that was not asked, or of another branch."""
        reorganisations, view = self._seen.get((watcher.node.name, privacy_group_id), (-1, None))
        known = view is not None and view.block_number == block_number and reorganisations == watcher.reorganisations
        return view if known else None
