"""Entries of the audit log as rows: put at the end of the chain, and read."""

from collections.abc import Sequence
from dataclasses import fields, replace

import sqlalchemy as sa

from orchestrator.access.audit import FIRST_HASH, Action, AuditEntry, ChainedEntry, Outcome, chained
from orchestrator.access.callers import Door
from orchestrator.instants import moment
from orchestrator.outside_text import one_line
from orchestrator.store.access_schema import audit_cuts, audit_log
from orchestrator.store.rows import Row, Values, storable, to_json

_FIELDS = tuple(field.name for field in fields(AuditEntry))
_NEWEST = sa.select(audit_log.c.number, audit_log.c.entry_hash).order_by(audit_log.c.number.desc()).limit(1)
_BEHIND = (
    sa.select(audit_log)
    .where(audit_log.c.number > sa.bindparam("after"))
    .order_by(audit_log.c.number)
    .limit(sa.bindparam("limit"))
)
_INSERT = audit_log.insert()


def fit(entry: AuditEntry) -> AuditEntry:
    """Return an entry whose texts a column can hold, so that what is read has the hash of what was written."""
    return replace(
        entry,
        caller=_fit(entry.caller),
        about=_fit(entry.about),
        privacy_group_id=_fit(entry.privacy_group_id),
        change_id=_fit(entry.change_id),
        request_id=_fit(entry.request_id),
        source=_fit(entry.source),
        reason=_fit(entry.reason),
    )


def _fit(text: str) -> str:
    return storable(one_line(text))


def append(connection: sa.Connection, entries: Sequence[AuditEntry]) -> None:
    """Put entries at the end of the chain; nobody else may append from here to the end of the transaction."""
    newest = connection.execute(_NEWEST).one_or_none()
    # Read in the transaction that appends: two who begin at one end would fork the chain.
    number, previous_hash = (0, FIRST_HASH) if newest is None else (newest.number, newest.entry_hash)
    connection.execute(_INSERT, [_values(found) for found in chained(entries, number, previous_hash)])


def behind(connection: sa.Connection, *, after: int, limit: int) -> tuple[ChainedEntry, ...]:
    """Return the entries behind a number, in their order."""
    rows = connection.execute(_BEHIND, {"after": after, "limit": limit}).mappings()
    return tuple(_entry(row) for row in rows)


def line_of(found: ChainedEntry) -> str:
    """Return an entry as one line of JSON, as the API shows it."""
    said = {name: getattr(found.entry, name) for name in _FIELDS}
    at = moment(found.entry.at).isoformat().replace("+00:00", "Z")
    hashes = {"previous_hash": found.previous_hash, "entry_hash": found.entry_hash}
    return to_json({"number": found.number, **said, "at": at, **hashes})


def newest_cut(connection: sa.Connection) -> int:
    """Return the number of the newest entry that was cut off; 0 for none."""
    return connection.execute(sa.select(sa.func.max(audit_cuts.c.number))).scalar_one() or 0


def old(connection: sa.Connection, *, before: int, after: int, limit: int) -> tuple[ChainedEntry, ...]:
    """Return the entries behind a number up to the first that is not older than a time, never the newest of all."""
    newest = connection.execute(_NEWEST).one_or_none()
    found = []
    for one in behind(connection, after=max(after, newest_cut(connection)), limit=limit):
        # Never the newest: the next entry needs its hash.
        if one.entry.at >= before or newest is None or one.number >= newest.number:
            break
        found.append(one)
    return tuple(found)


def cut(connection: sa.Connection, *, number: int, entry_hash: str, at: int) -> None:
    """Let the entries through a number go; the triggers see to it that it is one of the log."""
    connection.execute(audit_cuts.insert(), {"number": number, "entry_hash": entry_hash, "at": at})


def delete_cut(connection: sa.Connection, limit: int) -> int:
    """Delete some of the entries that were cut off, oldest first; returns how many."""
    oldest = (
        sa.select(audit_log.c.number)
        .where(audit_log.c.number <= newest_cut(connection))
        .order_by(audit_log.c.number)
        .limit(limit)
    )
    last = connection.execute(sa.select(sa.func.max(oldest.subquery().c.number))).scalar_one()
    if last is None:
        return 0
    return connection.execute(audit_log.delete().where(audit_log.c.number <= last)).rowcount


def _values(found: ChainedEntry) -> Values:
    entry = {name: getattr(found.entry, name) for name in _FIELDS}
    entry |= {name: entry[name].value for name in ("door", "action", "outcome")}
    return {
        "number": found.number,
        **entry,
        "previous_hash": found.previous_hash,
        "entry_hash": found.entry_hash,
    }


def _entry(row: Row) -> ChainedEntry:
    said = {name: row[name] for name in _FIELDS}
    said |= {"door": Door(row["door"]), "action": Action(row["action"]), "outcome": Outcome(row["outcome"])}
    return ChainedEntry(
        number=row["number"],
        entry=AuditEntry(**said),
        previous_hash=row["previous_hash"],
        entry_hash=row["entry_hash"],
    )
