"""What is logged is one structured line each, and never a secret."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.log import configure_logging, redact, redact_text
from orchestrator.outside_text import REDACTED

# The well-known public development key of 0xfe3b…: never to hold anything of value.
DEVELOPMENT_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJwcml2YWN5UHVibGljS2V5IjoiQSJ9.c2lnbmF0dXJl"

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Log as JSON into a buffer; afterwards logging is as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    target = io.StringIO()
    configure_logging("info", "json", target)
    yield target
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def lines(stream: io.StringIO) -> Lines:
    """What was logged so far, line by line."""
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_log_that_nobody_reads_stops_nothing(stream: io.StringIO) -> None:
    """Logging to a stream that was closed meanwhile does nothing, and raises nothing."""
    stream.close()
    structlog.get_logger().warning("nobody hears this")


def test_an_entry_is_one_json_line(lines: Lines) -> None:
    """An entry has its words, its values, its level and the time in UTC, on one line."""
    structlog.get_logger().info("step\ncommitted", change_id="c1", block_number=7)
    (entry,) = lines()
    assert entry["event"] == "step\ncommitted"
    assert entry["level"] == "info"
    assert entry["block_number"] == 7
    assert entry["timestamp"].endswith("Z")


def test_lower_levels_are_left_out(lines: Lines) -> None:
    """Entries below the level are not written."""
    structlog.get_logger().debug("not shown")
    assert lines() == []


def test_libraries_take_the_same_way(lines: Lines) -> None:
    """Records of the standard library's logging become the same lines, with the logger's name, from warning on."""
    logging.getLogger("some.library").info("not shown")
    logging.getLogger("some.library").warning("connection to %s lost", "nats://user:word@host")
    (entry,) = lines()
    assert entry["logger"] == "some.library"
    assert entry["level"] == "warning"
    assert entry["event"] == f"connection to nats://{REDACTED}@host lost"


def test_a_terminal_gets_text(stream: io.StringIO) -> None:
    """On a terminal an entry is text for a person."""
    target = io.StringIO()
    configure_logging("info", "console", target)
    structlog.get_logger().info("step committed", change_id="c1", password="hunter2")
    assert "step committed" in target.getvalue()
    assert not target.getvalue().startswith("{")
    assert "hunter2" not in target.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        "private_key",
        "password",
        "token",
        "Authorization",
        "access_token",
        "keystore_password",
        "secret",
        "raw",
        "api-tokens",
    ],
)
def test_values_with_a_secret_name_are_redacted(lines: Lines, name: str) -> None:
    """Whatever stands under the name of a secret is left out, also deep inside of other values."""
    structlog.get_logger().info("sent", **{name: "hunter2"}, headers=[{"inner": {name: "hunter2"}}])
    assert "hunter2" not in json.dumps(lines())


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {JWT}",
        f"node answered 401 to {JWT}",
        f"key {DEVELOPMENT_KEY} is wrong",
        f"private_key=0x{DEVELOPMENT_KEY}",
        f'{{"private key": "0x{DEVELOPMENT_KEY}"}}',
        "postgresql://orchestrator:hunter2@db/orchestrator",
        "password=hunter2&x=1",
        "password: 'hunter2'",
        "bearer hunter2hunter2",
    ],
)
def test_secrets_in_texts_are_redacted(lines: Lines, text: str) -> None:
    """What looks like a token, a key or a password inside of a text is left out, wherever the text stands."""
    structlog.get_logger().warning(text, detail=text, nested={"a": [text]})
    written = json.dumps(lines())
    for secret in (JWT, DEVELOPMENT_KEY, "hunter2"):
        assert secret not in written


def test_tracebacks_are_redacted(lines: Lines) -> None:
    """A secret in the message of an exception does not get into the log by its traceback."""
    try:
        int(f"could not use token={JWT}")
    except ValueError:
        structlog.get_logger().exception("failed")
        logging.getLogger("some.library").exception("failed")
    written = json.dumps(lines())
    assert "could not use" in written
    assert JWT not in written


def test_bytes_are_only_counted() -> None:
    """Bytes (signed transactions, keys) are never written, only how many there are."""
    assert redact(None, "info", {"payload": bytes.fromhex(DEVELOPMENT_KEY)}) == {"payload": "[32 bytes]"}


def test_hashes_and_keys_of_enclaves_stay() -> None:
    """What operators need to search for is left as it is: hashes, addresses, public keys, counts, tokens of lanes."""
    said = {
        "pmt_hash": "0x" + "ab" * 32,
        "account": "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73",
        "enclave_key": "A1aVtMxLCUHmBVHXoZzzBgPbW/wj5axDpW9X8l91SGo=",
        "private_nonce": 7,
        "token": 12,
        "detail": "node member1 is at block 5, the newest is 12",
    }
    assert redact(None, "info", dict(said)) == said


@given(st.text(max_size=200))
def test_redaction_is_total_and_bounded(text: str) -> None:
    """Any text can be redacted, and doing it twice changes nothing more."""
    once = redact_text(text * 30)
    assert len(once) < 4100
    assert redact_text(redact_text(text)) == redact_text(text)
