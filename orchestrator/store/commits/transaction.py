"""One database transaction that several units of work share, and what is done once for all of them before its commit.

Status events get their `sequence` when a unit of work announces them, because that needs only the lane's row. Their
global `position` is given by the last statement before the commit, in which all waiting rows are inserted at once. On
PostgreSQL a lock is held from there to the end of the commit: positions become visible in their own order, so a reader
that has seen one never finds a lower one later. Whoever holds that lock needs no other, hence no deadlock. The audit
log is one chain, whose end is read and moved on under the same lock, once for all entries of a transaction.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from orchestrator.access.audit import AuditEntry
from orchestrator.instants import micros
from orchestrator.membership.news.status import StatusEvent
from orchestrator.outside_text import valid
from orchestrator.store.commits import audit_rows
from orchestrator.store.rows import Values, storable, to_json
from orchestrator.store.schema import deletions, lanes, outbox

T = TypeVar("T")

WORK_CHANNEL = "orchestrator_work"
"""PostgreSQL notifies this channel when a lane may have come due."""
EVENTS_CHANNEL = "orchestrator_events"
"""PostgreSQL notifies this channel of the newest position when status events were committed."""

_POSITION_LOCK = 0x6D656D62
"""Key of the advisory lock around the giving of positions."""


class Transaction:
    """What a unit of work gets: a connection within a transaction, and a place for what is done at its end.

    Attributes:
        connection: The connection.
        work: Set by a unit that made something due.
        position: After `finish`: the newest position of the status events that were announced, 0 for none.
    """

    __slots__ = ("_entries", "_rows", "connection", "position", "work")

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.work = False
        self.position = 0
        self._rows: list[Values] = []
        self._entries: list[AuditEntry] = []

    def lock(self, groups: Iterable[str]) -> None:
        """Lock the lanes of several groups, if they have any, in the one order in which everybody does."""
        # One order for all replicas and all kinds of units: no two of them wait for each other.
        wanted = sorted(set(groups))
        if len(wanted) > 1 and self.connection.dialect.name == "postgresql":
            self.connection.execute(_LOCK, {"groups": wanted})

    def announce(self, events: Sequence[StatusEvent], last_sequence: int, at: datetime) -> None:
        """Put status events of one group into the outbox.

        Args:
            events: The events, in order.
            last_sequence: The sequence of the last of them; those before have the numbers before.
            at: When it happened.
        """
        first = last_sequence - len(events) + 1
        self._rows += [
            {
                "privacy_group_id": event.privacy_group_id,
                "sequence": sequence,
                "type": event.type.value,
                "change_id": event.change_id,
                "request_id": None if event.request_id is None else storable(event.request_id),
                "occurred_at": micros(at),
                "data": to_json(valid(event.data)),
                "traceparent": event.traceparent,
                "tracestate": event.tracestate,
            }
            for sequence, event in enumerate(events, first)
        ]

    def audit(self, entry: AuditEntry) -> None:
        """Put an entry into the audit log, behind those that are there."""
        self._entries.append(audit_rows.fit(entry))

    def finish(self) -> None:
        """Do what is done once, right before the commit."""
        postgresql = self.connection.dialect.name == "postgresql"
        # As late as can be: it is held to the end of the commit, and every other commit with events waits for it.
        if postgresql and (self._rows or self._entries):
            self.connection.execute(_TAKE_POSITION_LOCK)
        if self._entries:
            audit_rows.append(self.connection, self._entries)
        if self._rows:
            self.connection.execute(_INSERT_OUTBOX, self._rows)
            # Under the lock the newest place is that of the last row just inserted.
            self.position = self.connection.execute(_NEWEST).scalar_one()
        # PostgreSQL delivers notices at the commit: who is woken finds what it was woken for.
        if postgresql and self.work:
            self.connection.execute(_NOTIFY, {"channel": WORK_CHANNEL, "position": ""})
        if postgresql and self.position:
            self.connection.execute(_NOTIFY, {"channel": EVENTS_CHANNEL, "position": str(self.position)})


_LOCK = (
    sa.select(sa.literal(1))
    .where(lanes.c.privacy_group_id.in_(sa.bindparam("groups", expanding=True)))
    .order_by(lanes.c.privacy_group_id)
    .with_for_update()
)
_INSERT_OUTBOX = outbox.insert()
_NEWEST = sa.select(sa.func.max(outbox.c.position))
_NEWEST_DELETED = sa.select(sa.func.max(deletions.c.position))
_TAKE_POSITION_LOCK = sa.text(f"SELECT pg_advisory_xact_lock({_POSITION_LOCK})")
_NOTIFY = sa.text("SELECT pg_notify(:channel, concat(CAST(:position AS text), ' ', current_schema()))")

Upsert = Callable[[sa.Table], postgresql.Insert | sqlite.Insert]
"""`insert` of one of the dialects."""

Unit = Callable[[Transaction], T]
"""A unit of work: a plain function that may be run again from the start when its transaction had to be rolled back."""


def per_dialect(build: Callable[[Upsert], sa.Insert]) -> dict[str, sa.Insert]:
    """Return an INSERT with an ON CONFLICT clause by name of the dialect: built once, because building costs more
    than executing.

    Args:
        build: Makes the statement from the dialect's own `insert`; the words are the same on both.
    """
    return {
        name: build(insert).execution_options(preserve_rowcount=True)
        for name, insert in (("postgresql", postgresql.insert), ("sqlite", sqlite.insert))
    }


def _touch(insert: Upsert) -> sa.Insert:
    statement = insert(lanes)
    new = statement.excluded
    earlier = sa.case(
        (sa.or_(new.due_at.is_(None), new.due_at >= lanes.c.due_at), lanes.c.due_at),
        else_=new.due_at,
    )
    # A lane that is due already keeps its source: who comes second waits behind who came first.
    source = sa.case(
        (sa.or_(new.due_at.is_(None), lanes.c.due_at.is_not(None)), lanes.c.source),
        else_=new.source,
    )
    return statement.on_conflict_do_update(
        index_elements=["privacy_group_id"],
        set_={"due_at": earlier, "last_sequence": lanes.c.last_sequence + new.last_sequence, "source": source},
    ).returning(lanes.c.privacy_group_id, lanes.c.last_sequence)


_TOUCH = per_dialect(_touch)


def touch_lanes(
    connection: sa.Connection, wanted: Mapping[str, tuple[int, int | None]], sources: Mapping[str, str] | None = None
) -> dict[str, int]:
    """Lock the lanes of groups, make them due, and reserve numbers for status events.

    Args:
        connection: A connection within a transaction.
        wanted: For each group how many events are numbered, and when its lane is due at the latest (None: as it is).
        sources: For each group whose change makes its lane due; None when nothing does.

    Returns:
        The sequence of each group's last reserved number.
    """
    of = sources or {}
    rows = [
        {
            "privacy_group_id": group,
            "token": 0,
            "due_at": due_at,
            "last_sequence": events,
            "source": of.get(group, ""),
        }
        # Sorted, since each row is locked as it is written.
        for group, (events, due_at) in sorted(wanted.items())
    ]
    touched = connection.execute(_TOUCH[connection.dialect.name], rows)
    return {row.privacy_group_id: row.last_sequence for row in touched}


def touch_lane(connection: sa.Connection, privacy_group_id: str, *, events: int) -> int:
    """Lock one group's lane and reserve numbers for status events; returns the last of them."""
    return touch_lanes(connection, {privacy_group_id: (events, None)})[privacy_group_id]


def newest_position(connection: sa.Connection) -> int:
    """Return the newest position that is visible, deleted ones included; 0 when there was never a status event."""
    return max(connection.execute(statement).scalar_one() or 0 for statement in (_NEWEST, _NEWEST_DELETED))
