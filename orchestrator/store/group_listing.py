"""Which groups the store knows."""

import sqlalchemy as sa

from orchestrator.membership.model import State
from orchestrator.store.schema import NOT_QUEUED, changes

_GROUPS = (
    sa.select(changes.c.privacy_group_id)
    .where(changes.c.state == State.SUCCEEDED.value, NOT_QUEUED)
    .distinct()
    .order_by(changes.c.privacy_group_id)
    .limit(sa.bindparam("limit"))
)


def changed_groups(connection: sa.Connection, limit: int) -> tuple[str, ...]:
    """Return the ids of groups that a change succeeded in, at most `limit` of them."""
    return tuple(connection.execute(_GROUPS, {"limit": limit}).scalars())
