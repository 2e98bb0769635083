"""The audit log on SQL."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Final

from orchestrator.access.audit import AuditEntry, ChainedEntry
from orchestrator.access.audit_chain import archived_entry
from orchestrator.instants import micros
from orchestrator.store.commits import audit_rows
from orchestrator.store.commits.database import Database
from orchestrator.store.commits.transaction import Transaction

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

    async def old(self, *, before: datetime, after: int, limit: int) -> tuple[ChainedEntry, ...]:
        """Return the entries behind a number up to the first that is not older than a time, never the newest of all."""
        return await self._database.read(partial(audit_rows.old, before=micros(before), after=after, limit=limit))

    def lines(self, entries: Sequence[ChainedEntry]) -> list[str]:
        """Return entries as lines of an archive."""
        return [audit_rows.line_of(found) for found in entries]

    async def cut(self, last: ChainedEntry, *, at: datetime) -> None:
        """Let all through an entry go, and say so in the log itself, in one transaction."""
        await self._database.write(partial(_cut, last=last, at=at), key=_KEY)

    async def delete_cut(self, limit: int) -> int:
        """Delete some of what was cut off, oldest first, in one transaction; returns how many entries went."""
        return await self._database.write(partial(_delete_cut, limit=limit), key=_KEY)


def _cut(transaction: Transaction, *, last: ChainedEntry, at: datetime) -> None:
    transaction.audit(archived_entry(last.number, last.entry_hash, at))
    audit_rows.cut(transaction.connection, number=last.number, entry_hash=last.entry_hash, at=micros(at))


def _delete_cut(transaction: Transaction, *, limit: int) -> int:
    return audit_rows.delete_cut(transaction.connection, limit)


def _record(transaction: Transaction, *, entry: AuditEntry) -> None:
    transaction.audit(entry)
