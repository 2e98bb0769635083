"""Callers' tokens on SQL: what is kept of each; a revoked one stays, so that the list tells of it."""

import json
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

import sqlalchemy as sa

from orchestrator.access.audit import AuditEntry
from orchestrator.access.callers import Role, scope_of
from orchestrator.access.tokens import TokenRecord
from orchestrator.instants import micros, moment
from orchestrator.membership.model import Kind
from orchestrator.store.access_schema import access_tokens
from orchestrator.store.commits.database import Database
from orchestrator.store.commits.transaction import Transaction
from orchestrator.store.rows import Row, Values, storable, to_json

MOST_LISTED: Final = 1_000

_KEY: Final = ""
"""What these units lock belongs to no group."""
_BY_ID: Final = sa.select(access_tokens).where(access_tokens.c.token_id == sa.bindparam("token_id"))
_NEWEST: Final = sa.select(access_tokens).order_by(access_tokens.c.created_at.desc()).limit(MOST_LISTED)


class SqlAccessTokens:
    """The tokens. Every method may raise `StoreError`.

    Args:
        database: An open database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, record: TokenRecord, audit: AuditEntry) -> None:
        """Keep a new one."""
        await self._database.write(partial(_add, record=record, audit=audit), key=_KEY)

    async def find(self, token_id: str) -> TokenRecord | None:
        """Return one, be it expired or revoked."""
        return await self._database.read(partial(_find, token_id=token_id))

    async def newest(self) -> tuple[TokenRecord, ...]:
        """Return all, the newest first, at most `MOST_LISTED`."""
        return await self._database.read(_newest)

    async def revoke(self, token_id: str, at: datetime, audit: AuditEntry) -> TokenRecord | None:
        """Let one count no more; returns it, None when there is none. One that was revoked before stays as it is."""
        return await self._database.write(partial(_revoke, token_id=token_id, at=at, audit=audit), key=_KEY)


def _add(transaction: Transaction, *, record: TokenRecord, audit: AuditEntry) -> None:
    transaction.audit(audit)
    transaction.connection.execute(access_tokens.insert(), _values(record))


def _find(connection: sa.Connection, *, token_id: str) -> TokenRecord | None:
    row = connection.execute(_BY_ID, {"token_id": storable(token_id)}).mappings().one_or_none()
    return None if row is None else _record(row)


def _newest(connection: sa.Connection) -> tuple[TokenRecord, ...]:
    return tuple(_record(row) for row in connection.execute(_NEWEST).mappings())


def _revoke(transaction: Transaction, *, token_id: str, at: datetime, audit: AuditEntry) -> TokenRecord | None:
    found = _find(transaction.connection, token_id=token_id)
    # When it was revoked first is what the log and the list go by: a second time is not another one.
    if found is None or found.revoked_at is not None:
        return found
    transaction.audit(audit)
    revoking = access_tokens.update().where(access_tokens.c.token_id == found.token_id)
    transaction.connection.execute(revoking.values(revoked_at=micros(at)))
    return replace(found, revoked_at=moment(micros(at)))


def _values(record: TokenRecord) -> Values:
    scope = record.scope
    listed = {
        "groups": None if scope.groups is None else sorted(scope.groups),
        "accounts": None if scope.accounts is None else sorted(scope.accounts),
        "kinds": None if scope.kinds is None else sorted(kind.value for kind in scope.kinds),
    }
    return {
        "token_id": record.token_id,
        "name": storable(record.name),
        "role": record.role.value,
        "scope": to_json(listed),
        "secret_hash": record.secret_hash,
        "created_at": micros(record.created_at),
        "created_by": storable(record.created_by),
        "expires_at": micros(record.expires_at),
        "revoked_at": None if record.revoked_at is None else micros(record.revoked_at),
    }


def _record(row: Row) -> TokenRecord:
    listed = json.loads(row["scope"])
    kinds = listed["kinds"]
    return TokenRecord(
        token_id=row["token_id"],
        name=row["name"],
        role=Role(row["role"]),
        scope=scope_of(listed["groups"], listed["accounts"], None if kinds is None else [Kind(kind) for kind in kinds]),
        secret_hash=row["secret_hash"],
        created_at=moment(row["created_at"]),
        created_by=row["created_by"],
        expires_at=moment(row["expires_at"]),
        revoked_at=None if row["revoked_at"] is None else moment(row["revoked_at"]),
    )
