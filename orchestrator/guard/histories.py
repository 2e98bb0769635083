"""What a guard read of histories, in memory: after a restart it is read again."""

from collections.abc import Collection, Sequence
from typing import Final

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.history.ports import KeptBlocks, KeptLogs, Mark
from orchestrator.membership.forecast.blocks import Examination
from orchestrator.membership.forecast.histories import GroupBlock
from orchestrator.membership.forecast.memberships import MembershipLog

MOST_EXAMINED: Final = 100_000


class MemoryHistories:
    """Keeps what blocks are to a replay, and who came into the groups of nodes; a bounded number of blocks."""

    def __init__(self) -> None:
        self._blocks: dict[str, KeptBlocks] = {}
        self._examined: BoundedDict[int, Examination] = BoundedDict(MOST_EXAMINED)
        self._logs: dict[str, KeptLogs] = {}

    async def group_blocks(self, privacy_group_id: str) -> KeptBlocks:
        """Return what is kept of a group."""
        return self._blocks.get(privacy_group_id, KeptBlocks())

    async def keep_group_blocks(
        self, privacy_group_id: str, above: int, blocks: Sequence[GroupBlock], mark: Mark
    ) -> None:
        """Put these blocks in place of all that are kept of the group above a number."""
        below = [block for block in (await self.group_blocks(privacy_group_id)).blocks if block.number <= above]
        self._blocks[privacy_group_id] = KeptBlocks(blocks=(*below, *blocks), mark=mark)

    async def examinations(self, numbers: Collection[int]) -> tuple[Examination, ...]:
        """Return what is kept of these blocks."""
        return tuple(self._examined[number] for number in numbers if number in self._examined)

    async def newest_examinations(self, limit: int, below: int, node: str) -> tuple[Examination, ...]:
        """Return the examined blocks below a number that a node told alone, or two did; newest first."""
        counting = [e for e in self._examined.values() if e.number < below and e.told_by in ("", node)]
        return tuple(sorted(counting, key=lambda e: -e.number)[:limit])

    async def keep_examinations(self, examinations: Sequence[Examination]) -> None:
        """Keep what blocks are to a replay, in place of what was known of blocks of these numbers."""
        for examination in examinations:
            self._examined[examination.number] = examination

    async def forget_examinations(self, above: int, told_by: str) -> None:
        """Forget the blocks above a number that a node told alone; those that two told for an empty name."""
        for number in [e.number for e in self._examined.values() if e.number > above and e.told_by == told_by]:
            del self._examined[number]

    async def membership_logs(self, node_key: str) -> KeptLogs:
        """Return what is kept of a node's groups; a node is known by its first enclave key."""
        return self._logs.get(node_key, KeptLogs())

    async def keep_membership_logs(self, node_key: str, logs: Sequence[MembershipLog], mark: Mark) -> None:
        """Put these logs in place of all that are kept of the node."""
        self._logs[node_key] = KeptLogs(logs=tuple(logs), mark=mark)
