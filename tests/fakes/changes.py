"""Changes, steps and attempts to put into a store, with everything that does not matter filled in."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from orchestrator.engine.ports.records import HistoryEntry
from orchestrator.engine.ports.store import Record
from orchestrator.membership.attempt import Action, Attempt, AttemptStatus, Marker
from orchestrator.membership.model import Change, Kind, State
from orchestrator.membership.news.status import announce
from tests.fakes.clock import START

ACCOUNT = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"


def a_change(name: str, group: str = "g", *, at: float = 0.0, **fields: Any) -> Change:
    """A queued change that was accepted so many seconds after `START`."""
    values: dict[str, Any] = {
        "change_id": f"change-{name}",
        "request_id": f"request-{name}",
        "kind": Kind.ADD_MEMBERS,
        "privacy_group_id": group,
        "members": ("member",),
        "account": ACCOUNT,
        "created_at": START + timedelta(seconds=at),
    }
    return Change(**values | fields)


def a_marker(name: str, **fields: Any) -> Marker:
    """The marker of an attempt, with an account of its own."""
    values: dict[str, Any] = {
        "account": f"account of {name}",
        "key": f"key of {name}".encode(),
        "payload_key": f"payload of {name}".encode(),
        "gas_limit": 21_500,
        "gas_price": 0,
        "chain_id": 1337,
        "raw": f"marker of {name}".encode(),
        "pmt_hash": f"0x{name}",
    }
    return Marker(**values | fields)


def an_attempt(name: str, status: AttemptStatus = AttemptStatus.SIGNED, **fields: Any) -> Attempt:
    """An attempt with signed bytes and a marker of its own."""
    values: dict[str, Any] = {
        "attempt_id": f"attempt-{name}",
        "action": Action.LOCK,
        "members": (),
        "node": "a",
        "private_nonce": 1,
        "raw": f"signed {name}".encode(),
        "since_block": 10,
        "marker": a_marker(name),
        "status": status,
    }
    return Attempt(**values | fields)


def sent(attempt: Attempt, block: int = 10, **fields: Any) -> Attempt:
    """The attempt once its marker was broadcast at a block."""
    values: dict[str, Any] = {"status": AttemptStatus.SENT, "sent_block": block}
    return replace(attempt, **values | fields)


def led(change: Change, state: State = State.PREFLIGHT, **fields: Any) -> Change:
    """The change one step later, leading its turn."""
    return stepped(change, state, lead_id=change.change_id, **fields)


def stepped(change: Change, state: State, **fields: Any) -> Change:
    """The change one step later."""
    lead_id = None if state is State.QUEUED else change.lead_id
    values: dict[str, Any] = {"state": state, "revision": change.revision + 1, "lead_id": lead_id}
    return replace(change, **values | fields)


def a_step(before: Change, after: Change, *attempts: Attempt, at: datetime = START) -> Record:
    """The unit of work that commits a step, with its status events and history."""
    entry = HistoryEntry(
        change_id=after.change_id,
        revision=after.revision,
        at=at,
        fact="Fact",
        from_state=before.state,
        to_state=after.state,
    )
    return Record(
        changes=(after,),
        attempts=tuple((after.change_id, attempt) for attempt in attempts),
        events=announce(before, after),
        history=(entry,),
    )
