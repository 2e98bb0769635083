"""Units of work that commit a step: changes, attempts, history and status events, all or nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from orchestrator.access.audit import AuditEntry
from orchestrator.engine.ports.store import Amendment, Lane, LeaseLostError, Record
from orchestrator.membership.attempt import Attempt
from orchestrator.membership.model import RESTING, Change
from orchestrator.store.commits.transaction import Transaction, Upsert, per_dialect, touch_lane, touch_lanes
from orchestrator.store.errors import ConstraintError
from orchestrator.store.rows import attempt_values, change_values, history_values
from orchestrator.store.schema import attempts, changes, history, lanes
from orchestrator.store.units.leases import due_again
from orchestrator.store.units.reads import change_by_id

_GIVEN_AT_INTAKE = {"position", "body_hash", "request_key", "request_id", "source", "trace"}
_UPDATE = (
    changes.update()
    .where(
        changes.c.change_id == sa.bindparam("of_change"),
        changes.c.privacy_group_id == sa.bindparam("of_group"),
        changes.c.revision == sa.bindparam("before"),
    )
    .values({column.name: sa.bindparam(column.name) for column in changes.c if column.name not in _GIVEN_AT_INTAKE})
)
_LANES = (
    sa.select(lanes.c.privacy_group_id, lanes.c.token)
    .where(lanes.c.privacy_group_id.in_(sa.bindparam("groups", expanding=True)), lanes.c.holder.is_not(None))
    .order_by(lanes.c.privacy_group_id)
    .with_for_update()
)
_HOLDER = sa.select(lanes.c.holder).where(lanes.c.privacy_group_id == sa.bindparam("group"))
_INSERT_HISTORY = history.insert()


def _upsert_attempt(insert: Upsert) -> sa.Insert:
    statement = insert(attempts)
    new = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=["attempt_id"],
        set_={name: new[name] for name in ("sent_block", "seen_block", "marker", "renewed", "status")},
        # What was signed stays what it was.
        where=sa.and_(attempts.c.raw == new.raw, attempts.c.change_id == new.change_id),
    ).inline()


_UPSERT_ATTEMPT = per_dialect(_upsert_attempt)


class _MisfitError(LeaseLostError):
    """A change is not at the revision before the step: an operator amended it, or the step was committed before."""


@dataclass(frozen=True, slots=True)
class Step:
    """Commits one step of a lane's changes.

    The same step again, after an answer was lost, is noticed and does nothing.

    Attributes:
        lane: The lane.
        made: What the step made.
        at: When it is committed.
    """

    lane: Lane
    made: Record
    at: datetime

    def __call__(self, transaction: Transaction) -> None:
        """Commit it alone; see `engine.ports.store.ChangeStore.record` for what is raised."""
        # Alone after a failure among others: only then it is known whose step does not fit.
        (outcome,) = self.together(transaction, [self])
        if outcome is not None:
            raise outcome

    @staticmethod
    def together(transaction: Transaction, units: "Sequence[Step]") -> list[LeaseLostError | None]:
        """Commit steps of several lanes with a handful of statements; see `sharing.Joint`.

        Raises:
            LeaseLostError: A step does not fit; among several it is not said which.
            ConstraintError: A step breaks an invariant; likewise.
        """
        groups = {unit.lane.privacy_group_id for unit in units}
        found = transaction.connection.execute(_LANES, {"groups": sorted(groups)})
        # The rows stay locked until the commit: nobody takes a lane over between this look and the write.
        tokens = {row.privacy_group_id: row.token for row in found}
        # A step whose lane was taken over is left out; it keeps the others of the same transaction from nothing.
        held = [tokens.get(unit.lane.privacy_group_id) == unit.lane.token for unit in units]
        try:
            _write(transaction, [unit for unit, ours in zip(units, held, strict=True) if ours])
        except _MisfitError:
            # A commit whose answer was lost is tried again by its lane; what it wrote is there, and no second time.
            if len(units) > 1 or not _committed_before(transaction.connection, units[0].made.changes):
                raise
        return [None if ours else _lost(unit.lane) for unit, ours in zip(units, held, strict=True)]


def _lost(lane: Lane) -> LeaseLostError:
    return LeaseLostError(
        f"lane {lane.privacy_group_id!r} is not held with token {lane.token} any more; stop working on it"
    )


def amend(
    transaction: Transaction, change_id: str, amendment: Amendment, at: datetime, audit: AuditEntry | None = None
) -> Change:
    """Commit an operator's request; whoever works on the change finds it at another revision, and takes it up anew.

    Raises:
        KeyError: No such change.
    """
    connection = transaction.connection
    # Only for its group: the change is read again once its lane's row is locked.
    found = change_by_id(connection, change_id)
    if found is None:
        raise KeyError(change_id)
    group = found.privacy_group_id
    touch_lane(connection, group, events=0)  # locks the lane: nobody claims it or records on it meanwhile
    change = change_by_id(connection, change_id)
    holder = connection.execute(_HOLDER, {"group": group}).scalar_one()
    if change is None:
        raise KeyError(change_id)
    lane = Lane(privacy_group_id=group, token=0, active=(), queued=())
    _write(transaction, [Step(lane, amendment(change), at)])
    # A held lane keeps its due time, so that it is taken over at once when its holder dies; it is set anew when it is
    # given back.
    if holder is None:
        due_again(transaction, group)
    transaction.work = True
    if audit is not None:
        about = replace(audit, about=change.kind.value, change_id=change_id, privacy_group_id=group)
        transaction.audit(replace(about, request_id=change.request_id))
    amended = change_by_id(connection, change_id)
    return change if amended is None else amended


def _write(transaction: Transaction, steps: Sequence[Step]) -> None:
    """Write steps of lanes whose rows are locked; first of all what tells whether they fit."""
    connection = transaction.connection
    # The revision decides: an operator's amendment in between makes the step unfit before anything of it is written.
    _write_changes(connection, steps)
    pairs = _dead_first(step.made for step in steps)
    if pairs:
        rows = [attempt_values(change_id, attempt) for change_id, attempt in pairs]
        if connection.execute(_UPSERT_ATTEMPT[connection.dialect.name], rows).rowcount != len(rows):
            names = ", ".join(row["attempt_id"] for row in rows)
            raise ConstraintError(f"an attempt is stored with other bytes ({names}); this is a defect")
    entries = [history_values(entry) for step in steps for entry in step.made.history]
    if entries:
        connection.execute(_INSERT_HISTORY, entries)
    _announce(transaction, [step for step in steps if step.made.events])


def _write_changes(connection: sa.Connection, steps: Sequence[Step]) -> None:
    rows = [
        (change.leads and change.state not in RESTING, step.lane.privacy_group_id, change)
        for step in steps
        for change in step.made.changes
    ]
    # The old lead makes room before the new one takes its place: an index admits one at a time.
    rows.sort(key=lambda row: row[0])
    values = [
        change_values(change) | {"of_change": change.change_id, "of_group": group, "before": change.revision - 1}
        for _, group, change in rows
    ]
    if values and connection.execute(_UPDATE, values).rowcount != len(values):
        names = ", ".join(f"{change.change_id} at {change.revision - 1}" for _, _, change in rows)
        raise _MisfitError(f"a change is not at the revision before its step any more ({names}); load the lane again")


def _dead_first(records: Iterable[Record]) -> list[tuple[str, Attempt]]:
    """The attempts to write: those named, and those that the changes carry; a live one only after the dead."""
    latest: dict[str, tuple[str, Attempt]] = {}
    for made in records:
        carried = [(change.change_id, change.attempt) for change in made.changes if change.attempt is not None]
        latest |= {attempt.attempt_id: (change_id, attempt) for change_id, attempt in (*carried, *made.attempts)}
    return sorted(latest.values(), key=lambda pair: pair[1].live)


def _announce(transaction: Transaction, steps: Sequence[Step]) -> None:
    for step in steps:
        foreign = {event.privacy_group_id for event in step.made.events} - {step.lane.privacy_group_id}
        if foreign:
            raise ConstraintError(
                f"a step of lane {step.lane.privacy_group_id!r} has events of {sorted(foreign)}; this is a defect"
            )
    if steps:
        wanted = {step.lane.privacy_group_id: (len(step.made.events), None) for step in steps}
        last = touch_lanes(transaction.connection, wanted)
        for step in steps:
            transaction.announce(step.made.events, last[step.lane.privacy_group_id], step.at)


def _committed_before(connection: sa.Connection, found: Sequence[Change]) -> bool:
    """Whether exactly these changes are stored already: an earlier try was committed and its answer lost."""
    return bool(found) and all(change_by_id(connection, change.change_id) == change for change in found)
