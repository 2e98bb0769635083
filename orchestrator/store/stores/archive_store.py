"""`EndedChanges` of `engine.archives.changes` on SQL: each method is one unit of work in a worker thread."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from orchestrator.engine.archives.changes import EndedBatch
from orchestrator.instants import micros
from orchestrator.store.commits.database import Database
from orchestrator.store.units import archive


class SqlEndedChanges:
    """Changes that may leave the store; see `engine.archives.changes.EndedChanges` for what each method does.

    Args:
        database: An open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ended(self, *, before: datetime, after: int, limit: int) -> EndedBatch:
        """Return the changes behind a position that ended before a time and that nothing needs any more."""
        return await self._database.read(partial(archive.ended, before=micros(before), after=after, limit=limit))

    async def delete(self, change_ids: Sequence[str], *, before: datetime) -> int:
        """Delete those of them that still may go, in one transaction; returns how many went."""
        unit = partial(archive.delete, change_ids=tuple(change_ids), before=micros(before))
        return await self._database.write(unit)
