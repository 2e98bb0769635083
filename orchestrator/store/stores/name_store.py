"""What people call groups, on SQL."""

from functools import partial
from typing import Final

import sqlalchemy as sa

from orchestrator.store.commits.database import Database
from orchestrator.store.commits.transaction import Transaction, Upsert, per_dialect
from orchestrator.store.rows import storable
from orchestrator.store.schema import group_names

MOST_NAMES: Final = 10_000

_KEY: Final = ""
"""What these units lock belongs to no group."""


def _insert_new(insert: Upsert) -> sa.Insert:
    return insert(group_names).on_conflict_do_nothing(index_elements=["name"])


_INSERT = per_dialect(_insert_new)


class SqlGroupNames:
    """The names; a name stands for one group for good, and a group may have several.

    Args:
        database: An open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def names(self) -> dict[str, str]:
        """Return the groups' ids by name, at most `MOST_NAMES` of them.

        Raises:
            StoreError: The store does not answer.
        """
        return await self._database.read(_names)

    async def give(self, name: str, privacy_group_id: str) -> str:
        """Let a name stand for a group unless it stands for one already; return the id that it stands for then.

        Raises:
            StoreError: The store does not answer.
        """
        return await self._database.write(partial(_give, name=name, privacy_group_id=privacy_group_id), key=_KEY)


def _names(connection: sa.Connection) -> dict[str, str]:
    rows = connection.execute(sa.select(group_names).order_by(group_names.c.name).limit(MOST_NAMES)).mappings()
    return {row["name"]: row["privacy_group_id"] for row in rows}


def _give(transaction: Transaction, *, name: str, privacy_group_id: str) -> str:
    connection = transaction.connection
    row = {"name": storable(name), "privacy_group_id": storable(privacy_group_id)}
    connection.execute(_INSERT[connection.dialect.name], [row])
    wanted = sa.select(group_names.c.privacy_group_id).where(group_names.c.name == row["name"])
    return str(connection.execute(wanted).scalar_one())
