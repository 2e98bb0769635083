"""`WatchRecord` of `engine.blocks.block_watch` on SQL: each method is one unit of work in a worker thread."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from functools import partial
from typing import Final

import sqlalchemy as sa

from orchestrator.engine.history.ports import Mark
from orchestrator.membership.damage.unextendable import SeenAddition, Unextendable, WatchTally
from orchestrator.store.commits.database import Database
from orchestrator.store.commits.transaction import Transaction
from orchestrator.store.schema import examined_blocks, group_blocks, seen_additions, unextendable_groups, watched_blocks
from orchestrator.store.units.histories import NUMBERS_AT_ONCE, examination_of, findings_text, upsert_over

_NETWORK: Final = "network"
_KEY: Final = ""
"""What these units lock belongs to no group."""

MOST_ROWS: Final = 10_000
"""Blocks with findings that one question looks at."""

_PUT_GROUP = upsert_over(unextendable_groups)
_PUT_ADDITION = upsert_over(seen_additions)
_PUT_WATCHED = upsert_over(watched_blocks)


class SqlWatchRecord:
    """The durable record of the watch over new blocks; see `engine.blocks.block_watch.WatchRecord`.

    Args:
        database: An open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def watched(self) -> tuple[Mark | None, WatchTally]:
        """Return how far blocks were watched, and what they were."""
        return await self._database.read(_watched)

    async def keep_watched(self, mark: Mark, tally: WatchTally, additions: Sequence[SeenAddition]) -> None:
        """Keep how far blocks were watched, what they were, and the additions in them."""
        unit = partial(_keep_watched, mark=mark, tally=tally, additions=tuple(additions))
        await self._database.write(unit, key=_KEY)

    async def first_additions(self, additions: Collection[str]) -> dict[str, SeenAddition]:
        """Return by their bytes where additions were seen first."""
        return await self._database.read(partial(_first_additions, additions=sorted(additions)))

    async def unextendable(self) -> tuple[Unextendable, ...]:
        """Return the groups that are known to be unextendable, with the block that was seen first."""
        return await self._database.read(_unextendable)

    async def closed_by_past(self) -> tuple[Unextendable, ...]:
        """Return the groups whose kept history holds a block that can't be replayed, each with the first such block."""
        return await self._database.read(_closed_by_past)

    async def keep_unextendable(self, found: Sequence[Unextendable]) -> None:
        """Keep that groups are unextendable."""
        await self._database.write(partial(_keep_unextendable, found=tuple(found)), key=_KEY)


def _watched(connection: sa.Connection) -> tuple[Mark | None, WatchTally]:
    wanted = sa.select(watched_blocks).where(watched_blocks.c.name == _NETWORK)
    row = connection.execute(wanted).mappings().one_or_none()
    if row is None:
        return None, WatchTally()
    tally = WatchTally(**{name: row[name] for name in WatchTally.__dataclass_fields__})
    return Mark(number=row["number"], block_hash=row["block_hash"]), tally


def _keep_watched(
    transaction: Transaction, *, mark: Mark, tally: WatchTally, additions: tuple[SeenAddition, ...]
) -> None:
    connection = transaction.connection
    row = {"name": _NETWORK, "number": mark.number, "block_hash": mark.block_hash, **asdict(tally)}
    connection.execute(_PUT_WATCHED[connection.dialect.name], [row])
    if additions:
        connection.execute(_PUT_ADDITION[connection.dialect.name], [asdict(one) for one in additions])


def _first_additions(connection: sa.Connection, *, additions: Sequence[str]) -> dict[str, SeenAddition]:
    found: dict[str, SeenAddition] = {}
    for start in range(0, len(additions), NUMBERS_AT_ONCE):
        some = additions[start : start + NUMBERS_AT_ONCE]
        wanted = (
            sa.select(seen_additions).where(seen_additions.c.addition.in_(some)).order_by(seen_additions.c.block_number)
        )
        for row in connection.execute(wanted).mappings():
            found.setdefault(row["addition"], SeenAddition(**row))
    return found


def _unextendable(connection: sa.Connection) -> tuple[Unextendable, ...]:
    rows = connection.execute(sa.select(unextendable_groups).order_by(unextendable_groups.c.privacy_group_id))
    return tuple(
        Unextendable(privacy_group_id=row["privacy_group_id"], examination=examination_of(row))
        for row in rows.mappings()
    )


def _closed_by_past(connection: sa.Connection) -> tuple[Unextendable, ...]:
    # By number and hash: what is kept of a group and what is kept of blocks may be of two branches.
    same = sa.and_(
        group_blocks.c.number == examined_blocks.c.number, group_blocks.c.block_hash == examined_blocks.c.block_hash
    )
    wanted = (
        sa.select(group_blocks.c.privacy_group_id, examined_blocks)
        .join(examined_blocks, same)
        .where(examined_blocks.c.findings != "")
        .order_by(group_blocks.c.privacy_group_id, group_blocks.c.number)
        .limit(MOST_ROWS)
    )
    found: dict[str, Unextendable] = {}
    for row in connection.execute(wanted).mappings():
        examination = examination_of(row)
        if not examination.replayable:
            group = row["privacy_group_id"]
            found.setdefault(group, Unextendable(privacy_group_id=group, examination=examination))
    return tuple(found.values())


def _keep_unextendable(transaction: Transaction, *, found: tuple[Unextendable, ...]) -> None:
    rows = [
        {
            "privacy_group_id": one.privacy_group_id,
            "number": one.examination.number,
            "block_hash": one.examination.block_hash,
            "findings": findings_text(one.examination),
        }
        for one in found
    ]
    if rows:
        connection = transaction.connection
        connection.execute(_PUT_GROUP[connection.dialect.name], rows)
