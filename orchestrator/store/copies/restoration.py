"""What is done to a store that was restored from a backup, before a daemon works on it.

Status events of after the backup are lost, and their places must not be given out again: whoever resumes behind one
of them would miss others without a word. So places go on at the present time in microseconds since 1970, and the
groups' counts at the time in seconds, which no store that lived in between has reached; and everything before counts
as deleted for whoever resumes there, which is told.
"""

from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa

from orchestrator.engine.attempts.restored import CHECKPOINT
from orchestrator.store.commits.transaction import Transaction, newest_position
from orchestrator.store.errors import StoreUnavailableError
from orchestrator.store.schema import attempts, changes, lanes, leases, node_chains, outbox, watched_blocks
from orchestrator.store.units import readers
from orchestrator.store.units.outbox import remember_deleted

_MICROSECONDS: Final = 1_000_000

_KNOWN_BLOCKS = (
    sa.select(sa.func.max(node_chains.c.number)),
    sa.select(sa.func.max(watched_blocks.c.number)),
    sa.select(sa.func.max(attempts.c.seen_block)),
    sa.select(sa.func.max(attempts.c.sent_block)),
    sa.select(sa.func.max(attempts.c.since_block)),
    sa.select(sa.func.max(changes.c.lock_block)),
)
_HELD = sa.select(sa.func.max(lanes.c.lease_until)).where(sa.text("holder IS NOT NULL"))
_LED = sa.select(sa.func.max(leases.c.lease_until))


def newest_known_block(connection: sa.Connection) -> int:
    """Return the newest block that a store knows of; 0 when it knows none."""
    return _largest(connection.execute(statement).scalar_one() for statement in _KNOWN_BLOCKS)


def mark_restored(transaction: Transaction, *, now: int, alone: bool) -> int:
    """Prepare a restored store; returns the newest block that it knows of.

    Args:
        transaction: The unit of work.
        now: In microseconds since 1970.
        alone: Whether it is known that nobody else works on it.

    Raises:
        StoreUnavailableError: A daemon works on it.
    """
    connection = transaction.connection
    # Leases in the backup look alive when it is young: of a database that others may use nothing else tells them from a
    # daemon's.
    if not alone and _largest(connection.execute(statement).scalar_one() for statement in (_HELD, _LED)) > now:
        raise StoreUnavailableError(
            "a daemon works on this store, or did within the last minutes before the backup: stop all of them, and "
            "try again when their leases are over"
        )
    place = max(now, newest_position(connection) + 1)
    if connection.dialect.name == "postgresql":
        connection.execute(
            sa.text("SELECT setval(pg_get_serial_sequence('outbox', 'position'), :place)"), {"place": place}
        )
    else:
        connection.execute(sa.text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": outbox.name})
        row = {"name": outbox.name, "place": place}
        connection.execute(sa.text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :place)"), row)
    remember_deleted(connection, place)
    count = now // _MICROSECONDS
    connection.execute(lanes.update().where(lanes.c.last_sequence < count).values(last_sequence=count))
    connection.execute(lanes.update().values(holder=None, lease_until=None))
    connection.execute(leases.delete())
    block = newest_known_block(connection)
    readers.save_checkpoint(
        transaction, name=CHECKPOINT, position=block, failures=0, paused_since=now, detail="restored from a backup"
    )
    return block


def _largest(found: Iterable[int | None]) -> int:
    return max((value for value in found if value is not None), default=0)
