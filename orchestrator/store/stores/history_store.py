"""`HistoryStore` of `engine.history.ports` on SQL: each method is one unit of work in a worker thread."""

from collections.abc import Collection, Sequence
from functools import partial

from orchestrator.engine.history.ports import KeptBlocks, KeptLogs, Mark
from orchestrator.membership.forecast.blocks import Examination
from orchestrator.membership.forecast.histories import GroupBlock
from orchestrator.membership.forecast.memberships import MembershipLog
from orchestrator.store.commits.database import Database
from orchestrator.store.units import histories
from orchestrator.store.units.histories import KeepBlocks

_KEY = ""
"""What the unit locks belongs to no lane."""


class SqlHistoryStore:
    """The durable record of histories; see `engine.history.ports.HistoryStore` for what each method does.

    Args:
        database: An open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def group_blocks(self, privacy_group_id: str) -> KeptBlocks:
        """Return what is kept of a group."""
        return await self._database.read(partial(histories.kept_blocks, privacy_group_id=privacy_group_id))

    async def keep_group_blocks(
        self, privacy_group_id: str, above: int, blocks: Sequence[GroupBlock], mark: Mark
    ) -> None:
        """Put these blocks in place of all that are kept of the group above a number."""
        unit = KeepBlocks(privacy_group_id=privacy_group_id, above=above, blocks=tuple(blocks), mark=mark)
        # With a key, for company: each of a hundred lanes keeps its group's blocks twice, which was a commit each.
        await self._database.write(unit, key=_KEY)

    async def examinations(self, numbers: Collection[int]) -> tuple[Examination, ...]:
        """Return what is kept of these blocks."""
        return await self._database.read(partial(histories.examinations, numbers=numbers))

    async def newest_examinations(self, limit: int, below: int, node: str) -> tuple[Examination, ...]:
        """Return the examined blocks below a number that a node told alone, or two did; newest first."""
        return await self._database.read(partial(histories.newest_examinations, limit=limit, below=below, node=node))

    async def keep_examinations(self, examinations: Sequence[Examination]) -> None:
        """Keep what blocks are to a replay."""
        await self._database.write(partial(histories.keep_examinations, examined=tuple(examinations)))

    async def forget_examinations(self, above: int, told_by: str) -> None:
        """Forget the blocks above a number that a node told alone; those that two told for an empty name."""
        await self._database.write(partial(histories.forget_examinations, above=above, told_by=told_by))

    async def membership_logs(self, node_key: str) -> KeptLogs:
        """Return what is kept of a node's groups."""
        return await self._database.read(partial(histories.kept_logs, node_key=node_key))

    async def keep_membership_logs(self, node_key: str, logs: Sequence[MembershipLog], mark: Mark) -> None:
        """Put these logs in place of all that are kept of the node."""
        unit = partial(histories.keep_logs, node_key=node_key, logs=tuple(logs), mark=mark)
        await self._database.write(unit)
