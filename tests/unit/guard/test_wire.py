"""What a guard reads of the bytes that pass it: the worst that others can have a node ask for."""

import base64
import json

import pytest

from orchestrator.guard.proxy import LARGEST_READ_BYTES
from orchestrator.guard.wire import added_group, transaction_in
from tests.processor_time import assert_brief

MOST_SECONDS = 0.1


@pytest.mark.parametrize("filled", [b"\x01", b"\xc0", b"\xc1\xc0"], ids=bytes.hex)
def test_the_worst_payload_is_passed_over_in_little_time(filled: bytes) -> None:
    """Any member of the network may hand any payload: everything between node and enclave waits while it is read."""
    most = LARGEST_READ_BYTES * 9 // 16 - 64
    inner = b"\xfa" + (most - 37).to_bytes(3) + (filled * most)[: most - 37]
    content = b"\xfa" + (len(inner) + 33).to_bytes(3) + inner + b"\xa0" + bytes(32)
    payload = base64.b64encode(base64.b64encode(content)).decode("ascii")
    body = json.dumps({"payload": payload}).encode()
    assert len(body) <= LARGEST_READ_BYTES

    def read() -> None:
        assert transaction_in(body) is None
        assert added_group(body) is None

    assert_brief(read, MOST_SECONDS)
