"""Units of work of the intake."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

import sqlalchemy as sa

from orchestrator.engine.ports import Acceptance
from orchestrator.membership.errors import ConflictingRequestError
from orchestrator.membership.model import Change
from orchestrator.membership.status import StatusEvent
from orchestrator.store.reading import change_by_request
from orchestrator.store.rows import change_values, ready_at
from orchestrator.store.schema import changes
from orchestrator.store.transaction import Transaction, per_dialect, touch_lane

_INSERT = per_dialect(lambda insert: insert(changes).on_conflict_do_nothing(index_elements=["request_id"]).inline())
_BODY_HASH = sa.select(changes.c.body_hash).where(changes.c.request_id == sa.bindparam("request_id"))


def accept(
    transaction: Transaction, change: Change, body_hash: str, events: Sequence[StatusEvent], at: datetime
) -> Acceptance:
    """Store a new change with its events and make its lane due, unless its request is known.

    Raises:
        ConflictingRequestError: The request id is known with another body.
    """
    connection = transaction.connection
    values = {**change_values(change), "body_hash": body_hash}
    if connection.execute(_INSERT[connection.dialect.name], values).rowcount == 0:
        return _known(connection, change.request_id, body_hash)
    last = touch_lane(connection, change.privacy_group_id, events=len(events), due_at=ready_at(change))
    transaction.announce(events, last, at)
    transaction.work = True
    return Acceptance(change=change, duplicate=False)


def _known(connection: sa.Connection, request_id: str, body_hash: str) -> Acceptance:
    earlier = change_by_request(connection, request_id)
    stored_hash = connection.execute(_BODY_HASH, {"request_id": request_id}).scalar_one_or_none()
    if earlier is None or stored_hash != body_hash:
        raise ConflictingRequestError(
            f"request id {request_id!r} was used before with another body, as change "
            f"{earlier.change_id if earlier else 'unknown'}; use a new id for a new request"
        )
    return Acceptance(change=earlier, duplicate=True)


def announce_alone(transaction: Transaction, events: Sequence[StatusEvent], at: datetime) -> None:
    """Store events that belong to no change; those of one group keep their order."""
    by_group = sorted(events, key=lambda event: event.privacy_group_id)
    for group, found in groupby(by_group, key=lambda event: event.privacy_group_id):
        of_group = list(found)
        last = touch_lane(transaction.connection, group, events=len(of_group), due_at=None)
        transaction.announce(of_group, last, at)
