"""Units of work on the nonces of configured marker accounts: each is given to one attempt, whichever replica asks.

The count of an account's transactions in the blocks says which nonce is next, and the row which one was given away
last. So one that is given again belongs to an attempt that never got through, or that never was stored.
"""

from datetime import timedelta
from typing import Final

import sqlalchemy as sa

from orchestrator.membership.attempt import AttemptStatus
from orchestrator.store.commits.transaction import Transaction
from orchestrator.store.schema import attempts, marker_nonces

ABANDONED_AFTER: Final = timedelta(minutes=10)
"""A nonce whose attempt was not stored so long after it was given is free again: its replica died in between."""

_LOCKED = sa.select(marker_nonces).where(marker_nonces.c.account == sa.bindparam("of")).with_for_update()
_STATUS = sa.select(attempts.c.status).where(attempts.c.attempt_id == sa.bindparam("attempt"))
_GIVE = (
    marker_nonces.update()
    .where(marker_nonces.c.account == sa.bindparam("of"))
    .values({name: sa.bindparam(name) for name in ("account_nonce", "attempt_id", "reserved_at")})
)


def reserve(transaction: Transaction, *, account: str, account_nonce: int, attempt_id: str, now: int) -> bool:
    """Give a nonce to an attempt; False when it, or a newer one of the account, belongs to another.

    Args:
        transaction: The unit of work.
        account: The marker account.
        account_nonce: The nonce that follows all those in the blocks.
        attempt_id: Whose it shall be.
        now: In microseconds.
    """
    connection = transaction.connection
    values = {"account_nonce": account_nonce, "attempt_id": attempt_id, "reserved_at": now}
    row = connection.execute(_LOCKED, {"of": account}).one_or_none()
    if row is None:
        connection.execute(marker_nonces.insert(), {"account": account, **values})
        return True
    # A node that is behind counts fewer: what it takes for free was given away already.
    if row.account_nonce > account_nonce or (row.account_nonce == account_nonce and _is_taken(connection, row, now)):
        return False
    connection.execute(_GIVE, {"of": account, **values})
    return True


def free(transaction: Transaction, *, account: str, account_nonce: int, attempt_id: str) -> None:
    """Take a nonce back from an attempt that was never stored."""
    transaction.connection.execute(
        marker_nonces.update()
        .where(
            marker_nonces.c.account == account,
            marker_nonces.c.account_nonce == account_nonce,
            marker_nonces.c.attempt_id == attempt_id,
        )
        .values(reserved_at=0)
    )


def _is_taken(connection: sa.Connection, row: sa.Row[tuple[object, ...]], now: int) -> bool:
    status = connection.execute(_STATUS, {"attempt": row.attempt_id}).scalar_one_or_none()
    if status is None:
        return bool(now - row.reserved_at < ABANDONED_AFTER / timedelta(microseconds=1))
    # One that is void never reached a node. Of all others the marker, or what burns it, is in a block or still may be.
    return AttemptStatus(status) is not AttemptStatus.VOID
