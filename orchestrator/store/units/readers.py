"""Units of work of those who read the outbox: who does a named work alone, and how far each reader has come."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from orchestrator.instants import moment
from orchestrator.store.commits.transaction import Transaction, Upsert, per_dialect
from orchestrator.store.rows import storable
from orchestrator.store.schema import checkpoints, leases


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How far one reader has come; see `events.ports.Checkpoint`.

    Attributes:
        position: Everything up to and including this position is done; 0 for nothing.
        failures: Failures in a row at the next position.
        paused_since: When it was paused; None while it runs.
        detail: What was seen last, for a person.
    """

    position: int
    failures: int
    paused_since: datetime | None
    detail: str


def _acquire(insert: Upsert) -> sa.Insert:
    statement = insert(leases)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["name"],
        set_={"holder": new.holder, "lease_until": new.lease_until},
        # One statement, so that of two replicas at the end of a lease one gets it.
        where=sa.or_(leases.c.holder == new.holder, leases.c.lease_until <= sa.bindparam("now")),
    )


def _save(insert: Upsert) -> sa.Insert:
    statement = insert(checkpoints)
    new = statement.excluded
    names = ("position", "failures", "paused_since", "detail")
    return statement.on_conflict_do_update(index_elements=["name"], set_={name: new[name] for name in names})


_ACQUIRE = per_dialect(_acquire)
_SAVE = per_dialect(_save)


def acquire_lease(transaction: Transaction, *, name: str, holder: str, now: int, lease_until: int) -> bool:
    """Take or prolong the right to do a named work alone; False while another holder's lease lasts."""
    connection = transaction.connection
    values = {"name": name, "holder": holder, "lease_until": lease_until, "now": now}
    return connection.execute(_ACQUIRE[connection.dialect.name], values).rowcount == 1


def release_lease(transaction: Transaction, *, name: str, holder: str) -> None:
    """Give the right back; does nothing when it is not held."""
    # Only our own: who was late may be releasing what another one took over.
    transaction.connection.execute(leases.delete().where(leases.c.name == name, leases.c.holder == holder))


def checkpoint(connection: sa.Connection, *, name: str) -> Checkpoint | None:
    """Return a reader's checkpoint; None when it never saved one."""
    row = connection.execute(sa.select(checkpoints).where(checkpoints.c.name == name)).mappings().one_or_none()
    if row is None:
        return None
    paused_since = row["paused_since"]
    return Checkpoint(
        position=row["position"],
        failures=row["failures"],
        paused_since=None if paused_since is None else moment(paused_since),
        detail=row["detail"],
    )


def save_checkpoint(
    transaction: Transaction, *, name: str, position: int, failures: int, paused_since: int | None, detail: str
) -> None:
    """Store a reader's checkpoint."""
    values = {
        "name": name,
        "position": position,
        "failures": failures,
        "paused_since": paused_since,
        "detail": storable(detail),
    }
    transaction.connection.execute(_SAVE[transaction.connection.dialect.name], values)
