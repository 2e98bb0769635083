"""State roots that are read as their blocks come, so that a proof's last block brings only its own.

When a hundred proofs end with one block, all of their last questions are put in the same moment: the fewer they are,
the sooner the status events are out. Nor is a block asked for that an empty one follows: that one's head map begins as
its map, and stays so whatever other group is replayed later, so that it tells of both
(docs/besu.md#how-replay-damages-other-groups).
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.membership.model import GroupView

MOST_GROUPS = 10_000


@dataclass(frozen=True, slots=True)
class _Read:
    view: GroupView
    reorganisations: int


class EarlyRoots:
    """Keeps roots for the proof that wants them next; nothing in it is needed after a restart."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], dict[int, _Read]] = {}

    async def read(self, watchers: Iterable[ChainWatcher], group: str, block_number: int) -> None:
        """Read a group's root at a block on some nodes; one that does not answer is asked again by `roots`.

        What an empty block shows waits for the next one, which may be empty, too.
        """
        filled = [watcher for watcher in watchers if not watcher.is_empty(block_number)]
        await asyncio.gather(*(self._read_one(watcher, group, block_number) for watcher in filled))

    async def roots(self, watcher: ChainWatcher, group: str, block_numbers: Sequence[int]) -> tuple[GroupView, ...]:
        """Return a group's roots at some blocks, reading those that are not known or may be of another branch.

        Raises:
            NodeError: The node does not answer.
        """
        known = self._known.pop((watcher.node.name, group), {})
        current = {n: read.view for n, read in known.items() if read.reorganisations == watcher.reorganisations}
        shown_by_next = {n for n in block_numbers if n + 1 in block_numbers and watcher.is_empty(n + 1)}
        missing = [number for number in block_numbers if number not in current and number not in shown_by_next]
        if missing:
            current |= zip(missing, await watcher.node.roots(group, missing), strict=True)
        for number in sorted(shown_by_next - current.keys(), reverse=True):
            current[number] = replace(current[number + 1], block_number=number)
        return tuple(current[number] for number in block_numbers)

    async def _read_one(self, watcher: ChainWatcher, group: str, block_number: int) -> None:
        reorganisations = watcher.reorganisations
        try:
            (view,) = await watcher.node.roots(group, [block_number])
        except NodeError:
            return
        key = (watcher.node.name, group)
        if key not in self._known and len(self._known) >= MOST_GROUPS:
            del self._known[next(iter(self._known))]
        self._known.setdefault(key, {})[block_number] = _Read(view, reorganisations)
