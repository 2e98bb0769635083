"""Tokens made beside the store, without a daemon: whoever can write the store may as well."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from orchestrator.api.access_documents import (
    NewTokenDocument,
    TokenDocument,
    TokenPage,
    TokenRequest,
    new_token_document,
    token_document,
)
from orchestrator.api.tokens import new_token
from orchestrator.app import store_url
from orchestrator.cli.output import Exit, fail
from orchestrator.cli.running import load
from orchestrator.config import ConfigError
from orchestrator.engine.ports import StoreError
from orchestrator.store.database import Database
from orchestrator.store.token_store import SqlAccessTokens

T = TypeVar("T")

LOCAL_NAME = "local"
"""What is kept as who made a token that was made here."""


def created(config: Path, asked: Mapping[str, object]) -> NewTokenDocument:
    """Make a token."""
    try:
        wanted = TokenRequest.model_validate(asked)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise fail(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", Exit.USAGE) from None
    record, token = new_token(wanted, LOCAL_NAME, datetime.now(UTC))

    async def keep(tokens: SqlAccessTokens) -> NewTokenDocument:
        await tokens.add(record)
        return new_token_document(record, token)

    return _on_store(config, keep)


def listed(config: Path) -> TokenPage:
    """Return all tokens."""

    async def read(tokens: SqlAccessTokens) -> TokenPage:
        return TokenPage(tokens=[token_document(record) for record in await tokens.newest()])

    return _on_store(config, read)


def revoked(config: Path, token_id: str) -> TokenDocument:
    """Revoke a token."""

    async def revoke(tokens: SqlAccessTokens) -> TokenDocument:
        found = await tokens.revoke(token_id, datetime.now(UTC))
        if found is None:
            raise fail(f"there is no token {token_id}; `orchestrator tokens list` shows them", Exit.USAGE)
        return token_document(found)

    return _on_store(config, revoke)


def _on_store(config: Path, work: Callable[[SqlAccessTokens], Awaitable[T]]) -> T:
    loaded = load(config)

    async def opened() -> T:
        async with Database(store_url(loaded)) as database:
            return await work(SqlAccessTokens(database))

    try:
        return asyncio.run(opened())
    except ConfigError as error:
        raise fail(str(error), Exit.USAGE) from None
    except StoreError as error:
        raise fail(str(error)) from None
