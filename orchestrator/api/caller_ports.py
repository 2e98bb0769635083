"""What the HTTP API needs to know callers by."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from orchestrator.access.tokens import TokenRecord


class AccessTokens(Protocol):
    """Keeps callers' tokens; fulfilled by `orchestrator.store.token_store.SqlAccessTokens`. May raise `StoreError`."""

    async def find(self, token_id: str) -> TokenRecord | None:
        """Return one, be it expired or revoked."""

    async def add(self, record: TokenRecord) -> None:
        """Keep a new one."""

    async def newest(self) -> Sequence[TokenRecord]:
        """Return all, the newest first; a bounded number."""

    async def revoke(self, token_id: str, at: datetime) -> TokenRecord | None:
        """Let one count no more; returns it, None when there is none."""
