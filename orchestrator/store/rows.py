"""Values of the rules as rows and back, without loss. Pure.

Structured values are JSON objects with the field names of their dataclass, so that rows from before a field was added
with a default can still be read.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any, TypeVar

import sqlalchemy as sa

from orchestrator.engine.ports.records import HistoryEntry
from orchestrator.instants import micros, moment
from orchestrator.membership.attempt import Action, Attempt, AttemptStatus, Marker
from orchestrator.membership.model import (
    Change,
    Effect,
    ExpectedReplay,
    GroupView,
    Kind,
    Mark,
    MemberProgress,
    Plan,
    Repair,
    State,
    Verdict,
    Vouched,
)
from orchestrator.membership.reasons.table import Reason
from orchestrator.membership.replay_time import TimeLeft
from orchestrator.membership.tracing import TraceContext

T = TypeVar("T")

Values = dict[str, Any]
"""Column name → value, to be written."""
Row = sa.RowMapping | Values
"""Column name → value, as read."""


def to_json(value: object) -> str:
    """Return a value as ASCII JSON text, which every database takes, whatever characters its strings hold."""
    return json.dumps(value, default=_encode, separators=(",", ":"))


def _encode(value: object) -> object:
    if isinstance(value, datetime):
        return micros(value)
    if isinstance(value, bytes):
        return value.hex()
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    raise TypeError(f"a {type(value).__name__} is no part of a row")


def storable(text: str) -> str:
    """Return text without what a text column can't hold (NUL, halves of surrogate pairs): it came from outside."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")


# --- changes -------------------------------------------------------------------------------------------------------


def ready_at(change: Change) -> int:
    """Return when a change can be worked on: at once, unless it is queued with a back-off."""
    if change.state is State.QUEUED and change.not_before is not None:
        return micros(change.not_before)
    return micros(change.created_at)


def request_key(source: str, request_id: str, asker: str = "") -> str:
    """Return by which a request is recognised: of bounded length, whatever a sender calls itself.

    A list of three for who had to prove a name: nothing that others write as their source makes the same key.
    """
    parts = [asker, source, request_id] if asker else [source, request_id]
    return hashlib.sha256(to_json(parts).encode()).hexdigest()


def change_values(change: Change) -> Values:
    """Return the columns of a change, without those that only its acceptance knows."""
    return {
        "change_id": change.change_id,
        "request_id": change.request_id,
        "kind": change.kind.value,
        "privacy_group_id": change.privacy_group_id,
        "members": to_json(change.members),
        "account": change.account,
        "created_at": micros(change.created_at),
        "deadline": _maybe(micros, change.deadline),
        "state": change.state.value,
        "lead_id": change.lead_id,
        "batch_limit": change.batch_limit,
        "batch": change.batch,
        "tries": change.tries,
        "not_before": _maybe(micros, change.not_before),
        "waiting_since": _maybe(micros, change.waiting_since),
        "reason": _maybe(to_json, change.reason),
        "plan": _maybe(to_json, change.plan),
        "attempt_id": None if change.attempt is None else change.attempt.attempt_id,
        "waits_for": _maybe(to_json, change.waits_for),
        "failures": change.failures,
        "lock_block": change.lock_block,
        "giving_up": change.giving_up,
        "transacted": change.transacted,
        "effect": _maybe(to_json, change.effect),
        "progress": to_json(change.progress),
        "repair": _maybe(to_json, change.repair),
        "trace": _maybe(to_json, change.trace),
        "revision": change.revision,
        "ready_at": ready_at(change),
    }


def change_of(row: Row, attempt: Attempt | None) -> Change:
    """Return the change of a row; its attempt is in another table."""
    return Change(
        change_id=row["change_id"],
        request_id=row["request_id"],
        kind=Kind(row["kind"]),
        privacy_group_id=row["privacy_group_id"],
        members=_texts(json.loads(row["members"])),
        account=row["account"],
        created_at=moment(row["created_at"]),
        deadline=_maybe(moment, row["deadline"]),
        state=State(row["state"]),
        lead_id=row["lead_id"],
        batch_limit=row["batch_limit"],
        batch=row["batch"],
        tries=row["tries"],
        not_before=_maybe(moment, row["not_before"]),
        waiting_since=_maybe(moment, row["waiting_since"]),
        reason=_maybe(_reason, row["reason"]),
        plan=_maybe(_plan, row["plan"]),
        attempt=attempt,
        waits_for=_maybe(_reason, row["waits_for"]),
        failures=row["failures"],
        lock_block=row["lock_block"],
        giving_up=bool(row["giving_up"]),
        transacted=bool(row["transacted"]),
        effect=_maybe(_effect, row["effect"]),
        progress=tuple(_progress(entry) for entry in json.loads(row["progress"])),
        repair=_maybe(_repair, row["repair"]),
        trace=_maybe(_trace, row["trace"]),
        revision=row["revision"],
    )


def _repair(text: str) -> Repair:
    values = json.loads(text)
    return Repair(**values | {"members": _texts(values["members"])})


def _trace(text: str) -> TraceContext:
    return TraceContext(**json.loads(text))


def _reason(text: str) -> Reason:
    values = json.loads(text)
    return Reason(**values | {"members": _texts(values["members"])})


def _plan(text: str) -> Plan:
    values = json.loads(text)
    lists = {name: _texts(values[name]) for name in ("to_add", "to_remove", "participants")}
    vouched = tuple(Vouched(**entry) for entry in values.get("vouched", ()))
    replays = tuple(ExpectedReplay(**entry) for entry in values.get("replays", ()))
    made = {"vouched": vouched, "replays": replays, "unforeseen": _texts(values.get("unforeseen", []))}
    return Plan(**values | lists | made)


def _effect(text: str) -> Effect:
    values = json.loads(text)
    view = values["view"]
    return Effect(**values | {"view": GroupView(**view | {"participants": _texts(view["participants"])})})


def _progress(values: Values) -> MemberProgress:
    read = {
        "verdict": Verdict(values["verdict"]),
        "moved_at": moment(values["moved_at"]),
        "marks": tuple(Mark(**mark | {"at": moment(mark["at"])}) for mark in values.get("marks", ())),
        "left": TimeLeft(**values["left"]) if values.get("left") is not None else None,
    }
    return MemberProgress(**values | read)


# --- attempts ------------------------------------------------------------------------------------------------------


def attempt_values(change_id: str, attempt: Attempt) -> Values:
    """Return the columns of an attempt of a change."""
    return {
        "attempt_id": attempt.attempt_id,
        "change_id": change_id,
        "action": attempt.action.value,
        "members": to_json(attempt.members),
        "node": attempt.node,
        "private_nonce": attempt.private_nonce,
        "raw": attempt.raw,
        "since_block": attempt.since_block,
        "sent_block": attempt.sent_block,
        "seen_block": attempt.seen_block,
        "marker": to_json(attempt.marker),
        "renewed": to_json(attempt.renewed),
        "status": attempt.status.value,
    }


def attempt_of(row: Row) -> Attempt:
    """Return the attempt of a row."""
    return Attempt(
        attempt_id=row["attempt_id"],
        action=Action(row["action"]),
        members=_texts(json.loads(row["members"])),
        node=row["node"],
        private_nonce=row["private_nonce"],
        raw=bytes(row["raw"]),
        since_block=row["since_block"],
        sent_block=row["sent_block"],
        seen_block=row["seen_block"],
        marker=_marker(row["marker"]),
        renewed=_texts(json.loads(row["renewed"])),
        status=AttemptStatus(row["status"]),
    )


def _marker(text: str) -> Marker:
    values = json.loads(text)
    return Marker(**values | {name: bytes.fromhex(values[name]) for name in ("key", "payload_key", "raw")})


# --- history -------------------------------------------------------------------------------------------------------


def history_values(entry: HistoryEntry) -> Values:
    """Return the columns of a step."""
    return {
        "change_id": entry.change_id,
        "revision": entry.revision,
        "at": micros(entry.at),
        "fact": entry.fact,
        "from_state": entry.from_state.value,
        "to_state": entry.to_state.value,
        "detail": storable(entry.detail),
    }


def history_of(row: Row) -> HistoryEntry:
    """Return the step of a row."""
    return HistoryEntry(
        change_id=row["change_id"],
        revision=row["revision"],
        at=moment(row["at"]),
        fact=row["fact"],
        from_state=State(row["from_state"]),
        to_state=State(row["to_state"]),
        detail=row["detail"],
    )


S = TypeVar("S")


def _maybe(convert: Callable[[S], T], value: S | None) -> T | None:
    return None if value is None else convert(value)


def _texts(values: list[str]) -> tuple[str, ...]:
    return tuple(values)
