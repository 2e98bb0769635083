"""What the audit log says of who asks for a change, and of who is refused."""

from dataclasses import replace
from datetime import datetime

from orchestrator.access.audit import Action, AuditEntry, Outcome, entry_by
from orchestrator.access.callers import Caller, ForbiddenError
from orchestrator.engine.intake.requests import ChangeRequest, InvalidRequestError
from orchestrator.instants import micros
from orchestrator.membership.model import Change
from orchestrator.outside_text import presentable


def acceptance_entry(caller: Caller, request: ChangeRequest, change: Change) -> AuditEntry:
    """Return the entry for a request that is accepted as a change."""
    at = micros(change.created_at)
    return replace(
        entry_by(caller, Action.ASK, at, about=request.kind.value, reason=presentable(request.reason or "")),
        privacy_group_id=change.privacy_group_id,
        change_id=change.change_id,
        request_id=request.request_id,
        source=request.source,
    )


def refusal_entry(asker: Caller, inlet: str, error: InvalidRequestError, now: datetime) -> AuditEntry:
    """Return the entry for a message that becomes a dead letter.

    Args:
        asker: Who sent it, as far as the subject or queue tells.
        inlet: The subject or queue.
        error: Why it is refused.
        now: The present time.
    """
    return replace(
        entry_by(asker, Action.ASK, micros(now), outcome=Outcome.REFUSED, about=presentable(inlet), reason=str(error)),
        privacy_group_id=error.privacy_group_id or "",
        request_id=error.request_id or "",
    )


def invalid_by(error: ForbiddenError, request: ChangeRequest) -> InvalidRequestError:
    """Return what is forbidden as what is wrong with a request: for a message both end as a dead letter."""
    return InvalidRequestError(
        "source", str(error), request_id=request.request_id, privacy_group_id=request.privacy_group_id
    )
