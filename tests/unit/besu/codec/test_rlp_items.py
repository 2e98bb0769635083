"""RLP of others: what the library reads of it, and in how much time at most."""

import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.besu.codec.private_transaction import (
    MAX_RAW_BYTES,
    InvalidPrivateTransactionError,
    decode_private_transaction,
    signature_of,
)
from orchestrator.besu.codec.rlp_items import MOST_ITEMS, decoded
from tests.processor_time import assert_brief

MOST_SECONDS = 0.1

items = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=5), max_leaves=40)


@given(items)
def test_it_is_read_as_the_library_reads_it(item: object) -> None:
    """What is not too much comes out as it is."""
    assert decoded(rlp.encode(item)) == rlp.decode(rlp.encode(item))


@given(st.binary(max_size=90))
def test_bytes_that_are_none_are_refused_as_the_library_refuses_them(data: bytes) -> None:
    """Bytes of anybody are a value or the library's own error, the same as without the bound."""
    try:
        expected = rlp.decode(data)
    except rlp.exceptions.RLPException as error:
        with pytest.raises(type(error)):
            decoded(data)
    else:
        assert decoded(data) == expected


def test_the_most_items_are_read() -> None:
    """As many as the bound says, the list around them included, and not one more."""
    assert len(decoded(rlp.encode([b"x"] * (MOST_ITEMS - 1)))) == MOST_ITEMS - 1
    with pytest.raises(rlp.exceptions.DecodingError, match=f"more than {MOST_ITEMS} items"):
        decoded(rlp.encode([b"x"] * MOST_ITEMS))


@pytest.mark.parametrize("filled", [b"\x01", b"\xc0", b"\xc1\xc0", b"\xc0" * 3 + b"\x80"], ids=bytes.hex)
def test_the_worst_transaction_is_refused_in_little_time(filled: bytes) -> None:
    """A megabyte of items that are a byte long would be made into objects for seconds."""
    content = filled * ((MAX_RAW_BYTES - 16) // len(filled))
    raw = b"\xfa" + len(content).to_bytes(3) + content

    def refused() -> None:
        with pytest.raises(InvalidPrivateTransactionError):
            decode_private_transaction(raw)
        assert signature_of(raw) is None

    assert_brief(refused, MOST_SECONDS)
