"""What one node answers is read in bounded time, and what it writes can be told."""

import contextlib
import json
from collections.abc import Callable

import pytest

from orchestrator.besu.codec.json_rpc import (
    MAX_ANSWER_BYTES,
    AnswerTooLargeError,
    decode_answer,
    decode_batch,
    decode_message,
)
from orchestrator.besu.codec.rpc_errors import rpc_error
from orchestrator.besu.errors import BesuError
from orchestrator.besu.transport.subscriptions import Allowance
from orchestrator.besu.transport.websocket_client import MAX_BYTES_PER_SECOND, MAX_MESSAGE_BYTES
from tests.processor_time import assert_brief

MOST_SECONDS = 0.1

WORST_ANSWERS = {
    "values": b'{"id":1,"result":[' + b"{}," * (MAX_ANSWER_BYTES // 4) + b"{}]}",
    "pairs just below the bound": b'{"id":1,"result":[' + b'{"a":1},' * 49_000 + b"{}]}",
    "names": b'{"id":1,"result":{' + b",".join(b'"%d":1' % number for number in range(99_000)) + b"}}",
    "one text": b'{"id":1,"result":"' + b"a" * (MAX_ANSWER_BYTES - 64) + b'"}',
    "escapes": b'{"id":1,"result":"' + b"\\u00e9" * (MAX_ANSWER_BYTES // 6 - 64) + b'"}',
    "spaces": b" " * (MAX_ANSWER_BYTES - 64) + b'{"id":1,"result":1}',
    "long numbers": b'{"id":1,"result":[' + b",".join([b"9" * 4000] * 3000) + b"]}",
    "depth": b"[" * (MAX_ANSWER_BYTES - 64),
    "an error's text": json.dumps(
        {"id": 1, "error": {"code": -32000, "message": "\ud800token.a" * 600_000}}, ensure_ascii=True
    ).encode(),
}


def assert_bounded(read: Callable[[], object], most_seconds: float = MOST_SECONDS) -> None:
    def read_or_refuse() -> None:
        with contextlib.suppress(BesuError):
            read()

    assert_brief(read_or_refuse, most_seconds)


@pytest.mark.parametrize("name", WORST_ANSWERS)
def test_the_worst_answer_holds_nothing_up(name: str) -> None:
    """The worst answer of its kind is read or refused within 100 ms of processor time, alone and as a batch."""
    body = WORST_ANSWERS[name]
    assert_bounded(lambda: decode_answer(body, 1))
    assert_bounded(lambda: decode_batch(body, 1, 512))


@pytest.mark.parametrize("name", WORST_ANSWERS)
def test_the_worst_notification_holds_nothing_up(name: str) -> None:
    """The same as a message over WebSocket, which may have a megabyte."""
    text = WORST_ANSWERS[name][:MAX_MESSAGE_BYTES].decode()
    assert_bounded(lambda: decode_message(text), MOST_SECONDS / 4)


def test_notifications_are_read_no_faster_than_allowed() -> None:
    """Messages in a row are read at a bounded number of bytes in a second, also after a pause."""
    allowance = Allowance(MAX_BYTES_PER_SECOND, MAX_MESSAGE_BYTES)
    now = 1000.0
    for _ in range(50):
        now += allowance.spend(MAX_MESSAGE_BYTES, now)
    assert 49 * MAX_MESSAGE_BYTES / (now - 1000.0) <= MAX_BYTES_PER_SECOND * 1.05
    now += 3600
    assert allowance.spend(MAX_MESSAGE_BYTES, now) == 0
    assert allowance.spend(MAX_MESSAGE_BYTES, now) > 0
    assert allowance.spend(1, now - 10_000) < 2, "a clock that was set back does not add up"


def test_an_answer_of_too_many_values_says_so() -> None:
    """An answer with more values than are read at once is an error of its own: less can be asked for."""
    with pytest.raises(AnswerTooLargeError, match="values"):
        decode_answer(WORST_ANSWERS["values"], 1)


@pytest.mark.parametrize("message", ["\ud800", "a\x1b[2Jb", "\u202eback", "token=hunter2", "x" * 10_000])
def test_what_a_node_writes_can_be_told(message: str) -> None:
    """The message of an error can be encoded, moves no cursor, is bounded and holds no secret."""
    said = str(rpc_error(-32000, message, None))
    said.encode()
    assert len(said) < 700
    assert "hunter2" not in said
    assert not set(said) & {"\x1b", "\u202e"}
