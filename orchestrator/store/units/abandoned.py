"""Units of work on what holders left behind: lanes, and works to do alone."""

from collections.abc import Sequence
from typing import Final

import sqlalchemy as sa

from orchestrator.store.commits.transaction import Transaction
from orchestrator.store.database.holder_names import is_life_of, is_nobodys
from orchestrator.store.schema import lanes, leases

LONGEST_LEASE_MICROSECONDS: Final = 15 * 60 * 1_000_000
"""Longer than any lease is taken for: one that ends later was taken by a clock that ran ahead."""

_HELD = (
    sa.select(lanes.c.privacy_group_id)
    .where(sa.text("holder IS NOT NULL"), lanes.c.holder == sa.bindparam("of_holder"))
    .order_by(lanes.c.privacy_group_id)
    .with_for_update()
)
_HOLDERS = sa.select(lanes.c.holder).where(sa.text("holder IS NOT NULL")).distinct()
_LEASEHOLDERS = sa.select(leases.c.holder).distinct()
_BEYOND = sa.bindparam("beyond", type_=sa.BigInteger)
_AHEAD = sa.union(_HOLDERS.where(lanes.c.lease_until > _BEYOND), _LEASEHOLDERS.where(leases.c.lease_until > _BEYOND))


def held_by(connection: sa.Connection, holder: str) -> Sequence[str]:
    """Return the groups whose lanes a holder has, and lock these lanes."""
    return connection.execute(_HELD, {"of_holder": holder}).scalars().all()


def forget(transaction: Transaction, *, name: str) -> frozenset[str]:
    """Give back what the earlier lives of a name, or one holder, left held: lanes, due as before, and works to do
    alone; returns the groups of the lanes.
    """
    connection = transaction.connection
    of_lanes = connection.execute(_HOLDERS).scalars()
    groups = [group for holder in of_lanes if is_life_of(holder, name) for group in held_by(connection, holder)]
    if groups:
        freed = lanes.update().where(lanes.c.privacy_group_id.in_(groups)).values(holder=None, lease_until=None)
        connection.execute(freed)
        transaction.work = True
    left = [holder for holder in connection.execute(_LEASEHOLDERS).scalars() if is_life_of(holder, name)]
    if left:
        connection.execute(leases.delete().where(leases.c.holder.in_(left)))
    return frozenset(groups)


def give_back_of_the_gone(transaction: Transaction, *, holder: str, now: int) -> None:
    """Give back what processes left held that are gone and whose clocks ran ahead: for others it would last for days.

    Args:
        transaction: A transaction.
        holder: Who asks.
        now: The present time, microseconds.
    """
    ahead = transaction.connection.execute(_AHEAD, {"beyond": now + LONGEST_LEASE_MICROSECONDS}).scalars().all()
    for other in ahead:
        if other != holder and is_nobodys(transaction.connection, other):
            forget(transaction, name=other)
