"""Ways in for bytes of others, each as a function of them: what comes out is a value or the way's own error."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from orchestrator.besu.codec.json_rpc import decode_answer, decode_batch, decode_message
from orchestrator.besu.codec.rpc_errors import rpc_error
from orchestrator.besu.errors import BesuError
from orchestrator.engine.attestation.verdict_messages import InvalidVerdictError, decode_verdict
from orchestrator.engine.intake.requests import InvalidRequestError, parse_request, parse_trigger
from orchestrator.log import redact_text
from orchestrator.outside_text import presentable


def answers(data: bytes) -> None:
    """What a node answers: to one call, to a batch, over a WebSocket."""
    for read in (lambda: decode_answer(data, 1), lambda: decode_batch(data, 1, 2), lambda: decode_message(data)):
        try:
            read()
        except BesuError as error:
            str(error).encode()


def errors(data: bytes) -> None:
    """An error that a node answers."""
    try:
        error = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(error, dict):
        code, message = error.get("code"), error.get("message")
        if isinstance(code, int) and isinstance(message, str):
            str(rpc_error(code, message, error.get("data"))).encode()


def requests(data: bytes) -> None:
    """A message of the queue, and its body by itself."""
    try:
        parse_trigger(data, {})
    except InvalidRequestError as error:
        str(error).encode()
    with suppress(ValueError, RecursionError):  # InvalidRequestError is one
        parse_request("request", json.loads(data))


def verdicts(data: bytes) -> None:
    """A message of another organisation's daemon."""
    try:
        decode_verdict(data)
    except InvalidVerdictError as error:
        str(error).encode()


def texts(data: bytes) -> None:
    """Text that is told, logged or shown."""
    text = data.decode("utf-8", "surrogateescape")
    presentable(text).encode()
    redact_text(text).encode("utf-8", "surrogateescape")


BEGIN_WITH: Final = (
    b'{"jsonrpc":"2.0","id":1,"result":"0x1"}',
    b'[{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"m","data":"0x"}}]',
    b'{"specversion":"1.0","id":"r","source":"/s","type":"membership.change.requested.v1","data":{"kind":"create_group"}}',
    b'{"type":"membership.member.verdict.v1","data":{"roots":[{"block_number":7}]}}',
    b"token=abc password: def",
)
"""What the search begins with."""

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    target.__name__: target for target in (answers, errors, requests, verdicts, texts)
}
