"""Who asks for a change, and what the audit log says of it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from orchestrator.access.audit import Action, AuditEntry, Outcome, entry_by, micros
from orchestrator.access.callers import Caller, Door, ForbiddenError, anyone
from orchestrator.engine.requests import ChangeRequest, InvalidRequestError
from orchestrator.membership.model import Change
from orchestrator.outside_text import told


def asker_of(askers: Mapping[str, Caller], inlet: str) -> Caller:
    """Return who asks by a message, from where it came in: what it says of itself counts for nothing.

    Args:
        askers: Who asks by which subject or queue; empty where whoever may publish asks for whatever it likes.
        inlet: Where the message came in, as the queue says.

    Raises:
        ForbiddenError: Nobody is configured to ask that way.
    """
    if not askers:
        return anyone(Door.QUEUE)
    asker = askers.get(inlet)
    if asker is None:
        raise ForbiddenError(f"nobody asks by {told(inlet)}: it is none of broker.sources")
    return asker


def acceptance_entry(caller: Caller, request: ChangeRequest, change: Change) -> AuditEntry:
    """Return the entry for a request that is accepted as a change."""
    at = micros(change.created_at)
    return replace(
        entry_by(caller, Action.ASK, at, about=request.kind.value, reason=told(request.reason or "")),
        privacy_group_id=change.privacy_group_id,
        change_id=change.change_id,
        request_id=request.request_id,
        source=request.source,
    )


def refusal_entry(askers: Mapping[str, Caller], inlet: str, error: InvalidRequestError, now: datetime) -> AuditEntry:
    """Return the entry for a message that becomes a dead letter."""
    asker = askers.get(inlet, anyone(Door.QUEUE))
    return replace(
        entry_by(asker, Action.ASK, micros(now), outcome=Outcome.REFUSED, about=told(inlet), reason=str(error)),
        privacy_group_id=error.privacy_group_id or "",
        request_id=error.request_id or "",
    )


def invalid_by(error: ForbiddenError, request: ChangeRequest) -> InvalidRequestError:
    """Return what is forbidden as what is wrong with a request: for a message both end as a dead letter."""
    return InvalidRequestError(
        "source", str(error), request_id=request.request_id, privacy_group_id=request.privacy_group_id
    )
