"""Tokens and audit log beside the store, without a daemon: whoever can write the store may as well."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from orchestrator.access.audit import Action, entry_by
from orchestrator.access.callers import Door, anyone
from orchestrator.api.documents.access import (
    MadeTokenDocument,
    TokenDocument,
    TokenPage,
    TokenRequest,
    made_token_document,
    token_document,
)
from orchestrator.api.resources.audit_log import AuditDocument, audit_document
from orchestrator.api.resources.tokens import about_token, new_token
from orchestrator.app import store_url
from orchestrator.cli.display.output import Exit, fail
from orchestrator.cli.verbs.run import load
from orchestrator.config import ConfigError
from orchestrator.engine.ports.store import StoreError
from orchestrator.instants import micros
from orchestrator.outside_text import presentable
from orchestrator.store.commits.database import Database
from orchestrator.store.stores.audit_store import SqlAuditLog
from orchestrator.store.stores.token_store import SqlAccessTokens

T = TypeVar("T")

LOCAL_NAME = "local"
"""What is kept as who made a token that was made here."""

# Nobody proves anything here: who can write the store needs no leave, and the audit log says by which door it was.
_HERE = anyone(Door.LOCAL)


def created(config: Path, asked: Mapping[str, object]) -> MadeTokenDocument:
    """Make a token."""
    try:
        wanted = TokenRequest.model_validate(asked)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise fail(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", Exit.USAGE) from None
    record, token = new_token(wanted, LOCAL_NAME, datetime.now(UTC))

    async def keep(database: Database) -> MadeTokenDocument:
        entry = entry_by(_HERE, Action.CREATE_TOKEN, micros(record.created_at), about=about_token(record))
        await SqlAccessTokens(database).add(record, entry)
        return made_token_document(record, token)

    return _on_store(config, keep)


def listed(config: Path) -> TokenPage:
    """Return all tokens."""

    async def read(database: Database) -> TokenPage:
        return TokenPage(tokens=[token_document(record) for record in await SqlAccessTokens(database).newest()])

    return _on_store(config, read)


def revoked(config: Path, token_id: str) -> TokenDocument:
    """Revoke a token."""

    async def revoke(database: Database) -> TokenDocument:
        now = datetime.now(UTC)
        found = await SqlAccessTokens(database).revoke(
            token_id, now, entry_by(_HERE, Action.REVOKE_TOKEN, micros(now), about=presentable(token_id))
        )
        if found is None:
            raise fail(f"there is no token {token_id}; `orchestrator tokens list` shows them", Exit.USAGE)
        return token_document(found)

    return _on_store(config, revoke)


def audit_page(config: Path, after: int, limit: int) -> list[AuditDocument]:
    """Return entries of the audit log."""

    async def read(database: Database) -> list[AuditDocument]:
        return [audit_document(entry) for entry in await SqlAuditLog(database).behind(after, limit)]

    return _on_store(config, read)


def _on_store(config: Path, work: Callable[[Database], Awaitable[T]]) -> T:
    loaded = load(config)

    async def opened() -> T:
        async with Database(store_url(loaded)) as database:
            return await work(database)

    try:
        return asyncio.run(opened())
    except ConfigError as error:
        raise fail(str(error), Exit.USAGE) from None
    except StoreError as error:
        raise fail(str(error)) from None
