"""Spans on their way to a collector that is slow, away, or fails."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from orchestrator.membership.tracing import begun
from orchestrator.traces.otlp import SpanExport, TracesUnavailableError, open_export
from orchestrator.traces.spans import Span
from tests.servers.otlp_collector import collecting
from tests.servers.ports import free_port

AT = datetime(2026, 1, 1, tzinfo=UTC)


def a_span(number: int = 1) -> Span:
    trace = begun("change", None, 1.0)
    start = AT + timedelta(microseconds=1)
    return Span(trace=trace, span_id=f"{number:016x}", parent_id="", name="step", start=start, end=AT + timedelta(1))


class Collector:
    """Takes spans once it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.asked = threading.Event()
        self.batches: list[Sequence[Any]] = []
        self.answers: list[str | Exception | None] = [None]

    def __call__(self, spans: Sequence[Any]) -> str | None:
        self.asked.set()
        self.let.wait(30)
        self.batches.append(spans)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def exporting(collector: Collector, most: int = 100) -> SpanExport:
    return SpanExport(collector, lambda span: span, lambda: None, most)  # type: ignore[arg-type, return-value] # spans are sent as they are


def test_a_slow_collector_holds_nobody_up() -> None:
    """While it does not answer spans are taken up to a bound, and refused at once beyond; nothing waits for it."""
    collector = Collector()
    export = exporting(collector, 10)
    assert export.take(a_span())
    assert collector.asked.wait(30)
    taken = [export.take(a_span(number)) for number in range(20)]
    assert taken == [True] * 10 + [False] * 10
    export.close(0.01)  # no longer than it is allowed
    assert (export.sent, export.lost) == (0, 0)
    collector.let.set()
    export.close(30)
    assert export.sent == 11


def test_what_does_not_arrive_is_counted() -> None:
    """Spans that the collector refuses, or whose sending fails in any way, are counted, and later ones are sent."""
    collector = Collector()
    collector.let.set()
    collector.answers = ["refused", RuntimeError("a defect"), None]
    export = exporting(collector)
    for number in range(3):
        assert export.take(a_span(number))
        while len(collector.batches) < number + 1:
            collector.asked.wait(0.01)
    export.close(30)
    assert (export.sent, export.lost) == (1, 2)


async def test_a_span_arrives_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector reads ids, names, times to the microsecond, failures and what the variables say of the service."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "membership-of-org1")
    async with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector.url)
        export = open_export(None, {"x-tenant": "org1"}, None)
        assert export.take(a_span(7))
        await asyncio.to_thread(export.close, 30)
    (span,) = collector.spans
    assert (span.span_id, span.parent_id, span.name) == (f"{7:016x}", "", "step")
    assert span.trace_id == begun("change", None, 1.0).trace_id
    assert span.end - span.start == 86_400 * 10**9 - 1_000
    assert span.service == "membership-of-org1"
    assert collector.headers["x-tenant"] == "org1"


def test_a_collector_that_is_away_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Closing takes no longer than it may, whatever the exporter still tries, and it is told once what it ran into."""
    before = set(threading.enumerate())
    with capture_logs() as entries:
        export = open_export(f"http://127.0.0.1:{free_port()}/v1/traces", {}, None)
        (sending,) = set(threading.enumerate()) - before
        assert export.take(a_span())
        export.close(0.1)
        sending.join(60)
    assert not sending.is_alive(), "it goes on after the daemon's end"
    assert (export.sent, export.lost) == (0, 1)
    (entry,) = entries
    assert "xport" in entry["why"], "the exporter's own words"
    assert not caplog.records


def test_without_the_extra_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever configures traces without OpenTelemetry is told the extra's name."""
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(TracesUnavailableError, match=r"besu-membership-orchestrator\[traces\]"):
        open_export(None, {}, None)


def test_nothing_of_it_is_imported_unless_it_is_wanted() -> None:
    """The daemon's modules load without OpenTelemetry."""
    program = (
        "import sys; sys.modules['opentelemetry'] = None; import orchestrator.app.daemon, orchestrator.traces.otlp"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env=os.environ, timeout=60)
