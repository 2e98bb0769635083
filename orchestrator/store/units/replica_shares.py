"""How many of the lanes that are due one replica takes, so that all of them have about as many.

A commit wakes every replica, and the end of a dead one's leases does, too: who came first would take all. Each says in
the table of leases, under its own name, that it is there; among those that are, lanes are shared out. What nobody took
for a moment is taken by anybody: a replica that stands still is counted until its word is over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import sqlalchemy as sa

from orchestrator.store.commits.transaction import Transaction
from orchestrator.store.schema import lanes, leases
from orchestrator.store.units.readers import acquire_lease, release_lease

PRESENT_MICROSECONDS: Final = 12 * 1_000_000
"""For how long a replica's word holds: longer than it ever rests between two claims."""
GRACE_MICROSECONDS: Final = 500_000
"""What was free for so long is taken by anybody, whoever's share it is."""
GONE_MICROSECONDS: Final = 3600 * 1_000_000
"""So long after its end the word of a replica that never came back is deleted."""

_PREFIX: Final = "replica "
_OF_REPLICA = leases.c.name.startswith(_PREFIX)
_WORDS = sa.select(leases.c.holder, leases.c.lease_until).where(_OF_REPLICA)
_HELD = (
    sa.select(
        lanes.c.holder,
        sa.func.count().filter(lanes.c.lease_until > sa.bindparam("now")).label("lanes"),
        sa.func.min(lanes.c.lease_until).label("first"),
    )
    .where(sa.text("holder IS NOT NULL"), lanes.c.holder != sa.bindparam("mine"))
    .group_by(lanes.c.holder)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """The other replicas that are there.

    Attributes:
        replicas: How many.
        lanes: How many lanes all of them hold.
        said_again: This replica said anew that it is there, as it does every few seconds.
    """

    replicas: int
    lanes: int
    said_again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Allotment:
    """What one replica takes now.

    Attributes:
        limit: How many lanes at most.
        waited: For how long they must have been free, microseconds.
    """

    limit: int
    waited: int = 0


def allotted(*, replicas: int, mine: int, others: int, due: int, patience: int | None) -> Allotment:
    """Return what one replica takes of the lanes that are due.

    Args:
        replicas: How many replicas there are with this one, at least 1.
        mine: Lanes that it holds.
        others: Lanes that the others hold.
        due: Lanes that are due and that nobody holds.
        patience: None for a replica that can work as well as any; else for how long it leaves lanes to others,
            microseconds.
    """
    # Rounded up: a single lane is somebody's, too.
    part = -(-due // replicas)
    if patience is not None:
        return Allotment(limit=part, waited=patience)
    share = -(-(mine + others + due) // replicas) - mine
    return Allotment(limit=share) if share > 0 else Allotment(limit=part, waited=GRACE_MICROSECONDS)


def others_present(transaction: Transaction, *, holder: str, now: int, able: bool) -> Others:
    """Say that this replica is there, or that it is of no use, and return the others that are.

    Args:
        transaction: A unit of work.
        holder: This replica.
        now: Microseconds since 1970.
        able: Whether it can work.
    """
    connection = transaction.connection
    until = {word.holder: word.lease_until for word in connection.execute(_WORDS)}
    own = until.pop(holder, None)
    again = False
    # Its word is taken back at once: others would leave it a share that it can't work on.
    if not able:
        if own is not None:
            release_lease(transaction, name=_PREFIX + holder, holder=holder)
    # Not each time: it is read far more often than it has to be written. A clock may have been set back.
    elif own is None or not now + PRESENT_MICROSECONDS // 2 < own <= now + PRESENT_MICROSECONDS:
        acquire_lease(
            transaction, name=_PREFIX + holder, holder=holder, now=now, lease_until=now + PRESENT_MICROSECONDS
        )
        connection.execute(leases.delete().where(_OF_REPLICA, leases.c.lease_until < now - GONE_MICROSECONDS))
        again = True
    return replace(_others(connection, until, holder, now), said_again=again)


def others(connection: sa.Connection, *, holder: str, now: int) -> int:
    """Return how many other replicas are there that can work."""
    until = {word.holder: word.lease_until for word in connection.execute(_WORDS) if word.holder != holder}
    return _others(connection, until, holder, now).replicas


def _others(connection: sa.Connection, until: Mapping[str, int], holder: str, now: int) -> Others:
    there = {other for other, last in until.items() if now < last <= now + PRESENT_MICROSECONDS}
    if not there:
        return Others(replicas=0, lanes=0)
    held = connection.execute(_HELD, {"mine": holder, "now": now}).all()
    # Who lets a lease run out is dead, or as good as dead, whatever it said seconds ago.
    there -= {row.holder for row in held if row.first <= now}
    return Others(replicas=len(there), lanes=sum(row.lanes for row in held))
