"""What the engine tells of its work to whoever makes traces of it; nobody does unless it is configured.

The engine says when something happened, never how that is shown: what makes spans, and sends them somewhere, is an
adapter. Nothing here waits or fails.
"""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from datetime import datetime
from typing import Protocol

from orchestrator.engine.ports.records import HistoryEntry
from orchestrator.membership.model import Change
from orchestrator.membership.tracing import TraceContext


class Tracer(Protocol):
    """Makes traces of changes."""

    def trace_of(self, change_id: str, asked: TraceContext | None) -> TraceContext | None:
        """Return the trace that a new change is in.

        Args:
            change_id: The change.
            asked: The trace that its request says to be in.
        """

    def accepted(self, change: Change, since: datetime) -> None:
        """Note that a change was stored, and since when that was under way."""

    def committed(self, changes: Iterable[Change], history: Iterable[HistoryEntry] = ()) -> None:
        """Note that steps of these changes were committed, with what went into their history."""

    def performing(self, change: Change) -> AbstractContextManager[None]:
        """Note, while the context lasts, what is asked of nodes for a change's next step (see `asking`)."""


class Calls(Protocol):
    """Notes what is asked of others within one step."""

    def asked(self, what: str) -> AbstractContextManager[None]:
        """Note one question while the context lasts, with how it ended."""


class Untraced:
    """Makes no traces, and passes on what a request says."""

    def trace_of(self, change_id: str, asked: TraceContext | None) -> TraceContext | None:  # noqa: ARG002 - the port has it, nothing is traced
        """Return the request's own."""
        return asked

    def accepted(self, change: Change, since: datetime) -> None:
        """Do nothing."""

    def committed(self, changes: Iterable[Change], history: Iterable[HistoryEntry] = ()) -> None:
        """Do nothing."""

    def performing(self, change: Change) -> AbstractContextManager[None]:  # noqa: ARG002 - the port has it, nothing is traced
        """Do nothing."""
        return nullcontext()


_calls: ContextVar[Calls | None] = ContextVar("calls", default=None)


@contextmanager
def noting(calls: Calls) -> Iterator[None]:
    """Let `asking` note what is asked within the context, and in the tasks that are begun in it."""
    before = _calls.set(calls)
    try:
        yield
    finally:
        _calls.reset(before)


def asking(what: str) -> AbstractContextManager[None]:
    """Return the context of asking somebody outside something, to be noted where a step's calls are.

    Args:
        what: Such as the name of a JSON-RPC method; nothing of what is asked or answered.
    """
    calls = _calls.get()
    return nullcontext() if calls is None else calls.asked(what)
