"""Units of work on the outbox: what the relay publishes and what subscribers read, and its retention."""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from orchestrator.instants import moment
from orchestrator.membership.news.status import EventType, StatusEvent
from orchestrator.outside_text import presentable
from orchestrator.store.commits.transaction import Transaction, Upsert, per_dialect
from orchestrator.store.rows import Row, storable
from orchestrator.store.schema import DELETED, RARE, RARE_TYPES, THINNED, deletions, identity, outbox

FORMER_SOURCE: Final = "/besu-membership-orchestrator"
"""The source of status events from before stores had names of their own, the same for all of them."""

_FORMER_NAMESPACE: Final = uuid.UUID("6c0a8bb5-1d27-4b7a-9c39-5f2f1f0d9a11")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What tells the status events of one store from those of others.

    Attributes:
        store_id: The store's own name; every event's id is made from it.
        source: The CloudEvents source of its events.
        former_through: Events up to this position have the id and the source of before stores had names.
    """

    store_id: uuid.UUID
    source: str
    former_through: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """One status event as the outbox holds it; see `events.ports.StoredEvent`.

    Attributes:
        position: Place in the order of all events.
        event_id: Unique among the events of all stores, and the same whenever and by whomever it is read.
        former_id: The id that it had before stores had names: the same for different events of two stores.
        source: Where it comes from; see `Identity`.
        sequence: Place in the order of its group's events, from 1 without gaps.
        at: When it was committed, UTC.
        event: What happened.
    """

    position: int
    event_id: str
    former_id: str
    source: str
    sequence: int
    at: datetime
    event: StatusEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableEvent:
    """A row of the outbox that is no status event that this program knows.

    Attributes:
        position: Its place.
        reason: What is wrong with it.
    """

    position: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What became of some events that were looked at, to be deleted; see `events.ports.Swept`.

    Attributes:
        deleted: How many were deleted.
        through: The last position that was looked at; None when no more are old enough.
    """

    deleted: int
    through: int | None


Page = tuple[tuple[StoredEvent, ...], tuple[UnreadableEvent, ...]]
"""What a query found, by position: what can be read, and what can't."""

_PENDING = (
    sa.select(outbox).where(sa.text("published_at IS NULL")).order_by(outbox.c.position).limit(sa.bindparam("limit"))
)
_OLDEST = sa.select(outbox.c.occurred_at).where(sa.text("published_at IS NULL")).order_by(outbox.c.position).limit(1)


def identity_of(connection: sa.Connection, *, source: str | None) -> Identity:
    """Return what tells this store's events from those of others.

    Args:
        connection: A connection.
        source: Their source; None for one that names the store.
    """
    row = connection.execute(sa.select(identity)).one()
    store_id = uuid.UUID(row.store_id)
    return Identity(store_id=store_id, source=source or store_id.urn, former_through=row.former_through)


def pending(connection: sa.Connection, *, limit: int, own: Identity, without: Sequence[str] = ()) -> Page:
    """Return the first unpublished events, by position, but none of some groups."""
    statement = _PENDING
    if without:
        statement = statement.where(outbox.c.privacy_group_id.not_in([storable(group) for group in without]))
    return _page(connection, statement, {"limit": limit}, own)


def oldest_unpublished(connection: sa.Connection) -> datetime | None:
    """Return when the first unpublished event was committed; None when all are published."""
    at = connection.execute(_OLDEST).scalar_one_or_none()
    return None if at is None else moment(at)


def mark_published(transaction: Transaction, *, positions: Sequence[int], at: int) -> None:
    """Mark events as published; those that are already keep their time."""
    marked = (
        # A relay that took over publishes some of them again; their time stays that of the first.
        outbox.update().where(outbox.c.position.in_(positions), outbox.c.published_at.is_(None)).values(published_at=at)
    )
    transaction.connection.execute(marked)


def after(
    connection: sa.Connection,
    *,
    position: int,
    limit: int,
    privacy_group_id: str | None,
    change_id: str | None,
    types: Sequence[str],
    own: Identity,
) -> Page:
    """Return the next events behind a position."""
    statement = sa.select(outbox).where(outbox.c.position > position).order_by(outbox.c.position).limit(limit)
    if privacy_group_id is not None:
        statement = statement.where(outbox.c.privacy_group_id == storable(privacy_group_id))
    if change_id is not None:
        statement = statement.where(outbox.c.change_id == storable(change_id))
    if types:
        statement = statement.where(outbox.c.type.in_(types))
        if RARE_TYPES.issuperset(types):
            statement = statement.where(RARE)  # lets their index be used
    return _page(connection, statement, {}, own)


def deleted_through(connection: sa.Connection) -> int:
    """Return the newest position that retention deleted; 0 for none."""
    statement = sa.select(deletions.c.position).where(deletions.c.name == DELETED)
    return connection.execute(statement).scalar_one_or_none() or 0


_LOOK = (
    sa.select(outbox.c.position, outbox.c.occurred_at, outbox.c.published_at, outbox.c.type)
    .where(outbox.c.position > sa.bindparam("after"), outbox.c.position <= sa.bindparam("through"))
    .order_by(outbox.c.position)
    .limit(sa.bindparam("limit"))
)


def deletable(
    connection: sa.Connection,
    *,
    before: int,
    now: int,
    after: int,
    through_position: int,
    types: Sequence[str],
    limit: int,
) -> tuple[tuple[int, ...], int | None]:
    """Return which of the next events may be deleted, and up to where was looked.

    Events are looked at from the oldest on, up to where all are too young: the rest of a large outbox is not read. One
    from a clock that was ahead says nothing of those behind it.

    Args:
        connection: A connection.
        before: Only published events older than this, in microseconds.
        now: The present time, likewise.
        after: The position behind which it is looked.
        through_position: Only events up to this position.
        types: Only events of these types; empty for all.
        limit: How many are looked at.

    Returns:
        Their positions, and the last position that was looked at; None when there is nothing more.
    """
    # Where thinning ended the last time all before was thinned: it does not come past those that stay each time.
    if types:
        thinned = sa.select(deletions.c.position).where(deletions.c.name == THINNED)
        after = max(after, connection.execute(thinned).scalar_one_or_none() or 0)
    rows = connection.execute(_LOOK, {"after": after, "through": through_position, "limit": limit}).all()
    found = tuple(
        row.position
        for row in rows
        if row.occurred_at < before and row.published_at is not None and (not types or row.type in types)
    )
    # Not at the first that is too young: one event from a clock that was ahead would keep all behind it for ever.
    done = len(rows) < limit or all(before <= row.occurred_at <= now for row in rows)
    return found, None if done else rows[-1].position


def _remember(insert: Upsert) -> sa.Insert:
    statement = insert(deletions)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["name"],
        set_={"position": new.position},
        # Never back: a reader that resumes behind the mark would miss events and not be told.
        where=deletions.c.position < new.position,
    )


_REMEMBER = per_dialect(_remember)


def delete(transaction: Transaction, *, positions: Sequence[int], thinning: bool) -> int:
    """Delete events and remember how far; returns how many were there.

    Args:
        transaction: The transaction.
        positions: At least one.
        thinning: Only some types are deleted: nobody who resumes has to be told.
    """
    connection = transaction.connection
    deleted = connection.execute(outbox.delete().where(outbox.c.position.in_(positions))).rowcount
    # In the transaction that deletes: from the commit on whoever resumes before it is told.
    _remember_deletion(connection, THINNED if thinning else DELETED, max(positions))
    return deleted


def remember_deleted(connection: sa.Connection, position: int) -> None:
    """Tell whoever resumes behind an event up to a position that others may be missing."""
    _remember_deletion(connection, DELETED, position)


def _remember_deletion(connection: sa.Connection, name: str, position: int) -> None:
    connection.execute(_REMEMBER[connection.dialect.name], {"name": name, "position": position})


def _page(connection: sa.Connection, statement: sa.Select[Any], values: Mapping[str, Any], own: Identity) -> Page:
    """Run a query on the outbox; a row that can't be read hides no other."""
    try:
        rows = list(connection.execute(statement, values).mappings())
    except sa.exc.OperationalError as error:
        if "Could not decode" not in str(error.orig):  # what sqlite3 says of a text that is no UTF-8
            raise
        # SQLite gives out no row of a result with a text that can't be decoded: each is read for itself then.
        positions = connection.execute(statement.with_only_columns(outbox.c.position), values).scalars().all()
        return _sorted_out(positions, partial(_row_at, connection), own)
    by_position = {row["position"]: row for row in rows}
    return _sorted_out(list(by_position), by_position.__getitem__, own)


def _sorted_out(positions: Sequence[int], row_at: Callable[[int], Row], own: Identity) -> Page:
    events, unreadable = [], []
    for position in positions:
        try:
            events.append(_stored(row_at(position), own))
        except (sa.exc.OperationalError, ValueError, TypeError, OverflowError, RecursionError) as error:
            reason = presentable(str(error)) or type(error).__name__
            unreadable.append(UnreadableEvent(position=position, reason=reason))
    return tuple(events), tuple(unreadable)


def _row_at(connection: sa.Connection, position: int) -> Row:
    return connection.execute(sa.select(outbox).where(outbox.c.position == position)).mappings().one()


def _stored(row: Row, own: Identity) -> StoredEvent:
    data = json.loads(row["data"])
    if not isinstance(data, dict):
        raise TypeError("its data are no JSON object")
    event = StatusEvent(
        type=EventType(row["type"]),
        privacy_group_id=row["privacy_group_id"],
        change_id=row["change_id"],
        request_id=row["request_id"],
        data=data,
        traceparent=row["traceparent"],
        tracestate=row["tracestate"],
    )
    former_id = _former_id(event, row["sequence"])
    former = row["position"] <= own.former_through
    return StoredEvent(
        position=row["position"],
        event_id=former_id if former else _event_id(row, own),
        former_id=former_id,
        source=FORMER_SOURCE if former else own.source,
        sequence=row["sequence"],
        at=moment(row["occurred_at"]),
        event=event,
    )


def _event_id(row: Row, own: Identity) -> str:
    """Name an event by its store, its place and its time.

    A store that was restored from a backup gives places out again: the time, to the microsecond, tells those apart.
    """
    names = [row[name] for name in ("position", "occurred_at", "type", "privacy_group_id", "sequence", "change_id")]
    return str(uuid.uuid5(own.store_id, json.dumps(names)))


def _former_id(event: StatusEvent, sequence: int) -> str:
    names = [event.privacy_group_id, sequence, event.change_id, event.request_id]
    return str(uuid.uuid5(_FORMER_NAMESPACE, json.dumps(names)))
