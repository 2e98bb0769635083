"""A store as it is after years: rows of ended changes by the hundred thousand, made inside of the database.

The rows are those of one change, as the store writes them, with other ids. Each change has its attempts, its history
and its status events; the last of each group is its newest, and a few are parked or wait.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa

from orchestrator.instants import micros
from orchestrator.membership.attempt import Action, AttemptStatus
from orchestrator.membership.model import Change, State
from orchestrator.membership.news.status import EventType
from orchestrator.store.rows import attempt_values, change_values, to_json
from orchestrator.store.schema import attempts, changes, history, lanes, outbox
from tests.fakes.changes import a_change, a_marker, an_attempt
from tests.fakes.clock import START

STEPS: Final = 10
_TRIED: Final = (Action.LOCK, Action.ADD)
_TOLD: Final = (
    EventType.CHANGE_ACCEPTED,
    EventType.CHANGE_STARTED,
    EventType.GROUP_LOCKING,
    EventType.GROUP_LOCKED,
    EventType.GROUP_MEMBERS_CHANGED,
    EventType.CHANGE_PROGRESSED,
    EventType.CHANGE_PROGRESSED,
    EventType.CHANGE_SUCCEEDED,
)
EVENTS: Final = len(_TOLD)
_KEY: Final = "A" * 34
_RAW: Final = b"r" * 700
_MEMBERS: Final = (f"{_KEY}1234567890",)

Columns = Mapping[str, sa.ColumnElement[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreShape:
    """How large a store is made.

    Attributes:
        groups: Groups; the changes are spread evenly over them.
        changes: Changes, of which the last few wait and some are parked.
        parked_each: One change of so many is parked.
        waiting: Changes that wait to be worked on.
        seconds_apart: The time from one change to the next.
        diverged_each: One group of so many was told to differ, and to agree again.
    """

    groups: int
    changes: int
    parked_each: int = 1_000
    waiting: int = 200
    seconds_apart: float = 5.0
    diverged_each: int = 1_000


def group_named(number: int) -> str:
    """Return the id of a group by its number."""
    return f"{_KEY}{number:010d}"


def fill(connection: sa.Connection, shape: StoreShape) -> None:
    """Fill an empty store."""
    fill_changes(connection, shape)
    numbers = _series(shape.changes)
    n = numbers.c.n
    name, at, over = _name(n), _at(shape, n), n <= shape.changes - shape.waiting
    for attempt_id, action in zip(_attempt_ids(n), _TRIED, strict=True):
        tried: Columns = {"attempt_id": attempt_id, "change_id": name}
        _copy(connection, attempts, _attempt(action), numbers, tried, over)
    for revision in range(1, STEPS + 1):
        step = {"revision": revision, "fact": "ReceiptSeen", "from_state": "adding", "to_state": "verifying"}
        made: Columns = {"change_id": name, "at": at}
        _copy(connection, history, step | {"detail": "d" * 40}, numbers, made, over)
    _tell(connection, shape)
    _open_lanes(connection, shape)


def fill_changes(connection: sa.Connection, shape: StoreShape) -> None:
    """Put in the changes alone."""
    numbers = _series(shape.changes)
    n = numbers.c.n
    name, at, over = _name(n), _at(shape, n), n <= shape.changes - shape.waiting
    made: Columns = {
        "change_id": name,
        "privacy_group_id": _group(shape, n),
        "request_key": sa.literal("k" * 53) + name,
        "request_id": sa.literal("request-") + name,
        "created_at": at,
        "ready_at": at,
        "state": sa.case(
            (sa.not_(over), State.QUEUED.value),
            (n % shape.parked_each == 0, State.PARKED.value),
            else_=State.SUCCEEDED.value,
        ),
        "lead_id": sa.case((over, name), else_=None),
        "attempt_id": sa.case((over, _attempt_ids(n)[-1]), else_=None),
    }
    _copy(connection, changes, change_values(_over()) | {"body_hash": "h" * 64, "source": "org1"}, numbers, made)


def _attempt_ids(n: sa.ColumnElement[int]) -> list[sa.ColumnElement[str]]:
    return [sa.literal(f"{_KEY}{place}") + _name(n) for place in range(len(_TRIED))]


def _over() -> Change:
    return replace(a_change("one"), members=_MEMBERS, state=State.SUCCEEDED, revision=STEPS, batch=1, tries=1)


def _attempt(action: Action) -> dict[str, Any]:
    marker = a_marker("one", raw=b"m" * 180, key=b"k" * 32, payload_key=b"p" * 32, pmt_hash="0x" + "a" * 64)
    made = an_attempt("one", AttemptStatus.EFFECTIVE, action=action, members=_MEMBERS, raw=_RAW, marker=marker)
    return attempt_values("", made)


def _tell(connection: sa.Connection, shape: StoreShape) -> None:
    """Put in the status events of all changes that do not wait, change by change, as they come."""
    numbers = _series((shape.changes - shape.waiting) * EVENTS)
    n, place = (numbers.c.n - 1) // EVENTS + 1, (numbers.c.n - 1) % EVENTS
    at = _at(shape, n)
    kinds = [(place == number, kind.value) for number, kind in enumerate(_TOLD[:-1])]
    made: Columns = {
        "change_id": _name(n),
        "privacy_group_id": _group(shape, n),
        "request_id": _name(n),
        "occurred_at": at,
        "published_at": at,
        "sequence": n // shape.groups * EVENTS + place,
        "type": sa.case(*kinds, else_=_TOLD[-1].value),
    }
    data = to_json({"state": "verifying", "members": list(_MEMBERS), "detail": "d" * 200})
    _copy(connection, outbox, {"data": data}, numbers, made)


def _open_lanes(connection: sa.Connection, shape: StoreShape) -> None:
    numbers = _series(shape.groups)
    n = numbers.c.n
    group, at = _group(shape, n), _at(shape, n)
    waits = n % shape.groups > shape.groups - shape.waiting
    made: Columns = {"privacy_group_id": group, "due_at": sa.case((waits, at), else_=None)}
    _copy(connection, lanes, {"token": 3, "last_sequence": 100_000, "source": "org1"}, numbers, made)
    for sequence, kind in enumerate((EventType.GROUP_DIVERGED, EventType.GROUP_CONVERGED), -2):
        event = {"type": kind.value, "data": to_json({"first_block": 1, "members": []}), "sequence": sequence}
        told: Columns = {"privacy_group_id": group, "occurred_at": at, "published_at": at}
        _copy(connection, outbox, event, numbers, told, n % shape.diverged_each == 0)


def _series(through: int) -> sa.CTE:
    first = sa.select(sa.literal(1, sa.BigInteger).label("n")).cte("numbers", recursive=True)
    return first.union_all(sa.select(first.c.n + 1).where(first.c.n < through))


def _name(n: sa.ColumnElement[int]) -> sa.ColumnElement[str]:
    return sa.literal("01J") + sa.cast(10_000_000_000 + n, sa.Text)


def _group(shape: StoreShape, n: sa.ColumnElement[int]) -> sa.ColumnElement[str]:
    return sa.literal(_KEY) + sa.func.substr(sa.cast(10_000_000_000 + n % shape.groups, sa.Text), 2)


def _at(shape: StoreShape, n: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return micros(START) + n * int(shape.seconds_apart * 1_000_000)


def _copy(
    connection: sa.Connection,
    table: sa.Table,
    values: Mapping[str, Any],
    numbers: sa.CTE,
    made: Columns,
    where: sa.ColumnElement[bool] | None = None,
) -> None:
    columns: dict[str, sa.ColumnElement[Any]] = {
        name: sa.literal(value, table.c[name].type) for name, value in values.items() if value is not None
    }
    columns |= made
    chosen = sa.select(*(value.label(name) for name, value in columns.items())).select_from(numbers)
    if where is not None:
        chosen = chosen.where(where)
    connection.execute(table.insert().from_select(list(columns), chosen))
