"""Logging: structured, one line each, and never a secret.

JSON lines where a machine reads, coloured text on a terminal. Records of the standard library's `logging` (libraries
use it) take the same way. Redaction is the last step before rendering, so that tracebacks pass through it as well.
"""

import contextlib
import logging
import re
import sys
from collections.abc import Mapping
from itertools import islice
from typing import Final, Literal, TextIO

import stamina.instrumentation
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from orchestrator.outside_text import REDACTED, one_line, redacted

MAX_TEXT: Final = 4000
MAX_NAME: Final = 100
MAX_ITEMS: Final = 256
_MAX_DEPTH: Final = 6
_OF_SEVERAL_LINES: Final = frozenset({"event", "exception", "stack"})

Format = Literal["auto", "json", "console"]

_SECRET_KEY: Final = re.compile(
    r"(?:^|[_.-])(?:private_?key|password|passphrase|secret|token|authorization|credential|cookie|seed|mnemonic"
    r"|raw(?:_transaction)?)s?$",
    re.IGNORECASE,
)


class _Writer:
    """Writes lines to a stream. A reader of the log that went away must not stop the work that is logged."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, message: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(message + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = msg


def configure_logging(level: str = "info", form: Format = "auto", stream: TextIO | None = None) -> None:
    """Set logging up for the process; may be called again.

    Args:
        level: The lowest level that is shown: debug, info, warning or error. Libraries are shown from warning on.
        form: ``auto`` is ``console`` on a terminal and ``json`` elsewhere.
        stream: Where to write; None for standard error.
    """
    target = sys.stderr if stream is None else stream
    on_terminal = target.isatty() if form == "auto" else form == "console"
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    ending: list[Processor] = [structlog.processors.format_exc_info, redact, _renderer(on_terminal)]
    structlog.configure(
        processors=[*shared, *ending],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _Writer(target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *ending],
        )
    )
    # Who makes a call tells what became of it; that it was tried again on the way is for who looks closely.
    stamina.instrumentation.set_on_retry_hooks([_tell_retry])
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))


def _tell_retry(details: stamina.instrumentation.RetryDetails) -> None:
    structlog.get_logger().debug(
        "tried again", times=details.retry_num, after_seconds=details.wait_for, reason=str(details.caused_by)
    )


def redact(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """Take secrets out of a log entry: values whose name tells, and what looks like one inside of texts."""
    return {key: _redacted(key, value, 0) for key, value in entry.items()}


def redact_text(text: str) -> str:
    """Return a text without what looks like a secret, cut to a bounded length."""
    return redacted(text, MAX_TEXT)


def _redacted(key: object, value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(key, str) and _SECRET_KEY.search(key[-MAX_NAME:]):
        return REDACTED
    if depth >= _MAX_DEPTH:
        return "…"
    match value:
        case bytes() | bytearray() | memoryview():
            # Bytes are signed transactions or keys: neither belongs in a log.
            return f"[{len(value)} bytes]"
        case Mapping():
            return {
                one_line(redacted(str(inner), MAX_NAME)): _redacted(inner, item, depth + 1)
                for inner, item in islice(value.items(), MAX_ITEMS)
            }
        case list() | tuple() | set() | frozenset():
            return [_redacted(None, item, depth + 1) for item in islice(value, MAX_ITEMS)]
        case _:
            text = redact_text(str(value))
            # Values come from outside and stay on their line; a traceback has several, and so may our own words.
            return "\n".join(map(one_line, text.split("\n"))) if key in _OF_SEVERAL_LINES else one_line(text)


def _renderer(on_terminal: bool) -> Processor:
    if on_terminal:
        return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return structlog.processors.JSONRenderer()
