"""Traces as the configuration and OpenTelemetry's standard variables want them."""

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

import structlog

from orchestrator.app.configured.secret_texts import secret_text
from orchestrator.app.metrics import Metrics
from orchestrator.config import Config, ConfigError
from orchestrator.engine.ports.clock import Clock
from orchestrator.traces.otlp import CLOSE_SECONDS, TracesUnavailableError, open_export
from orchestrator.traces.recorder import TraceRecorder, WholeChanges

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_LONGEST_HEADERS: Final = 64 << 10

_log = structlog.get_logger(__name__)


def wanted_by(config: Config, environment: Mapping[str, str]) -> str | None:
    """Return what turns traces on: ``traces.endpoint``, or the name of a variable; None when nothing does."""
    if environment.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return None
    if config.traces.endpoint is not None:
        return "traces.endpoint"
    if environment.get("OTEL_TRACES_EXPORTER", "otlp") != "otlp":
        return None
    return next((name for name in _ENDPOINTS if environment.get(name)), None)


async def tracing(
    stack: AsyncExitStack, config: Config, changes: WholeChanges, clock: Clock, metrics: Metrics
) -> TraceRecorder | None:
    """Return what makes traces, until the stack ends; None when nothing asks for them.

    Args:
        stack: Sends the last spans at its end.
        config: The configuration.
        changes: The stored changes.
        clock: Time.
        metrics: Shows how many spans arrived.

    Raises:
        ConfigError: `traces.endpoint` is given, and what it needs is not installed or its files can't be read.
    """
    by = wanted_by(config, os.environ)
    if by is None:
        return None
    traces = config.traces
    headers = {} if traces.headers_file is None else _headers(traces.headers_file)
    ca_file = None if traces.ca_file is None else str(traces.ca_file)
    try:
        export = await asyncio.to_thread(open_export, traces.endpoint, headers, ca_file)
    except TracesUnavailableError as error:
        if by == "traces.endpoint":
            raise ConfigError([f"{by}: {error}"]) from error
        # A platform sets the variables for whatever runs on it: that is no reason not to run.
        _log.warning("no traces are made", because=str(error), asked_by=by)
        return None
    recorder = TraceRecorder(changes, export.take, clock, traces.ratio)
    metrics.watch_traces(lambda: export.sent, lambda: recorder.dropped + export.lost)

    async def close() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await recorder.make_all()
        await asyncio.to_thread(export.close)

    stack.push_async_callback(close)
    return recorder


def _headers(path: Path) -> dict[str, str]:
    """Return the headers that a file holds.

    Raises:
        ConfigError: It can't be read, or has another form; nothing of it is shown.
    """
    text = secret_text(path)
    parted = [line.partition(":") for line in text.splitlines() if line.strip()]
    headers = {name.strip(): value.strip() for name, _, value in parted}
    if len(text) > _LONGEST_HEADERS or not text.isascii() or not all(name and value for name, value in headers.items()):
        raise ConfigError([f"{path}: must hold one header a line, in ASCII: `Name: value`"])
    return headers
