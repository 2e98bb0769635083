"""The audit log: who asked for what, through which door, with what outcome, each entry bound to the one before.

An entry's hash covers its number, all that it says and the hash before it. Whoever changes, removes or inserts an entry
changes every hash behind it; whoever cuts the end off is found out by a hash that was noted elsewhere.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from orchestrator.access.callers import Caller, Door

FIRST_HASH: Final = "0" * 64
"""What the first entry has as the hash before it."""


class Action(StrEnum):
    """What was asked for."""

    ASK = "ask"
    RETRY = "retry"
    CANCEL = "cancel"
    NAME = "name"
    CREATE_TOKEN = "create_token"  # noqa: S105 - the name of an act, no secret
    REVOKE_TOKEN = "revoke_token"  # noqa: S105 - the name of an act, no secret
    USE = "use"
    ARCHIVE = "archive"


class Outcome(StrEnum):
    """What became of it."""

    ACCEPTED = "accepted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """What happened.

    Attributes:
        at: When, in whole microseconds since 1970.
        caller: Who asked, as was proven; empty where nobody asks for a proof.
        door: By which way.
        action: What was asked for.
        outcome: What became of it.
        about: The kind of change, the route, the token or the name that it is about.
        privacy_group_id: The group, empty for none.
        change_id: The change, empty for none.
        request_id: The request's own id, empty for none.
        source: Who asked, as the request says; empty where it says nothing.
        reason: Why, in the caller's words; or why it was refused.
    """

    at: int
    caller: str
    door: Door
    action: Action
    outcome: Outcome
    about: str = ""
    privacy_group_id: str = ""
    change_id: str = ""
    request_id: str = ""
    source: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainedEntry:
    """An entry in its place.

    Attributes:
        number: Its place, from 1 on without a gap.
        entry: What happened.
        previous_hash: The hash of the entry before.
        entry_hash: Its own hash.
    """

    number: int
    entry: AuditEntry
    previous_hash: str
    entry_hash: str


def entry_by(
    caller: Caller, action: Action, at: int, *, outcome: Outcome = Outcome.ACCEPTED, about: str = "", reason: str = ""
) -> AuditEntry:
    """Return the entry for what a caller asked for; see `AuditEntry`."""
    return AuditEntry(
        at=at, caller=caller.name, door=caller.door, action=action, outcome=outcome, about=about, reason=reason
    )


def hash_of_entry(number: int, entry: AuditEntry, previous_hash: str) -> str:
    """Return an entry's hash: SHA-256, hexadecimal, of a JSON list of what it says."""
    # A list: its order is part of what is hashed, no name can be there twice, and no text runs into its neighbour.
    said = [
        *(number, previous_hash, entry.at, entry.caller, entry.door.value, entry.action.value, entry.outcome.value),
        *(entry.about, entry.privacy_group_id, entry.change_id, entry.request_id, entry.source, entry.reason),
    ]
    return hashlib.sha256(json.dumps(said, separators=(",", ":")).encode()).hexdigest()


def chained(entries: Sequence[AuditEntry], number: int, previous_hash: str) -> list[ChainedEntry]:
    """Return entries in their places behind an entry of that number and hash."""
    found = []
    for entry in entries:
        number += 1
        own = hash_of_entry(number, entry, previous_hash)
        found.append(ChainedEntry(number=number, entry=entry, previous_hash=previous_hash, entry_hash=own))
        previous_hash = own
    return found


def first_break(entries: Iterable[ChainedEntry], number: int = 0, previous_hash: str = FIRST_HASH) -> str | None:
    """Return what is wrong with the first entry that is not as it was written; None when all are.

    Args:
        entries: In their order.
        number: Number of the entry before the first of them.
        previous_hash: Its hash.
    """
    for found in entries:
        number += 1
        # First the numbers: behind a missing entry every hash is wrong, and would not say where.
        if found.number != number:
            return f"entry {number} is missing: {found.number} follows {number - 1}"
        if found.previous_hash != previous_hash:
            return f"entry {number} does not continue the one before it: an entry was changed, removed or put in there"
        if hash_of_entry(number, found.entry, previous_hash) != found.entry_hash:
            return f"entry {number} is not what was written: its hash is another one"
        previous_hash = found.entry_hash
    return None
