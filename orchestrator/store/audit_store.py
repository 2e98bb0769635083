"""The audit log on SQL."""

from functools import partial
from typing import Final

from orchestrator.access.audit import AuditEntry, ChainedEntry
from orchestrator.store import audit_rows
from orchestrator.store.database import Database
from orchestrator.store.transaction import Transaction

_KEY: Final = ""
"""What these units lock belongs to no group."""


class SqlAuditLog:
    """The log. What belongs to something that is stored goes into the log in the same transaction as that.

    Args:
        database: An open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, entry: AuditEntry) -> None:
        """Append an entry that belongs to nothing that is stored.

        Raises:
            StoreError: It was not.
        """
        await self._database.write(partial(_record, entry=entry), key=_KEY)

    async def behind(self, after: int, limit: int) -> tuple[ChainedEntry, ...]:
        """Return the entries behind a number, in their order.

        Raises:
            StoreError: The store does not answer.
        """
        return await self._database.read(partial(audit_rows.behind, after=after, limit=limit))


def _record(transaction: Transaction, *, entry: AuditEntry) -> None:
    transaction.audit(entry)
