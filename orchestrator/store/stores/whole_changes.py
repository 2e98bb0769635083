"""Reading changes with all that belongs to them, and which state of them is stored.

Clients that follow changes ask again and again for what has not changed: what tells that is read for many of them at
once, by their keys alone.
"""

import asyncio
from collections.abc import Collection, Mapping
from functools import partial

import sqlalchemy as sa

from orchestrator.engine.archives.whole_changes import ChangeVersion, WholeChange
from orchestrator.store.commits.database import Database
from orchestrator.store.rows import storable
from orchestrator.store.schema import addition_times, changes
from orchestrator.store.stores.time_store import times_of_change
from orchestrator.store.units.reads import attempts_of_change, change_by_id, history_of_change

_lead = changes.alias("lead")


def _of_times(value: sa.ColumnElement[int]) -> sa.ScalarSelect[int]:
    of_batch = sa.func.coalesce(changes.c.lead_id, changes.c.change_id)
    return sa.select(value).where(addition_times.c.change_id == of_batch).scalar_subquery()


# Each step writes its change's row; attempts and times of a batch are its lead's.
_VERSIONS = (
    sa.select(
        changes.c.change_id,
        changes.c.privacy_group_id,
        changes.c.revision,
        sa.func.coalesce(_lead.c.revision, 0),
        _of_times(sa.func.count()),
        _of_times(sa.func.count(addition_times.c.taken_seconds)),
        _of_times(sa.func.coalesce(sa.func.max(addition_times.c.at), 0)),
    )
    .select_from(changes.outerjoin(_lead, _lead.c.change_id == changes.c.lead_id))
    .where(changes.c.change_id.in_(sa.bindparam("change_ids", expanding=True)))
)


def versions_of_changes(connection: sa.Connection, change_ids: Collection[str]) -> dict[str, ChangeVersion]:
    """Return which states of changes are stored; those that there are not are left out."""
    asked = {"change_ids": [storable(change_id) for change_id in change_ids]}
    return {
        change_id: ChangeVersion(privacy_group_id=group, mark=".".join(map(str, numbers)))
        for change_id, group, *numbers in connection.execute(_VERSIONS, asked)
    }


def whole_change(connection: sa.Connection, change_id: str) -> WholeChange | None:
    """Return a change with all that belongs to it; None when there is none."""
    # What is written between these reads makes the version older than the rest, never newer: it is read again then.
    version = versions_of_changes(connection, [change_id]).get(storable(change_id))
    change = change_by_id(connection, change_id)
    if version is None or change is None:
        return None
    return WholeChange(
        version=version,
        change=change,
        history=history_of_change(connection, change_id),
        attempts=attempts_of_change(connection, change_id),
        times=times_of_change(connection, change_id=change.lead_id or change.change_id),
    )


class VersionReader:
    """Reads versions: one read at a time, and who asks while it goes on shares the next with all who do.

    Args:
        database: An open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._asked: set[str] = set()
        self._next: asyncio.Future[Mapping[str, ChangeVersion]] | None = None
        self._alone = asyncio.Lock()

    async def version(self, change_id: str) -> ChangeVersion | None:
        """Return which state of a change is stored, read after this was called; None when there is none.

        Raises:
            StoreError: The database did not answer.
        """
        self._asked.add(change_id)
        if self._next is None:
            self._next = asyncio.ensure_future(self._read())
            self._next.add_done_callback(_look_at)
        # Whoever goes away leaves the read to the others.
        return (await asyncio.shield(self._next)).get(storable(change_id))

    async def _read(self) -> Mapping[str, ChangeVersion]:
        async with self._alone:
            asked, self._asked, self._next = self._asked, set(), None
            return await self._database.read(partial(versions_of_changes, change_ids=asked))


def _look_at(read: asyncio.Future[Mapping[str, ChangeVersion]]) -> None:
    if not read.cancelled():
        read.exception()  # all who asked may be gone
