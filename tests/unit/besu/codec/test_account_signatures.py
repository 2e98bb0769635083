from contextlib import suppress

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.besu.codec.account_signatures import (
    ORDER,
    InvalidSignatureError,
    address_of_key,
    address_of_public_key,
    chain_id_of,
    integer_bytes,
    read_halves,
    recovered_address,
    sign_digest,
    signature_by,
)

DIGESTS = st.binary(min_size=32, max_size=32)
KEYS = st.binary(min_size=32, max_size=32).filter(lambda key: 0 < int.from_bytes(key) < 1 << 255)


@given(digest=DIGESTS, key=KEYS, chain_id=st.none() | st.integers(0, 1 << 64))
def test_a_signature_tells_its_account_and_chain(digest: bytes, key: bytes, chain_id: int | None) -> None:
    """Whoever signed for whichever chain is recovered from digest and signature alone."""
    signature = sign_digest(digest, key)
    v, r, s = signature.v(chain_id), signature.r, signature.s
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


@given(digest=DIGESTS, key=KEYS, high=st.booleans(), v=st.none() | st.integers(0, 255))
def test_a_services_signature_becomes_ethereums(digest: bytes, key: bytes, high: bool, v: int | None) -> None:
    """In DER or plainly, with whichever s and v, the signature that the key makes here comes out."""
    wanted = sign_digest(digest, key)
    r, s = wanted.r, ORDER - wanted.s if high else wanted.s
    plain = r.to_bytes(32) + s.to_bytes(32) + (b"" if v is None else bytes([v]))
    for text in (plain, der(r, s)):
        assert signature_by(address_of_key(key), digest, *read_halves(text)) == wanted


def der(r: int, s: int) -> bytes:
    """Encode r and s as ASN.1 wants it."""
    parts = b"".join(
        b"\x02" + bytes([len(content)]) + content
        for content in (value.to_bytes(value.bit_length() // 8 + 1) for value in (r, s))
    )
    return b"\x30" + bytes([len(parts)]) + parts


def test_der_is_read_as_others_write_it() -> None:
    """The library for the curve writes the same."""
    key, digest = PrivateKey(b"\x07" * 32), b"\x21" * 32
    signature = sign_digest(digest, key.secret)
    assert read_halves(key.sign(digest, hasher=None)) == (signature.r, signature.s)


@given(digest=DIGESTS, text=st.binary(max_size=80) | st.binary(min_size=64, max_size=72), key=KEYS)
def test_no_other_bytes_are_an_accounts_signature(digest: bytes, text: bytes, key: bytes) -> None:
    """Any bytes are refused, and by no other exception."""
    with suppress(InvalidSignatureError):
        signature_by(address_of_key(key), digest, *read_halves(text))
        raise AssertionError("they were taken")


@given(digest=DIGESTS, key=KEYS, other=KEYS)
def test_another_accounts_signature_tells_whose_it_is(digest: bytes, key: bytes, other: bytes) -> None:
    """A signature by another key is refused with the account that made it."""
    signature = sign_digest(digest, other)
    if key != other:
        with pytest.raises(InvalidSignatureError, match=address_of_key(other)):
            signature_by(address_of_key(key), digest, signature.r, signature.s)


@given(key=KEYS)
def test_a_public_key_tells_its_account(key: bytes) -> None:
    """In each of its three forms; other bytes are none."""
    public = PrivateKey(key).public_key
    whole = public.format(compressed=False)
    assert {address_of_public_key(form) for form in (whole, whole[1:], public.format())} == {address_of_key(key)}
    with pytest.raises(InvalidSignatureError):
        address_of_public_key(whole[:-1])
