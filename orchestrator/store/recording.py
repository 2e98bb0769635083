"""Units of work that commit a step: changes, attempts, history and status events, all or nothing."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from orchestrator.engine.ports import Amendment, Lane, LeaseLostError, Record
from orchestrator.membership.model import RESTING, Attempt, Change
from orchestrator.store.errors import ConstraintError
from orchestrator.store.leasing import due_again
from orchestrator.store.reading import change_by_id
from orchestrator.store.rows import attempt_values, change_values, history_values
from orchestrator.store.schema import attempts, changes, history, lanes
from orchestrator.store.transaction import Transaction, Upsert, per_dialect, touch_lane

_GIVEN_AT_INTAKE = {"position", "body_hash"}
_UPDATE = (
    changes.update()
    .where(
        changes.c.change_id == sa.bindparam("of_change"),
        changes.c.privacy_group_id == sa.bindparam("of_group"),
        changes.c.revision == sa.bindparam("before"),
    )
    .values({column.name: sa.bindparam(column.name) for column in changes.c if column.name not in _GIVEN_AT_INTAKE})
)
_FENCED = (
    lanes.update()
    .where(
        lanes.c.privacy_group_id == sa.bindparam("group"),
        lanes.c.token == sa.bindparam("of_token"),
        sa.text("holder IS NOT NULL"),
    )
    .values(last_sequence=lanes.c.last_sequence + sa.bindparam("events"))
    .returning(lanes.c.last_sequence)
)


def _upsert_attempt(insert: Upsert) -> sa.Insert:
    statement = insert(attempts)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["attempt_id"],
        set_={name: new[name] for name in ("sent_block", "seen_block", "pmt_hashes", "status")},
        # What was signed stays what it was.
        where=sa.and_(attempts.c.raw == new.raw, attempts.c.change_id == new.change_id),
    ).inline()


_UPSERT_ATTEMPT = per_dialect(_upsert_attempt)
_INSERT_HISTORY = history.insert()


def record(transaction: Transaction, lane: Lane, made: Record, at: datetime) -> None:
    """Commit one step of a lane's changes.

    The same record again, after an answer was lost, is noticed and does nothing.

    Raises:
        LeaseLostError: The lane's token is not the newest, the lane was given back, or a change is not at the
            revision before this step (an operator amended it meanwhile).
        ConstraintError: The record breaks an invariant.
    """
    connection = transaction.connection
    values = {"group": lane.privacy_group_id, "of_token": lane.token, "events": len(made.events)}
    last = connection.execute(_FENCED, values).scalar_one_or_none()
    if last is None:
        raise LeaseLostError(
            f"lane {lane.privacy_group_id!r} is not held with token {lane.token} any more; stop working on it"
        )
    try:
        _write(transaction, lane.privacy_group_id, made, last, at)
    except LeaseLostError:
        if not _committed_before(connection, made.changes):
            raise
        connection.execute(_FENCED, values | {"events": -len(made.events)})


def amend(transaction: Transaction, change_id: str, amendment: Amendment, at: datetime) -> Change:
    """Commit an operator's request on a change that rests, or whose lane nobody holds.

    Raises:
        KeyError: No such change.
        LeaseLostError: The change is being worked on now.
    """
    connection = transaction.connection
    found = change_by_id(connection, change_id)
    if found is None:
        raise KeyError(change_id)
    group = found.privacy_group_id
    touch_lane(connection, group, events=0, due_at=None)  # locks the lane: nobody claims it or records on it meanwhile
    change = change_by_id(connection, change_id)
    held = connection.execute(sa.select(lanes.c.holder).where(lanes.c.privacy_group_id == group)).scalar_one()
    if change is None or (held is not None and change.state not in RESTING):
        raise LeaseLostError(f"change {change_id} is being worked on by {held!r}; try again in a few seconds")
    made = amendment(change)
    last = touch_lane(connection, group, events=len(made.events), due_at=None)
    _write(transaction, group, made, last, at)
    if held is None:
        due_again(transaction, group)
    transaction.work = True
    amended = change_by_id(connection, change_id)
    return change if amended is None else amended


def _write(transaction: Transaction, group: str, made: Record, last_sequence: int, at: datetime) -> None:
    connection = transaction.connection
    for change in _resting_first(made.changes):  # before anything else: the first that does not fit stops it all
        values = {"of_change": change.change_id, "of_group": group, "before": change.revision - 1}
        if connection.execute(_UPDATE, change_values(change) | values).rowcount != 1:
            raise LeaseLostError(
                f"change {change.change_id} of lane {group!r} is not at revision {change.revision - 1} any more; "
                "load the lane again"
            )
    for change_id, attempt in _dead_first(made):
        _write_attempt(connection, change_id, attempt)
    if made.history:
        connection.execute(_INSERT_HISTORY, [history_values(entry) for entry in made.history])
    foreign = {event.privacy_group_id for event in made.events} - {group}
    if foreign:
        raise ConstraintError(f"a record of lane {group!r} has events of {sorted(foreign)}; this is a defect")
    transaction.announce(made.events, last_sequence, at)


def _resting_first(found: Iterable[Change]) -> list[Change]:
    """The old lead makes room before the new one takes its place: an index admits one at a time."""
    return sorted(found, key=lambda change: change.leads and change.state not in RESTING)


def _dead_first(made: Record) -> list[tuple[str, Attempt]]:
    """The attempts to write: those named, and those that the changes carry; a live one only after the dead."""
    carried = [(change.change_id, change.attempt) for change in made.changes if change.attempt is not None]
    latest = {attempt.attempt_id: (change_id, attempt) for change_id, attempt in (*carried, *made.attempts)}
    return sorted(latest.values(), key=lambda pair: pair[1].live)


def _write_attempt(connection: sa.Connection, change_id: str, attempt: Attempt) -> None:
    statement = _UPSERT_ATTEMPT[connection.dialect.name]
    if connection.execute(statement, attempt_values(change_id, attempt)).rowcount != 1:
        raise ConstraintError(
            f"attempt {attempt.attempt_id} of change {change_id} is stored with other bytes; this is a defect"
        )


def _committed_before(connection: sa.Connection, found: tuple[Change, ...]) -> bool:
    """Whether exactly these changes are stored already: an earlier try was committed and its answer lost."""
    return bool(found) and all(change_by_id(connection, change.change_id) == change for change in found)
