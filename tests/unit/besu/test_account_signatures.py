import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.besu.account_signatures import (
    InvalidSignatureError,
    address_of_key,
    chain_id_of,
    integer_bytes,
    recovered_address,
    sign_digest,
)

DIGESTS = st.binary(min_size=32, max_size=32)
KEYS = st.binary(min_size=32, max_size=32).filter(lambda key: 0 < int.from_bytes(key) < 1 << 255)


@given(digest=DIGESTS, key=KEYS, chain_id=st.none() | st.integers(0, 1 << 64))
def test_a_signature_tells_its_account_and_chain(digest: bytes, key: bytes, chain_id: int | None) -> None:
    """Whoever signed for whichever chain is recovered from digest and signature alone."""
    v, r, s = sign_digest(digest, key, chain_id)
    assert chain_id_of(v) == chain_id
    assert recovered_address(digest, v, r, s) == address_of_key(key)


@pytest.mark.parametrize("v", [0, 1, 26, 29, 34])
def test_a_v_that_no_signature_has_is_refused(v: int) -> None:
    """Between the two forms there is nothing."""
    with pytest.raises(InvalidSignatureError, match=str(v)):
        chain_id_of(v)


@given(st.integers(0, 1 << 256))
def test_integers_have_no_leading_zeros(value: int) -> None:
    """RLP carries the shortest form, and nothing for 0."""
    assert int.from_bytes(integer_bytes(value)) == value
    assert integer_bytes(value)[:1] != b"\0"
