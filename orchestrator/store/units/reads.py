"""Units of work that only read changes and what belongs to them."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from itertools import takewhile

import sqlalchemy as sa

from orchestrator.engine.ports.records import ChangeFilter, HistoryEntry
from orchestrator.engine.runtime.isolation import contained
from orchestrator.membership.attempt import Action, Attempt
from orchestrator.membership.model import Change, State
from orchestrator.store.errors import UnreadableChangeError
from orchestrator.store.rows import attempt_of, change_of, history_of, request_key, storable
from orchestrator.store.schema import (
    ACTIVE,
    LONGEST_PAUSE_MICROSECONDS,
    NOT_QUEUED,
    QUEUED,
    QUEUED_UNLOCK,
    attempts,
    changes,
    history,
)

NEWEST_LOCKS = 8
"""How many of a group's locks are looked at to tell whether one of them holds it."""

NEWEST_ADDITIONS = 1_000
"""How many additions are looked at to tell whether a marker is ours: a new block holds none of older ones."""

_LAST = "z" * 40
"""Longer than what is left of an id behind its prefix."""

_ATTEMPT = "attempt__"
_ATTEMPT_COLUMNS = tuple(column.name for column in attempts.c)

_select = sa.select(
    *(column for column in changes.c if column.name not in ("body_hash", "request_key", "source")),
    *(column.label(_ATTEMPT + column.name) for column in attempts.c),
).select_from(changes.outerjoin(attempts, changes.c.attempt_id == attempts.c.attempt_id))

_BY_ID = _select.where(changes.c.change_id == sa.bindparam("change_id"))
_BY_REQUEST = _select.add_columns(changes.c.body_hash).where(
    changes.c.request_key.in_([sa.bindparam("key"), sa.bindparam("old_key")])
)
_ACTIVE = _select.where(changes.c.privacy_group_id.in_(sa.bindparam("groups", expanding=True)), ACTIVE).order_by(
    changes.c.privacy_group_id, changes.c.position
)
_OF_GROUP = _select.where(changes.c.privacy_group_id == sa.bindparam("group"))
_QUEUED = _OF_GROUP.where(QUEUED).order_by(changes.c.position).limit(sa.bindparam("limit"))
# The lead is asked for first: with "or in (select …)" PostgreSQL reads all attempts through.
_LEAD = sa.select(changes.c.lead_id).where(changes.c.change_id == sa.bindparam("change_id"))
_ATTEMPTS = (
    sa.select(attempts)
    .where(attempts.c.change_id.in_(sa.bindparam("ids", expanding=True)))
    .order_by(attempts.c.position)
)
_UNLOCK = _OF_GROUP.where(QUEUED_UNLOCK).order_by(changes.c.position).limit(1)


def change_by_id(connection: sa.Connection, change_id: str) -> Change | None:
    """Return a change."""
    row = connection.execute(_BY_ID, {"change_id": storable(change_id)}).mappings().one_or_none()
    return None if row is None else _change(row)


def changes_by_request(
    connection: sa.Connection, source: str, request_id: str, asker: str = ""
) -> tuple[tuple[Change, str], ...]:
    """Return the changes that a request may have made, each with its body's hash, the surest first.

    A second one is of a row from before sources were stored: its id is the same, and whose it was is not known, so that
    nobody who had to prove a name is shown it.
    """
    key = request_key(source, request_id, asker)
    keys = {"key": key, "old_key": key if asker else request_id}
    found = [(_change(row), str(row["body_hash"])) for row in connection.execute(_BY_REQUEST, keys).mappings()]
    return tuple(found)


def active_changes(connection: sa.Connection, groups: Sequence[str]) -> dict[str, tuple[Change, ...]]:
    """Return the changes of each group that neither rest nor ended, the lead first."""
    found: dict[str, list[Change]] = {group: [] for group in groups}
    for row in connection.execute(_ACTIVE, {"groups": list(groups)}).mappings():
        found[row["privacy_group_id"]].append(_change(row))
    return {group: tuple(sorted(members, key=lambda change: not change.leads)) for group, members in found.items()}


def queued_changes(connection: sa.Connection, group: str, *, now: int, limit: int) -> tuple[Change, ...]:
    """Return the changes of a group that may start now, in the order in which they were accepted.

    One that waits for its next try holds those behind it: a removal that overtakes the addition before it would leave
    other members than the order of the requests says. Only a person's unlock goes first: it changes no member, and may
    be what the others wait for.
    """
    rows = [*connection.execute(_UNLOCK, {"group": group}).mappings()]
    if not rows:
        rows = [*connection.execute(_QUEUED, {"group": group, "limit": limit}).mappings()]
    # A pause that is longer than any was set by a clock that was ahead.
    ready = takewhile(lambda row: not now < row["ready_at"] <= now + LONGEST_PAUSE_MICROSECONDS, rows)
    return tuple(_change(row) for row in ready)


def _conditions(wanted: ChangeFilter) -> Iterator[sa.ColumnElement[bool] | sa.TextClause]:
    """Yield what must hold for a row."""
    if wanted.privacy_group_id is not None:
        yield changes.c.privacy_group_id == storable(wanted.privacy_group_id)
    if wanted.within is not None:
        yield changes.c.privacy_group_id.in_([storable(group) for group in wanted.within])
    if wanted.states:
        yield changes.c.state.in_([state.value for state in wanted.states])
        if wanted.privacy_group_id is None and State.QUEUED not in wanted.states:
            yield NOT_QUEUED  # lets the index by state be used
        if wanted.states == (State.QUEUED,):
            yield QUEUED  # that of the queue, likewise
    if wanted.request_id:
        yield changes.c.request_id == storable(wanted.request_id)
    if wanted.prefix:
        prefix = storable(wanted.prefix)
        yield sa.func.substr(changes.c.change_id, 1, len(prefix)) == prefix  # LIKE would not mind the case
        # No letter or digit sorts behind, in whatever order the database has: the index by id is gone through.
        yield changes.c.change_id.between(prefix, prefix + _LAST)


def newest_changes(connection: sa.Connection, *, wanted: ChangeFilter, limit: int, before: str) -> tuple[Change, ...]:
    """Return changes, newest first, from the one after `before` on."""
    behind: list[sa.ColumnElement[bool]] = []
    if before:
        position = sa.select(changes.c.position).where(changes.c.change_id == storable(before))
        if wanted.within is not None:  # that there is a change of another group is not told either
            position = position.where(changes.c.privacy_group_id.in_([storable(group) for group in wanted.within]))
        behind = [changes.c.position < position.scalar_subquery()]
    if len(wanted.states) > 1 and wanted.privacy_group_id is None and wanted.within is None:
        # Of several states at once SQLite would sort all rows of them: each state's newest come from its index.
        each = [_newest_of_state(replace(wanted, states=(state,)), behind, limit) for state in wanted.states]
        statement = _select.where(changes.c.position.in_(sa.union_all(*each)))
    else:
        statement = _select.where(*_conditions(wanted), *behind)
    statement = statement.order_by(changes.c.position.desc()).limit(limit)
    found = []
    for row in connection.execute(statement).mappings():
        # One that can't be read hides no other; who asks for it alone is told.
        with contained("unreadable change", change_id=row["change_id"]):
            found.append(_change(row))
    return tuple(found)


def _newest_of_state(
    wanted: ChangeFilter, behind: Sequence[sa.ColumnElement[bool]], limit: int
) -> sa.Select[tuple[int]]:
    # The queue's index is by group: by this expression its few rows are sorted, instead of looking for them in all.
    order = changes.c.position + 0 if wanted.states == (State.QUEUED,) else changes.c.position
    newest = sa.select(changes.c.position).where(*_conditions(wanted), *behind).order_by(order.desc()).limit(limit)
    return sa.select(newest.subquery().c.position)


def count_changes(connection: sa.Connection, wanted: ChangeFilter) -> int:
    """Return how many changes there are."""
    statement = sa.select(sa.func.count()).select_from(changes).where(*_conditions(wanted))
    return int(connection.execute(statement).scalar_one())


def history_of_change(connection: sa.Connection, change_id: str) -> tuple[HistoryEntry, ...]:
    """Return what happened to a change, oldest first."""
    statement = sa.select(history).where(history.c.change_id == storable(change_id)).order_by(history.c.revision)
    return tuple(history_of(row) for row in connection.execute(statement).mappings())


def attempts_of_change(connection: sa.Connection, change_id: str) -> tuple[Attempt, ...]:
    """Return the attempts that were made for a change, its lead's included, oldest first."""
    change_id = storable(change_id)
    lead = connection.execute(_LEAD, {"change_id": change_id}).scalar_one_or_none()
    of = [change_id] if lead is None else [change_id, lead]
    return tuple(attempt_of(row) for row in connection.execute(_ATTEMPTS, {"ids": of}).mappings())


def locks_of_group(connection: sa.Connection, privacy_group_id: str) -> tuple[Attempt, ...]:
    """Return the newest locks that were signed for a group, newest first."""
    of_group = sa.select(changes.c.change_id).where(changes.c.privacy_group_id == storable(privacy_group_id))
    statement = (
        sa.select(attempts)
        .where(attempts.c.change_id.in_(of_group), attempts.c.action == Action.LOCK.value)
        .order_by(attempts.c.position.desc())
        .limit(NEWEST_LOCKS)
    )
    return tuple(attempt_of(row) for row in connection.execute(statement).mappings())


def has_marker(connection: sa.Connection, pmt_hash: str) -> bool:
    """Return whether one of our newest additions has or had this marker."""
    newest = (
        sa.select(attempts.c.marker, attempts.c.renewed)
        .where(attempts.c.action == Action.ADD.value)
        .order_by(attempts.c.position.desc())
        .limit(NEWEST_ADDITIONS)
        .subquery()
    )
    named = [column.contains(pmt_hash, autoescape=True) for column in (newest.c.marker, newest.c.renewed)]
    return (
        connection.execute(sa.select(sa.literal(1)).select_from(newest).where(sa.or_(*named)).limit(1)).first()
        is not None
    )


def groups_of_additions(connection: sa.Connection, pmt_hashes: Collection[str]) -> dict[str, str]:
    """Return by marker the groups of those of our newest additions that have or had one of these markers."""
    newest = (
        sa.select(attempts.c.marker, attempts.c.renewed, changes.c.privacy_group_id)
        .join(changes, changes.c.change_id == attempts.c.change_id)
        .where(attempts.c.action == Action.ADD.value)
        .order_by(attempts.c.position.desc())
        .limit(NEWEST_ADDITIONS)
    )
    found: dict[str, str] = {}
    for marker, renewed, group in connection.execute(newest):
        for pmt_hash in (json.loads(marker)["pmt_hash"], *json.loads(renewed)):
            if pmt_hash in pmt_hashes:
                found[pmt_hash] = group
    return found


def _change(row: sa.RowMapping) -> Change:
    """Return the change of a row.

    Raises:
        UnreadableChangeError: It is none.
    """
    try:
        if row[_ATTEMPT + "attempt_id"] is None:
            return change_of(row, None)
        return change_of(row, attempt_of({column: row[_ATTEMPT + column] for column in _ATTEMPT_COLUMNS}))
    except Exception as error:
        raise UnreadableChangeError(
            f"change {row['change_id']} of group {row['privacy_group_id']} can't be read ({error!r}): the row is "
            "damaged, or a newer version wrote it; run that version, or restore the row from a backup. The group waits"
        ) from error
