"""Units of work that find the changes that nothing needs any more, and that delete them.

A change stays, however old it is,

- until it ended, and every status event of it left the outbox: who resumes from one may ask for its change;
- while an attempt of it may still execute, or is the newest of a marker account, whose nonce it holds;
- while a lock of it may still hold its group: it did not succeed, and no later change added to it or unlocked it;
- while a change that did not end is led by it;
- when it is its group's newest, or the newest that succeeded (or that one's lead): which groups there are, and which
  place in the order was given out last, is known from these.
"""

import json
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from orchestrator.engine.archives.changes import EndedBatch
from orchestrator.membership.attempt import Action, AttemptStatus
from orchestrator.membership.model import ENDED, State
from orchestrator.store.commits.transaction import Transaction
from orchestrator.store.schema import NOT_QUEUED, attempts, changes, history, marker_nonces, outbox

_WINDOW = (
    sa.select(changes.c.position, changes.c.created_at)
    .where(changes.c.position > sa.bindparam("after"))
    .order_by(changes.c.position)
    .limit(sa.bindparam("limit"))
)
_BEFORE = sa.bindparam("before", type_=sa.BigInteger)
_ENDED = [state.value for state in sorted(ENDED)]
_UNFINISHED = [state.value for state in sorted(set(State) - ENDED - {State.QUEUED})]
_LIVE = [AttemptStatus.SIGNED.value, AttemptStatus.SENT.value]


def _no(statement: sa.Select[Any]) -> sa.ColumnElement[bool]:
    return sa.not_(statement.correlate(changes).exists())


def _lock_is_over() -> sa.ColumnElement[bool]:
    # A change that failed or was parked may have left its lock to a reorganisation: as long as nothing later unlocked
    # the group, that attempt tells whose lock it is.
    lock = attempts.alias("lock")
    later, of = attempts.alias("later"), changes.alias("of_group")
    undone = (
        sa.select(later.c.position)
        .join(of, of.c.change_id == later.c.change_id)
        .where(
            of.c.privacy_group_id == changes.c.privacy_group_id,
            of.c.state == State.SUCCEEDED.value,
            later.c.action.in_([Action.ADD.value, Action.UNLOCK.value]),
            later.c.status == AttemptStatus.EFFECTIVE.value,
            later.c.position > lock.c.position,
        )
        .correlate(changes, lock)
    )
    held = sa.select(lock.c.position).where(
        lock.c.change_id == changes.c.change_id,
        lock.c.action == Action.LOCK.value,
        lock.c.status != AttemptStatus.VOID.value,
        sa.not_(undone.exists()),
    )
    return sa.or_(changes.c.state == State.SUCCEEDED.value, _no(held))


def _conditions() -> tuple[sa.ColumnElement[bool], ...]:
    other, of = changes.alias("other"), changes.alias("of")
    newest = sa.select(sa.func.max(other.c.position)).where(other.c.privacy_group_id == changes.c.privacy_group_id)
    succeeded = (
        sa.select(of)
        .where(of.c.privacy_group_id == changes.c.privacy_group_id, of.c.state == State.SUCCEEDED.value)
        .order_by(of.c.position.desc())
        .limit(1)
    )
    ids = {name: succeeded.with_only_columns(of.c[name]).scalar_subquery() for name in ("change_id", "lead_id")}
    # Of its own, not of each change: there are few, and the index by state finds them.
    leads = sa.select(of.c.lead_id).where(NOT_QUEUED, of.c.state.in_(_UNFINISHED), of.c.lead_id.is_not(None))
    of_change = attempts.c.change_id == changes.c.change_id
    # Its row points to the attempt that has the account's newest nonce, and tells a nonce that is taken from a free one
    # by it.
    nonce = sa.select(marker_nonces.c.account).join(attempts, attempts.c.attempt_id == marker_nonces.c.attempt_id)
    return (
        changes.c.state.in_(_ENDED),
        changes.c.created_at < _BEFORE,
        _no(sa.select(history.c.revision).where(history.c.change_id == changes.c.change_id, history.c.at >= _BEFORE)),
        _no(sa.select(outbox.c.position).where(outbox.c.change_id == changes.c.change_id)),
        _no(sa.select(attempts.c.position).where(of_change, attempts.c.status.in_(_LIVE))),
        _no(nonce.where(of_change)),
        changes.c.change_id.not_in(leads),
        changes.c.position < newest.correlate(changes).scalar_subquery(),
        sa.func.coalesce(ids["change_id"], "") != changes.c.change_id,
        sa.func.coalesce(ids["lead_id"], "") != changes.c.change_id,
        _lock_is_over(),
    )


_MAY_GO = sa.select(changes).where(*_conditions()).order_by(changes.c.position)
_MAY_GO_IN = _MAY_GO.where(changes.c.position > sa.bindparam("after"), changes.c.position <= sa.bindparam("through"))
_STILL_MAY_GO = _MAY_GO.with_only_columns(changes.c.change_id).where(
    changes.c.change_id.in_(sa.bindparam("ids", expanding=True))
)


def ended(connection: sa.Connection, *, before: int, after: int, limit: int) -> EndedBatch:
    """Return those of the next changes behind a position that may go.

    Args:
        connection: A connection.
        before: When they must have ended, in microseconds.
        after: The position.
        limit: How many changes are looked at.
    """
    window = connection.execute(_WINDOW, {"after": after, "limit": limit}).all()
    # Places follow acceptance, so that behind a window of young ones nothing is old enough.
    if not window or all(row.created_at >= before for row in window):
        return EndedBatch(change_ids=(), lines=(), through=None)
    through: int = window[-1].position
    values = {"before": before, "after": after, "through": through}
    rows = connection.execute(_MAY_GO_IN, values).mappings().all()
    ids = [row["change_id"] for row in rows]
    tried = _by_change(connection, attempts, attempts.c.position, ids)
    told = _by_change(connection, history, history.c.revision, ids)
    lines = tuple(_line(row, tried.get(row["change_id"], []), told.get(row["change_id"], [])) for row in rows)
    return EndedBatch(change_ids=tuple(ids), lines=lines, through=through)


def delete(transaction: Transaction, *, change_ids: Sequence[str], before: int) -> int:
    """Delete changes with their attempts and their history, those of them that still may go; returns how many went."""
    connection = transaction.connection
    # Looked at again in the deleting transaction: since it was archived an operator may have retried it.
    ids = connection.execute(_STILL_MAY_GO, {"ids": list(change_ids), "before": before}).scalars().all()
    if ids:
        for table in (history, attempts, changes):
            connection.execute(table.delete().where(table.c.change_id.in_(ids)))
    return len(ids)


def _by_change(
    connection: sa.Connection, table: sa.Table, order: sa.ColumnElement[Any], ids: Sequence[str]
) -> dict[str, list[sa.RowMapping]]:
    found: dict[str, list[sa.RowMapping]] = {}
    if ids:
        rows = connection.execute(sa.select(table).where(table.c.change_id.in_(ids)).order_by(order)).mappings()
        for row in rows:
            found.setdefault(row["change_id"], []).append(row)
    return found


def _line(change: sa.RowMapping, tried: Sequence[sa.RowMapping], told: Sequence[sa.RowMapping]) -> str:
    opened = [_open(row) for row in tried]
    for attempt in opened:
        attempt["marker"].pop("key", None)  # of an account that signs nothing any more
    whole = {"change": _open(change), "attempts": opened, "history": [_open(row) for row in told]}
    return json.dumps(whole, separators=(",", ":"))


_TEXTS_OF_JSON = {"members", "reason", "plan", "waits_for", "effect", "progress", "repair", "marker", "renewed"}


def _open(row: sa.RowMapping) -> dict[str, Any]:
    """Return a row as JSON has it: what is JSON in a column is not quoted once more, bytes are hexadecimal."""
    found = dict(row)
    for name, value in found.items():
        if isinstance(value, bytes | memoryview):
            found[name] = bytes(value).hex()
        elif name in _TEXTS_OF_JSON and value is not None:
            found[name] = json.loads(value)
    return found
