"""Units of work on lanes: who may act on a group, and until when.

A lane is due when something of its group is pending; `due_at` is kept up to date by whoever makes or ends something
pending, except while the lane is held: it then stays as it was when it was claimed, so that a dead holder's lane is due
as soon as its lease is over. On PostgreSQL the lane's row is locked first and pending changes are looked at by a later
statement, which sees what the previous owner of that lock committed.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heapreplace

import sqlalchemy as sa

from orchestrator.engine.ports.store import Lane
from orchestrator.store.commits.transaction import Transaction
from orchestrator.store.errors import UnreadableChangeError
from orchestrator.store.schema import (
    ACTIVE,
    LONGEST_PAUSE_MICROSECONDS,
    PENDING,
    QUEUED,
    QUEUED_UNLOCK,
    changes,
    lanes,
)
from orchestrator.store.units.abandoned import give_back_of_the_gone, held_by
from orchestrator.store.units.reads import active_changes, queued_changes
from orchestrator.store.units.replica_shares import allotted, others_present

QUEUED_PER_LANE = 25
"""How many queued changes of a group are handed out with its lane: more than share a batch by default."""

MOST_SOURCES = 32
"""Sources that are looked at for one claim; each costs a look into an index."""

UNREADABLE_MICROSECONDS = 60 * 1_000_000
"""After so long a lane with a change that can't be read is looked at again: somebody may have mended it."""

_FREE = (
    sa.text("due_at IS NOT NULL"),
    # A time further ahead than any pause was set by a clock that ran ahead: such a lane is due.
    sa.or_(lanes.c.due_at <= sa.bindparam("since"), lanes.c.due_at > sa.bindparam("beyond")),
    sa.or_(lanes.c.holder.is_(None), lanes.c.lease_until <= sa.bindparam("since")),
)
_DUE = sa.select(sa.func.count()).select_from(
    sa.select(sa.literal(1).label("one")).select_from(lanes).where(*_FREE).limit(sa.bindparam("limit")).subquery()
)
_CLAIMABLE = (
    sa.select(lanes.c.privacy_group_id)
    .where(*_FREE)
    .order_by(lanes.c.due_at)
    .limit(sa.bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_TOKENS = sa.select(lanes.c.privacy_group_id, lanes.c.token).where(
    lanes.c.privacy_group_id.in_(sa.bindparam("groups", expanding=True)), lanes.c.holder.is_not(None)
)
_CLAIMABLE_OF_SOURCE = _CLAIMABLE.where(lanes.c.source == sa.bindparam("of_source"))
_OLDEST_SOURCE = sa.select(lanes.c.source).where(sa.text("due_at IS NOT NULL")).order_by(lanes.c.due_at).limit(1)
_NEXT_SOURCE = sa.select(sa.func.min(lanes.c.source)).where(
    sa.text("due_at IS NOT NULL"), lanes.c.source > sa.bindparam("after")
)
_PRESENT = sa.bindparam("present", type_=sa.BigInteger)
_UNFINISHED = (
    sa.select(changes.c.source, changes.c.account, sa.func.count())
    .where(PENDING)
    .group_by(changes.c.source, changes.c.account)
)


def _ready(group: sa.ColumnElement[str]) -> sa.ColumnElement[int]:
    """When a group has something to do: what is under way at once, else its oldest queued change."""
    of_group = changes.c.privacy_group_id == group
    active = sa.select(sa.func.min(changes.c.ready_at)).where(of_group, ACTIVE)
    first = (
        sa.select(changes.c.ready_at).where(of_group, condition).order_by(changes.c.position).limit(1).scalar_subquery()
        for condition in (QUEUED_UNLOCK, QUEUED)
    )
    return sa.func.coalesce(active.scalar_subquery(), *first)


_READY_AT = sa.select(_ready(sa.bindparam("group")))
_READY_OR_NOW = sa.case((_ready(lanes.c.privacy_group_id) < _PRESENT, _PRESENT), else_=_ready(lanes.c.privacy_group_id))
_RELEASE = (
    lanes.update()
    .where(
        lanes.c.privacy_group_id == sa.bindparam("group"),
        lanes.c.token == sa.bindparam("of_token"),
        sa.text("holder IS NOT NULL"),
    )
    .values(holder=None, lease_until=None, due_at=_READY_OR_NOW)
    .returning(lanes.c.due_at)
)
_NEXT_FREE = sa.select(sa.func.min(lanes.c.due_at)).where(sa.text("due_at IS NOT NULL"), lanes.c.holder.is_(None))
_NEXT_EXPIRED = sa.select(
    sa.func.min(sa.case((lanes.c.lease_until <= lanes.c.due_at, lanes.c.due_at), else_=lanes.c.lease_until))
).where(sa.text("holder IS NOT NULL"), lanes.c.due_at.is_not(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """How many lanes are taken, and whose.

    Attributes:
        limit: How many at most.
        held: How many of each source the holder has.
        most_of_source: How many of one source it may have, those held included; None for no bound.
    """

    limit: int
    held: Mapping[str, int] = field(default_factory=dict)
    most_of_source: int | None = None

    def left(self, source: str) -> int:
        """Return how many more of a source may be taken."""
        if self.most_of_source is None:
            return self.limit
        return max(0, min(self.limit, self.most_of_source - self.held.get(source, 0)))


def shared_out(waiting: Mapping[str, Sequence[str]], shares: Shares) -> list[str]:
    """Choose lanes one after the other, each of the source that has the fewest then.

    Args:
        waiting: Each source's free lanes in their order; of equal sources the first named is served first.
        shares: How many are taken.
    """
    sources = [
        (shares.held.get(source, 0), place, 0, groups[: shares.left(source)])
        for place, (source, groups) in enumerate(waiting.items())
        if groups[: shares.left(source)]
    ]
    heapify(sources)
    chosen: list[str] = []
    while sources and len(chosen) < shares.limit:
        has, place, taken, groups = sources[0]
        chosen.append(groups[taken])
        if taken + 1 < len(groups):
            heapreplace(sources, (has + 1, place, taken + 1, groups))
        else:
            heappop(sources)
    return chosen


def claim(
    transaction: Transaction,
    *,
    holder: str,
    now: int,
    lease_until: int,
    shares: Shares,
    unreadable: list[UnreadableChangeError],
    able: bool = True,
) -> tuple[Lane, ...]:
    """Take lanes that are due and that nobody holds: of each source in turn, those due longest first.

    Where there are other replicas, no more than this one's share of all lanes, see `replica_shares`.

    Args:
        transaction: A transaction.
        holder: Who takes them.
        now: The present time, microseconds.
        lease_until: Until when, likewise.
        shares: How many, and whose.
        unreadable: Gets what can't be read; the lanes of these changes rest.
        able: Whether this holder can work; if not, it takes what others leave for as long as a lease lasts.
    """
    connection = transaction.connection
    times = {"since": now, "beyond": now + LONGEST_PAUSE_MICROSECONDS}
    # In the transaction of the claim: whoever has lanes has said that it is there.
    others = others_present(transaction, holder=holder, now=now, able=able)
    if others.said_again:
        give_back_of_the_gone(transaction, holder=holder, now=now)
    if others.replicas:
        due = connection.execute(_DUE, times | {"limit": shares.limit * (others.replicas + 1)}).scalar_one()
        allotment = allotted(
            replicas=others.replicas + able,
            mine=sum(shares.held.values()),
            others=others.lanes,
            due=due,
            patience=None if able else lease_until - now,
        )
        shares = replace(shares, limit=min(shares.limit, allotment.limit))
        times["since"] -= allotment.waited
    # Their rows are locked here, and those that another claim has locked are passed over: two replicas never wait for
    # each other.
    groups = _in_turn(connection, times, shares) if shares.limit else []
    if not groups:
        return ()
    # A token of its own for each claim: whatever a stale holder still commits names an older one, and is refused.
    taken = (
        lanes.update()
        .where(lanes.c.privacy_group_id.in_(groups))
        .values(holder=holder, lease_until=lease_until, token=lanes.c.token + 1)
        .returning(lanes.c.privacy_group_id, lanes.c.token, lanes.c.source)
    )
    found = {row.privacy_group_id: row for row in connection.execute(taken)}
    try:
        active = active_changes(connection, groups)
    except UnreadableChangeError:
        active = {}  # whose it is shows when each group is read for itself
    claimed: list[Lane] = []
    unreadable.clear()  # of an earlier run of the same unit
    for group in groups:
        try:
            claimed.append(
                Lane(
                    privacy_group_id=group,
                    token=found[group].token,
                    source=found[group].source,
                    active=active[group] if active else active_changes(connection, [group])[group],
                    queued=queued_changes(connection, group, now=now, limit=QUEUED_PER_LANE),
                )
            )
        except UnreadableChangeError as error:
            unreadable.append(error)
    _set_aside(connection, set(groups) - {lane.privacy_group_id for lane in claimed}, now)
    return tuple(claimed)


def _set_aside(connection: sa.Connection, groups: Collection[str], now: int) -> None:
    """Let lanes rest whose changes can't be read: nobody knows what was sent for them, so nothing is done in them."""
    if groups:
        # Not ended and not parked: what was sent for it may hold the group locked, and a person has to see it.
        resting = {"holder": None, "lease_until": None, "due_at": now + UNREADABLE_MICROSECONDS}
        connection.execute(lanes.update().where(lanes.c.privacy_group_id.in_(groups)).values(resting))


def _in_turn(connection: sa.Connection, times: dict[str, int], shares: Shares) -> list[str]:
    """Return groups whose lanes can be taken, one of each source in turn, those due longest first.

    A sender of thousands of requests then is not in front of everybody else.
    """
    sources = _due_sources(connection)
    if len(sources) < 2:
        # One sender alone: nobody is to be served in between, and one look into the index tells.
        limit = min((shares.left(source) for source in sources), default=0)
        return list(connection.execute(_CLAIMABLE, times | {"limit": limit}).scalars())
    waiting = {
        source: connection.execute(_CLAIMABLE_OF_SOURCE, times | {"limit": shares.left(source), "of_source": source})
        .scalars()
        .all()
        for source in sources
        if shares.left(source)
    }
    return shared_out(waiting, shares)


def _due_sources(connection: sa.Connection) -> list[str]:
    """Return sources of due lanes, a bounded number: the one that waits longest is always among them."""
    first: str | None = connection.execute(_OLDEST_SOURCE).scalar_one_or_none()
    found: list[str] = []
    following = first
    while following is not None and following not in found and len(found) < MOST_SOURCES:
        found.append(following)
        following = connection.execute(_NEXT_SOURCE, {"after": following}).scalar_one()
        if following is None:  # and from the first of all on again
            following = connection.execute(_NEXT_SOURCE, {"after": ""}).scalar_one()
    return found


def load(connection: sa.Connection, lane: Lane, *, now: int) -> Lane:
    """Return the same lane with its changes as they are now."""
    group = lane.privacy_group_id
    return replace(
        lane,
        active=active_changes(connection, [group])[group],
        queued=queued_changes(connection, group, now=now, limit=QUEUED_PER_LANE),
    )


def tokens_of(connection: sa.Connection, groups: Sequence[str]) -> dict[str, int]:
    """Return the tokens of those of some groups' lanes that somebody holds."""
    # The token alone tells whose it is: a lane that was given back and taken again by the same holder is another claim.
    return {row.privacy_group_id: row.token for row in connection.execute(_TOKENS, {"groups": list(groups)})}


def renew(transaction: Transaction, *, holder: str, lease_until: int, groups: Collection[str] | None) -> frozenset[str]:
    """Prolong the leases of a holder on `groups` (None: on all that it has); returns those that it has of them."""
    held = [group for group in held_by(transaction.connection, holder) if groups is None or group in groups]
    if held:
        prolonged = lanes.update().where(lanes.c.privacy_group_id.in_(held)).values(lease_until=lease_until)
        transaction.connection.execute(prolonged)
    return frozenset(held)


def release(transaction: Transaction, lane: Lane, *, now: int) -> None:
    """Give a lane back, due when one of its changes is; does nothing when it is not ours any more.

    What is ready already comes due now, not when it became ready: a group with a long queue goes behind those that
    have waited for their turn.
    """
    values = {"group": lane.privacy_group_id, "of_token": lane.token, "present": now}
    due_at = transaction.connection.execute(_RELEASE, values).scalar_one_or_none()
    transaction.work = transaction.work or due_at is not None


def set_due(transaction: Transaction, group: str, due_at: int | None) -> None:
    """Say when a lane, whose row is locked, is due."""
    due = lanes.update().where(lanes.c.privacy_group_id == group).values(due_at=due_at)
    transaction.connection.execute(due)
    transaction.work = transaction.work or due_at is not None


def due_again(transaction: Transaction, group: str) -> None:
    """Say anew when a lane is due that nobody holds and whose row is locked."""
    set_due(transaction, group, _ready_at(transaction.connection, group))


def next_due(connection: sa.Connection) -> int | None:
    """Return when the next lane can be claimed: when it is due and, if somebody holds it, the lease is over."""
    found: list[int | None] = [connection.execute(statement).scalar_one() for statement in (_NEXT_FREE, _NEXT_EXPIRED)]
    return min((due_at for due_at in found if due_at is not None), default=None)


def unfinished(connection: sa.Connection) -> dict[tuple[str, str], int]:
    """Return how many changes are neither ended nor parked, by source and account."""
    return {(source, account): number for source, account, number in connection.execute(_UNFINISHED)}


def _ready_at(connection: sa.Connection, group: str) -> int | None:
    value: int | None = connection.execute(_READY_AT, {"group": group}).scalar_one()
    return value
