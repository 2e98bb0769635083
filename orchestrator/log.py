"""Logging: structured, one line each, and never a secret.

JSON lines where a machine reads, coloured text on a terminal. Records of the standard library's `logging` (libraries
use it) take the same way. Redaction is the last step before rendering, so that tracebacks pass through it as well.
"""

import contextlib
import logging
import re
import sys
from collections.abc import Mapping
from typing import Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED: Final = "[redacted]"
MAX_TEXT: Final = 4000
_MAX_DEPTH: Final = 6

Format = Literal["auto", "json", "console"]

_SECRET_KEY: Final = re.compile(
    r"(?:^|[_.-])(?:private_?key|password|passphrase|secret|token|authorization|credential|cookie|seed|mnemonic"
    r"|raw(?:_transaction)?)s?$",
    re.IGNORECASE,
)
_SECRETS_IN_TEXT: Final = (
    # A name and its value: password=…, "token": "…", Authorization: Bearer …
    (
        re.compile(
            r"(?i)((?:private[_ ]?key|password|passphrase|secret|token|authorization)[\"']?\s*[=:]\s*[\"']?)"
            r"(?:(?:bearer|basic)\s+)?[^\s\"',;&]+"
        ),
        rf"\g<1>{REDACTED}",
    ),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\g<1> {REDACTED}"),
    # A JSON Web Token wherever it stands.
    (re.compile(r"\beyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"), REDACTED),
    # The password (or token) of an address.
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@]+@"), rf"\g<1>{REDACTED}@"),
    # 32 bytes of bare hexadecimal are how key files hold keys; hashes are written with 0x.
    (re.compile(r"(?<![0-9a-zA-Z])[0-9a-fA-F]{64}(?![0-9a-zA-Z])"), REDACTED),
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


_SIGN_OF_SECRET: Final = re.compile(
    r"(?i)private[_ ]?key|password|passphrase|secret|token|authorization|bearer|basic|eyJ|://|[0-9a-f]{64}"
)
"""No text without one of these holds a secret that the patterns above would find."""


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
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))


def redact(_logger: WrappedLogger, _method: str, entry: EventDict) -> EventDict:
    """Take secrets out of a log entry: values whose name tells, and what looks like one inside of texts."""
    return {key: _redacted(key, value, 0) for key, value in entry.items()}


def redact_text(text: str) -> str:
    """Return a text without what looks like a secret, cut to a bounded length."""
    if _SIGN_OF_SECRET.search(text) is not None:  # one quick look at what is logged for each step of each change
        for pattern, replacement in _SECRETS_IN_TEXT:
            text = pattern.sub(replacement, text)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"


def _redacted(key: object, value: object, depth: int) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(key, str) and _SECRET_KEY.search(key):
        return REDACTED
    if depth >= _MAX_DEPTH:
        return "…"
    match value:
        case bytes() | bytearray() | memoryview():
            # Bytes are signed transactions or keys: neither belongs in a log.
            return f"[{len(value)} bytes]"
        case Mapping():
            return {inner: _redacted(inner, item, depth + 1) for inner, item in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(None, item, depth + 1) for item in value]
        case _:
            return redact_text(str(value))


def _renderer(on_terminal: bool) -> Processor:
    if on_terminal:
        return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    return structlog.processors.JSONRenderer()
