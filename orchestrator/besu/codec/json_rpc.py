"""JSON-RPC 2.0 on the wire: requests, batches, answers and notifications, bounded. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from orchestrator.besu.codec.rpc_errors import rpc_error
from orchestrator.besu.errors import (
    BatchRefusedError,
    BatchTooLargeError,
    InvalidRequestError,
    ProtocolError,
    RpcError,
)

MAX_BATCH: Final = 512
"""Requests in one batch; half of what Besu takes since 23.10 (docs/besu.md#http-and-websocket, 1)."""

MAX_ANSWER_BYTES: Final = 12 << 20
MAX_PARTS: Final = 100_000
"""Values of one answer: parsing takes time for each, and nothing else is done meanwhile. Ask for less at once."""

MAX_NOTIFIED_PARTS: Final = 20_000
_LONGEST_NUMBER: Final = 80
_SUBSCRIPTION_METHODS: Final = frozenset({"eth_subscription", "priv_subscription"})


class AnswerTooLargeError(ProtocolError):
    """The answer has more bytes or values than are read at once. Ask for less, or see what stands before the node."""


@dataclass(frozen=True, slots=True)
class Call:
    """A method and its parameters, ready for JSON."""

    method: str
    params: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What one request was answered: a result (which may be None) or an error.

    Attributes:
        request_id: the id of the request; None when the node could not read it.
        result: the result as JSON; meaningless when there is an error.
        error: the typed error, or None.
    """

    request_id: int | None
    result: Any = None
    error: RpcError | None = None


@dataclass(frozen=True, slots=True)
class Notification:
    """What a subscription delivered, still as JSON.

    Attributes:
        subscription: the server's id of the subscription.
        result: a head or a log.
        privacy_group_id: the group of a private subscription, else None.
    """

    subscription: str
    result: Any
    privacy_group_id: str | None = None


def encode_request(request_id: int, call: Call) -> bytes:
    """Return the body of one request."""
    return _dump(_request(request_id, call))


def encode_batch(first_id: int, calls: Sequence[Call]) -> bytes:
    """Return the body of a batch whose ids count up from ``first_id``; ``calls`` are 1 to ``MAX_BATCH``."""
    return _dump([_request(first_id + offset, call) for offset, call in enumerate(calls)])


def decode_answer(body: bytes | str, request_id: int) -> Answer:
    """Read the answer to one request.

    Raises:
        ProtocolError: it is no JSON-RPC answer, is longer than ``MAX_ANSWER_BYTES``, or answers another request.
    """
    answer = _answer(bounded_json(body))
    if answer.request_id != request_id and not (answer.request_id is None and answer.error):
        raise ProtocolError(f"the answer is to request {answer.request_id}, not to {request_id}")
    return answer


def decode_batch(body: bytes | str, first_id: int, count: int) -> list[Answer]:
    """Read the answers to a batch and return them in the order of the requests.

    A node that refuses all requests of a batch alike answers one error; it then stands for each of them.

    Raises:
        BatchRefusedError: it is one answer, an error about there being a batch, or not as many answers.
        ProtocolError: it is no batch of answers, is too long, or a request has no answer or two.
    """
    loaded = bounded_json(body)
    if isinstance(loaded, dict):
        refusal = _answer(loaded)
        if refusal.error is None or isinstance(refusal.error, BatchTooLargeError | InvalidRequestError):
            raise BatchRefusedError(f"a batch of {count} requests was answered with {refusal.error or 'one answer'}")
        return [Answer(first_id + offset, error=refusal.error) for offset in range(count)]
    if not isinstance(loaded, list):
        raise ProtocolError(f"a batch of {count} requests was not answered with answers")
    if len(loaded) != count:
        raise BatchRefusedError(f"a batch of {count} requests was answered with {len(loaded)} answers")
    answers = {answer.request_id: answer for answer in map(_answer, loaded)}
    try:
        return [answers[first_id + offset] for offset in range(count)]
    except KeyError as error:
        raise ProtocolError(f"request {error} of a batch has no answer") from error


def decode_message(text: bytes | str) -> Answer | Notification | None:
    """Read a WebSocket message; None for one that is neither an answer nor a subscription's.

    Raises:
        ProtocolError: it is no JSON-RPC, or longer than ``MAX_ANSWER_BYTES``.
    """
    loaded = bounded_json(text, MAX_NOTIFIED_PARTS)
    if isinstance(loaded, dict) and "method" in loaded:
        return _notification(loaded)
    return _answer(loaded)


def result_of(answer: Answer) -> Any:
    """Return the result, or raise the error that was answered."""
    if answer.error is not None:
        raise answer.error
    return answer.result


def _request(request_id: int, call: Call) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "method": call.method, "params": list(call.params)}


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def bounded_json(body: bytes | str, most_parts: int = MAX_PARTS) -> Any:
    """Read JSON that others wrote, in time that its bounds bound.

    Args:
        body: the text.
        most_parts: how many values it may have.

    Raises:
        ProtocolError: it is no JSON, has more values, or is longer than ``MAX_ANSWER_BYTES``.
    """
    if len(body) > MAX_ANSWER_BYTES:
        raise AnswerTooLargeError(f"an answer of {len(body)} bytes; at most {MAX_ANSWER_BYTES} are read")
    # Each value stands behind one of these, so that counting them is counting values, a thousand times as fast.
    if isinstance(body, str):
        parts = body.count(",") + body.count("[") + body.count("{")
    else:
        parts = body.count(b",") + body.count(b"[") + body.count(b"{")
    if parts > most_parts:
        raise AnswerTooLargeError(f"an answer of {parts} values; at most {most_parts} are read at once")
    try:
        return json.loads(body, parse_int=_number, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(
            f"the answer is no JSON ({type(error).__name__}); is this a Besu node's address?"
        ) from error


def _number(digits: str) -> int:
    """Reading a long number takes time with the square of its length, and JSON-RPC has none."""
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _answer(loaded: Any) -> Answer:
    if not isinstance(loaded, dict):
        raise ProtocolError("the answer is no JSON-RPC object; is this a Besu node's address?")
    given = loaded.get("id")
    request_id = given if isinstance(given, int) and not isinstance(given, bool) else None
    error = loaded.get("error")
    if error is not None:
        return Answer(request_id, error=_error(error))
    if "result" not in loaded:
        raise ProtocolError("the answer has neither result nor error; is this a Besu node's address?")
    return Answer(request_id, result=loaded["result"])


def _error(error: Any) -> RpcError:
    if not isinstance(error, Mapping):
        raise ProtocolError("the error in the answer is no object")
    code, message = error.get("code"), error.get("message")
    if not isinstance(code, int) or not isinstance(message, str):
        raise ProtocolError("the error in the answer has no code and message")
    return rpc_error(code, message, error.get("data"))


def _notification(loaded: Mapping[str, Any]) -> Notification | None:
    method, params = loaded["method"], loaded.get("params")
    if not isinstance(method, str) or method not in _SUBSCRIPTION_METHODS or not isinstance(params, Mapping):
        return None
    subscription, group = params.get("subscription"), params.get("privacyGroupId")
    if not isinstance(subscription, str):
        return None
    return Notification(subscription, params.get("result"), group if isinstance(group, str) else None)
