import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.besu.codec import json_rpc
from orchestrator.besu.codec.json_rpc import (
    Answer,
    Call,
    Notification,
    decode_answer,
    decode_batch,
    decode_message,
    encode_batch,
    encode_request,
    result_of,
)
from orchestrator.besu.errors import BatchRefusedError, MethodNotFoundError, ProtocolError, UnauthorizedError

ERROR = {"code": -32601, "message": "Method not found"}


def test_a_request_is_json_rpc() -> None:
    """A request names the version, its id, the method and the parameters as a list."""
    assert json.loads(encode_request(7, Call("eth_chainId", ("latest", True)))) == {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "eth_chainId",
        "params": ["latest", True],
    }


def test_a_batch_counts_its_ids() -> None:
    """The requests of a batch have consecutive ids from the first."""
    batch = json.loads(encode_batch(5, [Call("a"), Call("b"), Call("c")]))
    assert [(request["id"], request["method"]) for request in batch] == [(5, "a"), (6, "b"), (7, "c")]


def test_a_result_is_returned_and_an_error_is_raised() -> None:
    """A null result is a result; an error is the typed one."""
    assert result_of(decode_answer('{"jsonrpc":"2.0","id":1,"result":null}', 1)) is None
    answer = decode_answer(json.dumps({"jsonrpc": "2.0", "id": 1, "error": ERROR}), 1)
    with pytest.raises(MethodNotFoundError):
        result_of(answer)


def test_an_error_without_an_id_answers_the_request() -> None:
    """A node that refuses before it reads the id answers with null."""
    body = '{"jsonrpc":"2.0","id":null,"error":{"code":-40100,"message":"Unauthorized"}}'
    assert isinstance(decode_answer(body, 9).error, UnauthorizedError)


@given(st.permutations(range(5)))
def test_the_answers_of_a_batch_are_put_in_order(order: list[int]) -> None:
    """A server may answer a batch in any order."""
    body = json.dumps([{"jsonrpc": "2.0", "id": 10 + i, "result": i} for i in order])
    assert [answer.result for answer in decode_batch(body, 10, 5)] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "answer",
    [
        '"error":{"code":-32005,"message":"Number of requests exceeds max batch size"}',
        '"error":{"code":-32600,"message":"Invalid Request"}',
        '"result":"0x1"',
    ],
)
def test_a_batch_that_is_refused_for_being_one_is_told_apart(answer: str) -> None:
    """An error about the batch, or one answer to all of it, says that fewer requests at once may be answered."""
    with pytest.raises(BatchRefusedError):
        decode_batch(f'{{"jsonrpc":"2.0","id":null,{answer}}}', 3, 2)


def test_requests_that_are_refused_alike_are_each_refused() -> None:
    """One error for all requests of a batch, which is not about the batch, stands for each of them."""
    answers = decode_batch('{"jsonrpc":"2.0","id":null,"error":{"code":-40100,"message":"Unauthorized"}}', 3, 2)
    assert [answer.request_id for answer in answers] == [3, 4]
    assert all(isinstance(answer.error, UnauthorizedError) for answer in answers)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<html>",
        "[" * 100_000,
        "5",
        "[]",
        '"text"',
        '{"jsonrpc":"2.0","id":1}',
        '{"jsonrpc":"2.0","id":2,"result":1}',
        '{"jsonrpc":"2.0","id":true,"result":1}',
        '{"jsonrpc":"2.0","id":1,"error":"text"}',
        '{"jsonrpc":"2.0","id":1,"error":{"code":"x","message":"y"}}',
        '{"jsonrpc":"2.0","id":1,"error":{"code":1}}',
        "1" * 5000,
        '{"jsonrpc":"2.0","id":1,"result":NaN}',
        '{"jsonrpc":"2.0","id":1,"result":-Infinity}',
        b"\xff\xfe",
    ],
)
def test_what_is_no_answer_is_refused(body: str | bytes) -> None:
    """Bodies that are no JSON, no JSON-RPC, or the answer to another request raise the one error for it."""
    with pytest.raises(ProtocolError):
        decode_answer(body, 1)


@pytest.mark.parametrize(
    "body",
    ["[]", '[{"id":1,"result":1}]', '[{"id":1,"result":1},{"id":1,"result":2}]', '{"id":1,"result":1}', "7"],
)
def test_a_batch_without_all_its_answers_is_refused(body: str) -> None:
    """Each request of a batch must have exactly one answer."""
    with pytest.raises(ProtocolError):
        decode_batch(body, 1, 2)


def test_a_vast_body_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body over the limit is refused before it is parsed."""
    monkeypatch.setattr(json_rpc, "MAX_ANSWER_BYTES", 10)
    with pytest.raises(ProtocolError, match="at most"):
        decode_answer('{"id":1,"result":1}', 1)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes decoding raise anything else than the one error."""
    with suppress(ProtocolError):
        decode_message(text)
    with suppress(ProtocolError):
        decode_batch(text, 1, 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(("jsonrpc", "id", "method", "params", "result", "error", "code", "message", "subscription"))


@given(st.dictionaries(FIELDS, JSON | st.just("eth_subscription") | st.dictionaries(FIELDS, JSON, max_size=3)))
def test_any_object_is_read_or_refused(message: dict[str, object]) -> None:
    """Whatever stands in the fields of a message: the one error, or something that was read."""
    with suppress(ProtocolError):
        decode_message(json.dumps(message))
    with suppress(ProtocolError):
        decode_batch(json.dumps([message]), 1, 1)


def test_messages_are_answers_or_notifications() -> None:
    """A WebSocket message is told by whether it has a method; others' notifications are left alone."""
    public = {"method": "eth_subscription", "params": {"subscription": "0x1", "result": {"number": "0x1"}}}
    private = {
        "method": "priv_subscription",
        "params": {"subscription": "0x2", "privacyGroupId": "group", "result": {}},
    }
    assert decode_message(json.dumps(public)) == Notification("0x1", {"number": "0x1"})
    assert decode_message(json.dumps(private)) == Notification("0x2", {}, "group")
    assert decode_message('{"id":4,"result":"0x1"}') == Answer(4, "0x1")
    for other in ({"method": "other", "params": {}}, {"method": "eth_subscription"}, public | {"method": []}):
        assert decode_message(json.dumps(other)) is None
