"""Judging reasons: what becomes of a change that met one, and of the changes that shared its batch."""

from dataclasses import replace
from datetime import datetime

from orchestrator.membership.model import Change, Kind, State
from orchestrator.membership.reasons.judgements import Judgement
from orchestrator.membership.reasons.table import Reason, rule_of
from orchestrator.membership.repair import PATIENCE
from orchestrator.membership.retry import RetryDecision, decide, patience_is_over
from orchestrator.membership.triage.signals import Signal


def counted(change: Change, reason: Reason) -> Reason:
    """Return a reason that a change has just met, with how many times in a row it met it."""
    before = change.reason
    same = before is not None and before.slug == reason.slug
    return replace(reason, times=before.times + 1 if same and before is not None else 1)


def judge(change: Change, reason: Reason, now: datetime) -> tuple[Signal, Change]:
    """Let the table of reasons say whether a change waits, fails or needs a person.

    Args:
        change: The change that met the reason.
        reason: What it met, counted.
        now: The present time.

    Returns:
        One of the signals ``MET_…``, and the change with what is remembered of the reason.
    """
    # Before patience is counted: the change may be one of those that are not at fault.
    if _is_to_be_halved(change, reason):
        return Signal.MET_PASSING, replace(_halved(change, reason), not_before=now)
    decision = decide(change, reason, now)
    if change.repair is not None:
        decision = _left_to_a_person(change, reason, decision)
    since = change.waiting_since if reason.times > 1 and change.waiting_since is not None else now
    match decision.judgement:
        case Judgement.RETRY:
            waiting = replace(change, reason=reason, tries=change.tries + 1, waiting_since=since)
            return Signal.MET_PASSING, replace(waiting, not_before=decision.not_before)
        case Judgement.TERMINAL:
            return Signal.MET_FINAL, replace(change, reason=reason)
        case Judgement.PARK:
            return Signal.MET_FOR_A_PERSON, replace(change, reason=_with_age(reason, since, now))


def _left_to_a_person(change: Change, reason: Reason, decision: RetryDecision) -> RetryDecision:
    """A repair never ends without the addition: it waits for a person, when it can't go on."""
    if change.kind is Kind.CURE_GROUP and change.repairs:
        return decision  # it has removed nobody
    tired = change.repairs and reason.times > PATIENCE
    if decision.judgement is Judgement.TERMINAL or tired:
        return RetryDecision(judgement=Judgement.PARK)
    return decision


def share_end(follower: Change, lead: Change) -> Change:
    """Return a follower after its lead's batch ended without the addition.

    The batch's reason is the same for all, but each change has its own patience and its own deadline: what ended the
    lead by its own deadline or its used-up patience only sends a follower back to the queue.

    Args:
        follower: A change of the batch.
        lead: The lead, which is queued again, failed or parked.
    """
    # It was counted when the undoing began; counted again it would use up patience twice.
    undone = follower.state is State.UNLOCKING and follower.reason is not None
    reason = follower.reason if undone and follower.reason is not None else shared_reason(follower, lead)
    if _is_to_be_halved(follower, reason):
        return replace(_halved(follower, reason), state=State.QUEUED, not_before=lead.not_before)
    moved = replace(follower, reason=reason)
    match rule_of(reason).judgement:
        case Judgement.TERMINAL:
            return replace(moved, state=State.FAILED)
        case Judgement.RETRY if not patience_is_over(reason):
            since = follower.waiting_since if reason.times > 1 else None
            return replace(
                moved,
                state=State.QUEUED,
                tries=follower.tries + 1,
                not_before=lead.not_before,
                waiting_since=since or lead.waiting_since,
            )
        case _:
            return replace(moved, state=State.PARKED)


def shared_reason(follower: Change, lead: Change) -> Reason:
    """Return why a lead's batch is undone or over, as one of its followers meets it."""
    reason = lead.reason or Reason(slug="execution_refused")
    if reason.slug == "deadline_passed":
        reason = Reason(slug="turn_given_up", detail=f"change {lead.change_id}, which led it, reached its deadline")
    return counted(follower, reason)


def _is_to_be_halved(change: Change, reason: Reason) -> bool:
    # Preflight looks at each change for itself and so knows whom to blame; a refused transaction does not say.
    return change.batch > 1 and change.state is not State.PREFLIGHT and rule_of(reason).member_specific


def _halved(change: Change, reason: Reason) -> Change:
    """One member of the batch is to blame and the answer does not say which: halve it, the others go through.

    This is no try of the change's own, so it costs neither patience nor a pause.
    """
    return replace(change, reason=replace(reason, times=0), batch_limit=max(1, change.batch // 2))


def _with_age(reason: Reason, since: datetime, now: datetime) -> Reason:
    if reason.times <= 1:
        return reason
    waited = f"met {reason.times} times in a row since {since.isoformat()}, for {int((now - since).total_seconds())} s"
    return replace(reason, detail=f"{reason.detail}; {waited}" if reason.detail else waited)
