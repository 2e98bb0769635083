"""Sending spans to a collector by OTLP over HTTP, in a thread of its own with a bounded queue.

OpenTelemetry's packages come with the extra ``traces`` and are imported here only, when traces are configured. Their
exporter waits and tries again while the collector is away; the thread waits with it, and nobody else does. What it
says meanwhile is told once, with the spans that were lost.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from orchestrator import __version__
from orchestrator.membership.tracing import TraceContext
from orchestrator.outside_text import presentable
from orchestrator.traces.spans import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

MOST_WAITING: Final = 8_192
MOST_AT_ONCE: Final = 512
GATHER_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 3.0
"""What sending the last spans may take when the daemon stops."""

UNWIND_SECONDS: Final = 0.5
"""How long is waited then for the exporter to end; one that is in the middle of connecting takes longer."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Export = Callable[[Sequence["ReadableSpan"]], str | None]
"""Sends spans; None when they arrived, else why they did not. It may take long, and may raise anything."""

_log = structlog.get_logger(__name__)


class TracesUnavailableError(Exception):
    """What traces need is not installed; the message says what to do."""


class SpanExport:
    """Spans on their way to a collector.

    Args:
        export: Sends some.
        readable: Makes of a span what `export` takes.
        give_up: Has `export` end soon and take nothing any more; called by another thread than the one that exports.
        most_waiting: Beyond so many that wait, new ones are dropped.

    Attributes:
        sent: Spans that the collector took.
        lost: Spans that it did not take.
    """

    def __init__(
        self,
        export: Export,
        readable: Callable[[Span], "ReadableSpan"],
        give_up: Callable[[], None],
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self.sent = 0
        self.lost = 0
        self._export = export
        self._readable = readable
        self._give_up = give_up
        self._waiting: queue.Queue[Span | None] = queue.Queue(most_waiting)
        self._late_reported = False
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def take(self, span: Span) -> bool:
        """Take a span to be sent; False when too many wait."""
        try:
            self._waiting.put_nowait(span)
        except queue.Full:
            return False
        return True

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Send what waits, as far as that is possible in so long; blocks meanwhile, and gives up the rest."""
        give_up_at = time.monotonic() + seconds
        with suppress(queue.Full):
            self._waiting.put(None, timeout=seconds)
            self._thread.join(max(0.0, give_up_at - time.monotonic()))
        self._give_up()
        self._thread.join(UNWIND_SECONDS)

    def _run(self) -> None:
        ended = False
        while not ended:
            batch: list[Span] = []
            first = self._waiting.get()
            gather_until = time.monotonic() + GATHER_SECONDS
            while first is not None:
                batch.append(first)
                left = gather_until - time.monotonic()
                if len(batch) >= MOST_AT_ONCE or left <= 0:
                    break
                try:
                    first = self._waiting.get(timeout=left)
                except queue.Empty:
                    break
            ended = first is None
            if batch:
                self._send(batch)

    def _send(self, batch: Sequence[Span]) -> None:
        try:
            why = self._export([self._readable(span) for span in batch])
        except Exception as error:  # noqa: BLE001 - whatever a library raises, traces stop nothing
            why = type(error).__name__
        if why is None:
            self.sent += len(batch)
            self._late_reported = False
            return
        self.lost += len(batch)
        if not self._late_reported:
            self._late_reported = True
            _log.warning("spans are lost", spans=len(batch), why=why, remedy="see traces.endpoint; changes go on")


def open_export(endpoint: str | None, headers: Mapping[str, str], ca_file: str | None) -> SpanExport:
    """Return what sends spans by OTLP; what is not given here the standard ``OTEL_…`` variables say.

    Args:
        endpoint: The whole address, such as ``http://collector:4318/v1/traces``.
        headers: To be sent along, such as a token.
        ca_file: PEM of the authority that signed the collector's certificate.

    Raises:
        TracesUnavailableError: The extra is not installed.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra that may not be installed
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415 - of the extra as well
        from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415 - of the extra as well
    except ImportError as error:
        raise TracesUnavailableError(
            f"traces need OpenTelemetry, which is not installed ({error.name}): install "
            "besu-membership-orchestrator[traces] (locked: requirements-traces.txt), or take [traces] out"
        ) from error
    exporter = OTLPSpanExporter(endpoint=endpoint, headers=headers or None, certificate_file=ca_file)
    own = {"service.name": "besu-membership-orchestrator", "service.version": __version__}
    # What the variables say of the service goes first.
    resource = Resource.create(own).merge(OTELResourceDetector().detect())

    words = _Words()
    library = logging.getLogger(OTLPSpanExporter.__module__)
    library.handlers[:], library.propagate = [words], False

    def export(spans: Sequence["ReadableSpan"]) -> str | None:
        words.said = ""
        arrived = exporter.export(spans) is SpanExportResult.SUCCESS
        return None if arrived else words.said or "the collector did not take them"

    return SpanExport(export, lambda span: _readable(span, resource), exporter.shutdown)


class _Words(logging.Handler):
    """Keeps what the exporter says of its first try. It speaks at each, from a thread that may outlive a stream."""

    def __init__(self) -> None:
        super().__init__()
        self.said = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.said = self.said or presentable(record.getMessage())


def _readable(span: Span, resource: Any) -> "ReadableSpan":
    from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415 - of the extra as well
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415 - of the extra as well
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - of the extra as well
    from opentelemetry.trace.status import Status, StatusCode  # noqa: PLC0415 - of the extra as well

    return ReadableSpan(
        name=span.name,
        context=_context(span.trace, span.span_id),
        parent=_context(span.trace, span.parent_id) if span.parent_id else None,
        resource=resource,
        attributes=dict(span.attributes),
        kind=SpanKind.CLIENT if span.asks else SpanKind.INTERNAL,
        status=Status(StatusCode.ERROR, span.failed) if span.failed else Status(StatusCode.UNSET),
        start_time=_nanoseconds(span.start),
        end_time=_nanoseconds(span.end),
        instrumentation_scope=InstrumentationScope("orchestrator", __version__),
    )


def _context(trace: TraceContext, span_id: str) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags, TraceState  # noqa: PLC0415 - of the extra as well

    state = TraceState.from_header([trace.state]) if trace.state else None
    trace_id, own_id = int(trace.trace_id, 16), int(span_id, 16)
    return SpanContext(trace_id, own_id, is_remote=False, trace_flags=TraceFlags(trace.flags), trace_state=state)


def _nanoseconds(at: datetime) -> int:
    since = at - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000
