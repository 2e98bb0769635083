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
_NEWEST = sa.func.max(changes.c.position)
_ASKED_FOR = (
    sa.select(changes.c.privacy_group_id)
    .group_by(changes.c.privacy_group_id)
    .order_by(_NEWEST.desc())
    .limit(sa.bindparam("limit"))
)


def changed_groups(connection: sa.Connection, limit: int) -> tuple[str, ...]:
    """Return the ids of groups that a change succeeded in, at most `limit` of them."""
    return tuple(connection.execute(_GROUPS, {"limit": limit}).scalars())


def groups_asked_for(connection: sa.Connection, limit: int) -> tuple[str, ...]:
    """Return the ids of groups that changes were asked for, those with the newest change first, at most `limit`."""
    return tuple(connection.execute(_ASKED_FOR, {"limit": limit}).scalars())
