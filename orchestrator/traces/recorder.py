"""Makes spans of what the engine tells, beside its work: what can't be kept up with is counted, never waited for."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Protocol

from orchestrator.bounded_dicts import BoundedDict
from orchestrator.engine.archives.whole_changes import WholeChange
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.records import HistoryEntry
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.isolation import contained
from orchestrator.engine.runtime.tracing import noting
from orchestrator.membership.model import ENDED, Change
from orchestrator.membership.tracing import TraceContext, begun
from orchestrator.traces.spans import Span, accepted_span, call_span, spans_of, under_way

MOST_WAITING: Final = 10_000
"""Changes that are remembered, and those of them whose newest steps wait to be made into spans."""

MOST_CALLS: Final = 64
"""Questions to nodes for one step that get spans of their own; those beyond are counted as dropped."""

SENT_AGAIN: Final = timedelta(minutes=5)
"""How old steps may be that are told again of a change that another process had: it may have died before it told."""

RETRY_SECONDS: Final = 2.0


class WholeChanges(Protocol):
    """Reads changes; part of the store."""

    async def whole(self, change_id: str) -> WholeChange | None:
        """Return a change with all that belongs to it; None when there is none."""


class TraceRecorder:
    """`orchestrator.engine.runtime.tracing.Tracer`: makes spans and hands them on.

    Args:
        changes: The stored changes.
        hand_on: Takes a span, at once; False when there is no room for it.
        clock: Time.
        ratio: Which part is kept of traces that begin here.

    Attributes:
        dropped: Spans, and steps of changes, that nobody was told of.
    """

    def __init__(
        self, changes: WholeChanges, hand_on: Callable[[Span], bool], clock: Clock, ratio: float = 1.0
    ) -> None:
        self.dropped = 0
        self._changes = changes
        self._hand_on = hand_on
        self._clock = clock
        self._ratio = ratio
        self._recorded: BoundedDict[str, int] = BoundedDict(MOST_WAITING)
        self._entered: BoundedDict[str, int] = BoundedDict(MOST_WAITING)
        self._waiting: dict[str, None] = {}
        self._news = asyncio.Event()
        self._calls = secrets.randbits(64)

    # --- what the engine tells ---------------------------------------------------------------------------------------

    def trace_of(self, change_id: str, asked: TraceContext | None) -> TraceContext:
        """Return the trace of a new change: the request's, or one that begins with it."""
        return begun(change_id, asked, self._ratio)

    def accepted(self, change: Change, since: datetime) -> None:
        """Note that a change was stored."""
        if change.trace is not None and change.trace.traced:
            self._recorded[change.change_id] = 0
            self._give(accepted_span(change, change.trace, since, self._clock.now()))

    def committed(self, changes: Iterable[Change], history: Iterable[HistoryEntry] = ()) -> None:
        """Note that steps were committed."""
        for entry in history:
            if entry.to_state is not entry.from_state:
                self._entered[entry.change_id] = entry.revision
        for change in changes:
            if change.trace is None or not change.trace.traced:
                continue
            if len(self._waiting) >= MOST_WAITING and change.change_id not in self._waiting:
                self.dropped += 1
                continue
            self._waiting[change.change_id] = None
            self._news.set()

    def performing(self, change: Change) -> AbstractContextManager[None]:
        """Note what is asked of nodes for a change's next step."""
        if change.trace is None or not change.trace.traced:
            return nullcontext()
        parent_id = under_way(change, self._entered.get(change.change_id))
        return noting(_StepCalls(self, change, change.trace, parent_id))

    def now(self) -> datetime:
        """Return the present time."""
        return self._clock.now()

    def asked(
        self, change: Change, trace: TraceContext, parent_id: str, what: str, start: datetime, failed: str
    ) -> None:
        """Note one question to a node."""
        self._calls += 1
        span = call_span(change, trace, parent_id, self._calls, what, start, self._clock.now())
        self._give(replace(span, failed=failed))

    # --- beside it ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Make spans of committed steps until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            if not await self.make_all():
                await self._clock.sleep(RETRY_SECONDS)
                self._news.set()

    async def make_all(self) -> bool:
        """Make the spans of all steps that wait for it; False when the store did not answer."""
        while self._waiting:
            change_id = next(iter(self._waiting))
            del self._waiting[change_id]  # a step that is committed while it is read puts it back
            with contained("traces", change_id=change_id):
                try:
                    whole = await self._changes.whole(change_id)
                except StoreError as error:
                    if not error.passing:
                        raise
                    self._waiting[change_id] = None
                    return False
                if whole is not None:
                    self._make(whole)
        return True

    def _make(self, whole: WholeChange) -> None:
        change = whole.change
        behind = self._recorded.get(change.change_id)
        since = change.created_at if behind is not None else self._clock.now() - SENT_AGAIN
        for span in spans_of(whole, behind or 0, since):
            self._give(span)
        if change.state in ENDED:
            self._recorded.pop(change.change_id, None)
            self._entered.pop(change.change_id, None)
        else:
            self._recorded[change.change_id] = change.revision

    def _give(self, span: Span) -> None:
        if not self._hand_on(span):
            self.dropped += 1


class _StepCalls:
    """The questions of one step."""

    def __init__(self, recorder: TraceRecorder, change: Change, trace: TraceContext, parent_id: str) -> None:
        self._recorder = recorder
        self._change = change
        self._trace = trace
        self._parent_id = parent_id
        self._left = MOST_CALLS

    @contextmanager
    def asked(self, what: str) -> Iterator[None]:
        start, failed = self._recorder.now(), ""
        try:
            yield
        except BaseException as error:
            failed = type(error).__name__
            raise
        finally:
            self._left -= 1
            if self._left >= 0:
                self._recorder.asked(self._change, self._trace, self._parent_id, what, start, failed)
            else:
                self._recorder.dropped += 1
