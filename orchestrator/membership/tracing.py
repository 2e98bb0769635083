"""In which trace a change is (W3C Trace Context), so that what is done for it can be shown with what asked for it.

Ids of spans are derived from the change's id and from what they are about: whoever goes on with a change, after a
restart or in another process, makes the same ones and needs to be told nothing.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

LONGEST_STATE: Final = 512
"""Characters of a ``tracestate`` that are passed on; the specification asks for no more."""

_TRACEPARENT: Final = re.compile(r"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?\Z", re.ASCII)
_STATE: Final = re.compile(r"[ -~]*\Z")
_SAMPLED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """The trace of one change.

    Attributes:
        trace_id: 32 hexadecimal digits.
        span_id: Who goes on from here: the change's own span where it is traced, else who asked; 16 digits.
        parent_id: The span that asked for the change; empty when its trace begins with it.
        flags: Of the trace, among them whether anybody keeps it.
        state: What vendors say of it (``tracestate``), as it came.
        traced: Whether spans are made for the change.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    flags: int = _SAMPLED
    state: str = ""
    traced: bool = False

    @property
    def sampled(self) -> bool:
        """Whether whoever began the trace, or we, decided to keep it."""
        return bool(self.flags & _SAMPLED)

    @property
    def traceparent(self) -> str:
        """What is sent along, in version 00."""
        return f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"


def read_trace(traceparent: object, tracestate: object = None) -> TraceContext | None:
    """Return the trace that a request says to be in; None when it says none, or nothing that can be one.

    A request is never refused for it: W3C Trace Context lets whoever can't read it go on without.
    """
    found = _TRACEPARENT.match(traceparent) if isinstance(traceparent, str) else None
    if found is None or (found[5] is not None and found[1] == "00"):
        return None
    trace_id, span_id = found[2], found[3]
    if not trace_id.strip("0") or not span_id.strip("0"):
        return None
    known = isinstance(tracestate, str) and len(tracestate) <= LONGEST_STATE and _STATE.match(tracestate)
    state = tracestate.strip() if known and isinstance(tracestate, str) else ""
    return TraceContext(trace_id=trace_id, span_id=span_id, flags=int(found[4], 16) & _SAMPLED, state=state)


def carried_trace(said: Mapping[str, object]) -> TraceContext | None:
    """Return the trace that an event's attributes, or headers (in lower case), say; see `read_trace`."""
    for prefix in ("", "ce-"):  # instrumented clients put it beside an event by either name
        trace = read_trace(said.get(f"{prefix}traceparent"), said.get(f"{prefix}tracestate"))
        if trace is not None:
            return trace
    return None


def begun(change_id: str, asked: TraceContext | None, ratio: float) -> TraceContext:
    """Return the trace of a change for which spans are made.

    Args:
        change_id: The change.
        asked: What its request said; None to begin one.
        ratio: Which part is kept of those that begin here, from 0 to 1.
    """
    own = span_id(change_id, "change")
    if asked is not None:
        return TraceContext(
            trace_id=asked.trace_id,
            span_id=own,
            parent_id=asked.span_id,
            flags=asked.flags,
            state=asked.state,
            traced=asked.sampled,
        )
    digest = hashlib.sha256(f"trace of {change_id}".encode()).digest()
    kept = int.from_bytes(digest[16:24]) < ratio * 2**64
    return TraceContext(trace_id=digest[:16].hex(), span_id=own, flags=_SAMPLED if kept else 0, traced=kept)


def span_id(change_id: str, about: str) -> str:
    """Return the id of a change's span: what it is about, such as ``step 3``, gives the same each time."""
    return hashlib.sha256(f"{about} of {change_id}".encode()).hexdigest()[:16]
