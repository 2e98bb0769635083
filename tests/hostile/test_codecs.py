"""Whatever bytes and values come in, the codecs return a value or raise their own error."""

import json
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.besu.codec.json_rpc import Answer, decode_answer, decode_batch, decode_message
from orchestrator.besu.codec.rpc_errors import rpc_error
from orchestrator.besu.errors import BesuError
from orchestrator.engine.attestation.verdict_messages import InvalidVerdictError, decode_verdict
from orchestrator.engine.intake.requests import InvalidRequestError, parse_request, parse_trigger
from orchestrator.outside_text import presentable

EXAMPLES = settings(max_examples=int(os.environ.get("FUZZ_EXAMPLES", "60")))

texts = st.text(alphabet=st.characters(exclude_categories=()), max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
documents = st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode())


def assert_tellable(text: str) -> None:
    text.encode()
    assert len(text) < 1000


def answers(names: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """Objects with some of the names that matter."""
    return st.dictionaries(st.sampled_from(names), values, max_size=len(names))


@EXAMPLES
@given(documents | answers(("jsonrpc", "id", "result", "error")).map(lambda value: json.dumps(value).encode()))
def test_answers_of_nodes(document: bytes) -> None:
    """An answer is read, or refused as one."""
    for read in (
        lambda: decode_answer(document, 1),
        lambda: decode_batch(document, 1, 2),
        lambda: decode_message(document),
    ):
        try:
            found = read()
        except BesuError as error:
            str(error).encode()
        else:
            if isinstance(found, Answer) and found.error is not None:
                str(found.error).encode()


@EXAMPLES
@given(st.integers(), texts, values)
def test_errors_of_nodes(code: int, message: str, data: object) -> None:
    """Any error of a node has a type and can be told."""
    str(rpc_error(code, message, data)).encode()


@EXAMPLES
@given(
    documents
    | answers(("specversion", "id", "source", "type", "data", "data_base64")).map(lambda v: json.dumps(v).encode()),
    st.dictionaries(st.sampled_from(["content-type", "ce-id", "ce-type", "cloudevents:id", "ce-specversion"]), texts),
)
def test_messages_of_the_queue(body: bytes, headers: dict[str, str]) -> None:
    """A message is a request, or refused with a reason that can be told."""
    try:
        parse_trigger(body, headers)
    except InvalidRequestError as error:
        assert_tellable(str(error))


@EXAMPLES
@given(texts, answers(("kind", "privacy_group_id", "members", "account", "deadline_seconds", "x")) | values)
def test_bodies_of_requests(request_id: str, data: object) -> None:
    """A parsed body is a request, or refused with a reason that can be told."""
    try:
        parse_request(request_id, data)
    except InvalidRequestError as error:
        str(error).encode()


@EXAMPLES
@given(documents)
def test_verdicts(body: bytes) -> None:
    """What comes in as a verdict is one, or refused as one."""
    try:
        decode_verdict(body)
    except InvalidVerdictError as error:
        presentable(str(error)).encode()
