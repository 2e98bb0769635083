"""What the HTTP API needs to know callers by."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.access.audit import AuditEntry, ChainedEntry
from orchestrator.access.tokens import TokenRecord


class AccessTokens(Protocol):
    """Keeps callers' tokens; fulfilled by `store.stores.token_store.SqlAccessTokens`. May raise `StoreError`."""

    async def find(self, token_id: str) -> TokenRecord | None:
        """Return one, be it expired or revoked."""

    async def add(self, record: TokenRecord, audit: AuditEntry) -> None:
        """Keep a new one, and the entry of the audit log for it."""

    async def newest(self) -> Sequence[TokenRecord]:
        """Return all, the newest first; a bounded number."""

    async def revoke(self, token_id: str, at: datetime, audit: AuditEntry) -> TokenRecord | None:
        """Let one count no more; returns it, None when there is none."""


class AuditLog(Protocol):
    """The audit log; fulfilled by `orchestrator.store.stores.audit_store.SqlAuditLog`. May raise `StoreError`."""

    async def record(self, entry: AuditEntry) -> None:
        """Append an entry that belongs to nothing that is stored."""

    async def behind(self, after: int, limit: int) -> Sequence[ChainedEntry]:
        """Return the entries behind a number, in their order."""
