"""That the store was restored from a backup, for the doctor and for `run`."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import sqlalchemy as sa

from orchestrator.doctor.findings import Finding, Level
from orchestrator.engine.attempts.restored import CHECKPOINT, SLUG, Restoration, restoration_of
from orchestrator.membership.model import State
from orchestrator.store.commits.database import Database
from orchestrator.store.schema import NOT_QUEUED, changes
from orchestrator.store.units.readers import checkpoint

SHOWN_FOR: Final = timedelta(days=30)
"""How long a restoration is told of where nothing waits for a person any more."""

# The condition of the table's index comes first in it: queued changes, of which there may be any number, are not read.
_WAITING = (
    sa.select(sa.func.count())
    .select_from(changes)
    .where(NOT_QUEUED, changes.c.state == State.PARKED.value, changes.c.reason.like(f'%"slug":"{SLUG}"%'))
)


async def restoration_in(database: Database) -> Restoration | None:
    """Return that a store was restored; None for one that never was.

    Raises:
        StoreError: The store does not answer.
    """
    return restoration_of(await database.read(partial(checkpoint, name=CHECKPOINT)))


async def examine_restoration(database: Database) -> tuple[Finding, ...]:
    """Tell of a restoration, and of changes that wait for a person since; nothing for a store that never was restored.

    Raises:
        StoreError: The store does not answer.
    """
    found = await restoration_in(database)
    if found is None:
        return ()
    waiting = await database.read(lambda connection: int(connection.execute(_WAITING).scalar_one()))
    if not waiting and datetime.now(UTC) - found.at > SHOWN_FOR:
        return ()
    what = f"the store was restored at {found.at:%Y-%m-%d %H:%M} UTC, from a backup of about block {found.block}"
    if not waiting:
        return (Finding(check="restored", level=Level.NOTE, what=what),)
    return (
        Finding(
            check="restored",
            level=Level.WARNING,
            what=f"{what}; {waiting} change(s) of before wait for a person",
            why="Their groups were changed after the backup: they may have been done, and undone, since.",
            remedy="Look at each (`orchestrator changes --state parked`), and retry or cancel it.",
        ),
    )
