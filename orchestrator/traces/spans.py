"""Which spans a change has, made from what is stored of it.

One span is the change, from its acceptance to its end. Below it is each step, for as long as the change was in that
state, and below a step each thing that was done or waited for in it, from one commit to the next. Their ids and times
come from the stored history, so that whoever makes them makes the same. No span names a group, a member, an account or
a transaction: traces go to others than those who may see these.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from orchestrator.engine.archives.whole_changes import WholeChange
from orchestrator.engine.ports.records import HistoryEntry
from orchestrator.membership.model import ENDED, Change, State
from orchestrator.membership.reasons.table import Reason
from orchestrator.membership.tracing import TraceContext, span_id

NAMES: Final[Mapping[str, str]] = {
    "Claimed": "take up",
    "Surveyed": "look at the group",
    "AttemptSigned": "distribute and sign",
    "AttemptSent": "broadcast",
    "AttemptSettled": "be mined",
    "AttemptUnmined": "wait to be mined",
    "AttemptBurnt": "take back",
    "ConvergenceObserved": "prove",
    "Hindered": "wait",
    "SendFailed": "broadcast in vain",
    "RetryRequested": "retry",
    "CancelRequested": "cancel",
}
"""What a step's fact ends, by the fact's name."""

OBSERVED: Final = frozenset({State.REPLAYING, State.VERIFYING})
"""States in which members' nodes are looked at again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One span.

    Attributes:
        trace: The trace of its change.
        span_id: 16 hexadecimal digits.
        parent_id: That of the span it is part of; empty for none.
        name: What it is.
        start, end: When.
        attributes: What else is told.
        failed: Why it failed, in a word; empty when it did not.
        asks: Whether it is a question to another program.
    """

    trace: TraceContext
    span_id: str
    parent_id: str
    name: str
    start: datetime
    end: datetime
    attributes: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    failed: str = ""
    asks: bool = False


def accepted_span(change: Change, trace: TraceContext, since: datetime, now: datetime) -> Span:
    """Return the span of taking a request until it is stored."""
    return _span(change, trace, "accept", trace.span_id, "accept", since, now)


def under_way(change: Change, entered: int | None) -> str:
    """Return the id of the span that what is done for a change now is part of.

    Args:
        change: The change, as it was last committed.
        entered: The revision with which it came into its state; None when that is not known.
    """
    if change.state not in OBSERVED:
        return span_id(change.change_id, f"done {change.revision + 1}")
    # Most looks at a replay leave no entry in the history that could be a span.
    return span_id(change.change_id, "change" if entered is None else f"step {entered}")


def call_span(
    change: Change, trace: TraceContext, parent_id: str, number: int, what: str, start: datetime, end: datetime
) -> Span:
    """Return the span of one question to a node.

    Args:
        change: The change.
        trace: Its trace.
        parent_id: See `under_way`.
        number: Which of the questions of all its steps; those of another process have others.
        what: The question's method.
        start, end: When.
    """
    asked = {"rpc.system": "jsonrpc", "rpc.method": what}
    return Span(
        trace=trace,
        span_id=span_id(change.change_id, f"call {number}"),
        parent_id=parent_id,
        name=what,
        start=start,
        end=end,
        attributes=asked,
        asks=True,
    )


def spans_of(whole: WholeChange, behind: int, not_before: datetime) -> Iterator[Span]:
    """Yield the spans that ended with the steps of a change.

    Args:
        whole: The change.
        behind: Only with steps of later revisions.
        not_before: Only with steps that were committed since.
    """
    change, trace = whole.change, whole.change.trace
    if trace is None or not trace.traced:
        return
    entered, entered_at, before = 0, change.created_at, change.created_at
    for entry in whole.history:
        wanted = entry.revision > behind and entry.at >= not_before
        last = entry is whole.history[-1]
        if wanted:
            about = f"done {entry.revision}"
            parent = span_id(change.change_id, f"step {entered}")
            name = NAMES.get(entry.fact, entry.fact)
            yield _span(
                change, trace, about, parent, name, before, entry.at, _described(entry, change if last else None)
            )
        if entry.to_state is not entry.from_state:
            if wanted:
                yield from _step_spans(whole, trace, entry, entered, entered_at)
            entered, entered_at = entry.revision, entry.at
        before = entry.at


def _step_spans(
    whole: WholeChange, trace: TraceContext, entry: HistoryEntry, entered: int, entered_at: datetime
) -> Iterator[Span]:
    change = whole.change
    about, state = f"step {entered}", entry.from_state
    if state in OBSERVED:
        yield from _replay_spans(change, trace, about, entered_at, entry.at)
    said = {"change.left_for": entry.to_state.value}
    yield _span(change, trace, about, trace.span_id, state.value, entered_at, entry.at, said)
    if entry.to_state in ENDED:
        failed = entry.to_state.value if entry.to_state is State.FAILED else ""
        yield Span(
            trace=trace,
            span_id=trace.span_id,
            parent_id=trace.parent_id,
            name=change.kind.value,
            start=change.created_at,
            end=entry.at,
            attributes=_of(change) | {"change.state": entry.to_state.value, "change.tries": change.tries},
            failed=failed and _slug(change.reason, failed),
        )


def _replay_spans(change: Change, trace: TraceContext, step: str, start: datetime, end: datetime) -> Iterator[Span]:
    """Yield until when each new member's node was seen to move, and how much it replayed meanwhile."""
    for progress in change.progress:
        if progress.enclave_key not in change.members:
            continue
        number = change.members.index(progress.enclave_key)
        attributes: dict[str, str | int] = {
            "replay.member": number,
            "replay.verdict": progress.verdict.value,
            "replay.blocks": progress.blocks_replayed,
            "replay.transactions": progress.transactions_replayed,
        }
        moved_at = min(max(progress.moved_at, start), end)
        parent = span_id(change.change_id, step)
        yield _span(change, trace, f"replay {number} in {step}", parent, "replay", start, moved_at, attributes)


def _described(entry: HistoryEntry, change: Change | None) -> dict[str, str]:
    """Return what is told of a step, why it waits included where that is still known."""
    reason = None if change is None else change.waits_for or change.reason
    return {"change.fact": entry.fact} | ({} if reason is None else {"change.reason": reason.slug})


def _span(
    change: Change,
    trace: TraceContext,
    about: str,
    parent_id: str,
    name: str,
    start: datetime,
    end: datetime,
    attributes: Mapping[str, str | int] | None = None,
) -> Span:
    return Span(
        trace=trace,
        span_id=span_id(change.change_id, about),
        parent_id=parent_id,
        name=name,
        start=min(start, end),
        end=end,
        attributes=_of(change) | dict(attributes or {}),
    )


def _of(change: Change) -> dict[str, str | int | float | bool]:
    return {"change.id": change.change_id}


def _slug(reason: Reason | None, otherwise: str) -> str:
    return otherwise if reason is None else reason.slug
