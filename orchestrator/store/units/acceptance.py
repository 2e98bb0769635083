"""Units of work of the intake: a request is stored once, whoever brings it again, and told apart from another one."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from orchestrator.access.audit import AuditEntry
from orchestrator.engine.ports.store import Acceptance
from orchestrator.membership.errors import ConflictingRequestError
from orchestrator.membership.model import Change
from orchestrator.membership.news.status import StatusEvent
from orchestrator.store.commits.transaction import Transaction, Upsert, per_dialect, touch_lanes
from orchestrator.store.rows import Values, change_values, ready_at, request_key
from orchestrator.store.schema import changes
from orchestrator.store.units.reads import changes_by_request


def _insert_new(insert: Upsert) -> sa.Insert:
    return insert(changes).on_conflict_do_nothing(index_elements=["request_key"]).returning(changes.c.change_id)


_INSERT = per_dialect(_insert_new)
_KNOWN_OF_OLD = sa.select(changes.c.request_key, changes.c.body_hash).where(
    changes.c.request_key.in_(sa.bindparam("ids", expanding=True))
)


@dataclass(frozen=True, slots=True)
class Accept:
    """Stores a new change with its events and makes its lane due, unless its request is known.

    Attributes:
        change: The new change.
        body_hash: Hash of the request's body.
        events: Status events of the change's group.
        at: When it is accepted.
        source: Who asks, as the request says.
        asker: Who asks, as was proven; empty for nobody.
        audit: The entry of the audit log for it; none is made for a request that is known.
    """

    change: Change
    body_hash: str
    events: Sequence[StatusEvent]
    at: datetime
    source: str = ""
    asker: str = ""
    audit: AuditEntry | None = None

    @property
    def lane_source(self) -> str:
        """Whose share of the lanes it takes: a sender can call itself anything, but proves only one name."""
        return self.asker or self.source

    def __call__(self, transaction: Transaction) -> Acceptance:
        """Accept alone.

        Raises:
            ConflictingRequestError: The request is known with another body.
        """
        (outcome,) = self.together(transaction, [self])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def values(self) -> Values:
        """Return the columns of the new change."""
        key = request_key(self.source, self.change.request_id, self.asker)
        return change_values(self.change) | {
            "body_hash": self.body_hash,
            "request_key": key,
            "source": self.lane_source,
        }

    @staticmethod
    def together(transaction: Transaction, units: "Sequence[Accept]") -> list[Acceptance | ConflictingRequestError]:
        """Accept several with four statements; see `sharing.Joint`."""
        connection = transaction.connection
        # Changes of before sources had names are known by the request's id alone, under which they may come again.
        of_old = set(map(tuple, connection.execute(_KNOWN_OF_OLD, {"ids": [u.change.request_id for u in units]})))
        rows = [u.values() for u in units if u.asker or (u.change.request_id, u.body_hash) not in of_old]
        # The unique key decides, not a look before: two replicas may get the same message at one time.
        inserted = set(connection.execute(_INSERT[connection.dialect.name], rows).scalars()) if rows else set()
        new = [unit for unit in units if unit.change.change_id in inserted]
        if new:
            _announce(transaction, new)
            for unit in new:
                if unit.audit is not None:
                    transaction.audit(unit.audit)
            transaction.work = True
        return [
            Acceptance(change=unit.change, duplicate=False)
            if unit.change.change_id in inserted
            else _known(connection, unit)
            for unit in units
        ]


def _announce(transaction: Transaction, accepted: Sequence[Accept]) -> None:
    by_group: dict[str, list[Accept]] = defaultdict(list)
    for unit in accepted:
        by_group[unit.change.privacy_group_id].append(unit)
    wanted = {
        group: (sum(len(unit.events) for unit in units), min(ready_at(unit.change) for unit in units))
        for group, units in by_group.items()
    }
    # Who came first makes the lane due, and the lane counts to that one's share.
    sources = {group: units[0].lane_source for group, units in by_group.items()}
    for group, last in touch_lanes(transaction.connection, wanted, sources).items():
        sequence = last - wanted[group][0]
        for unit in by_group[group]:
            sequence += len(unit.events)
            transaction.announce(unit.events, sequence, unit.at)


def _known(connection: sa.Connection, unit: Accept) -> Acceptance | ConflictingRequestError:
    request_id = unit.change.request_id
    found = changes_by_request(connection, unit.source, request_id, unit.asker)
    for earlier, body_hash in found:
        # The same request again is answered as at first; another one under its id would be lost silently.
        if body_hash == unit.body_hash:
            return Acceptance(change=earlier, duplicate=True)
    return ConflictingRequestError(
        f"request id {request_id!r} was used before with another body, as change "
        f"{found[0][0].change_id if found else 'unknown'}; use a new id for a new request"
    )


def announce_alone(
    transaction: Transaction, events: Sequence[StatusEvent], at: datetime, audit: AuditEntry | None = None
) -> None:
    """Store events that belong to no change; those of one group keep their order."""
    if audit is not None:
        transaction.audit(audit)
    by_group: dict[str, list[StatusEvent]] = defaultdict(list)
    for event in events:
        by_group[event.privacy_group_id].append(event)
    wanted: dict[str, tuple[int, int | None]] = {group: (len(found), None) for group, found in by_group.items()}
    for group, last in touch_lanes(transaction.connection, wanted).items():
        transaction.announce(by_group[group], last, at)
