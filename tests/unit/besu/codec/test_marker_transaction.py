import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.besu.codec.identifiers import bytes_to_hex
from orchestrator.besu.codec.management_contract import PRIVACY_PRECOMPILE
from orchestrator.besu.codec.marker_transaction import (
    BURN_GAS_LIMIT,
    InvalidMarkerError,
    sign_burn,
    sign_marker,
)
from orchestrator.devnet.chain.public_signatures import decode_public_transaction

# A well-known public development key.
KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
ADDRESS = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
PAYLOAD_KEY = bytes(range(32))
FIELDS: dict[str, Any] = {
    "precompile": PRIVACY_PRECOMPILE,
    "account_nonce": 0,
    "gas_price": 0,
    "gas_limit": 22_024,
    "chain_id": 1337,
}


def sign_elsewhere(fields: dict[str, Any]) -> Any:
    # Importing it raises the interpreter's recursion limit, which other tests rely on.
    limit = sys.getrecursionlimit()
    try:
        from eth_account import Account  # noqa: PLC0415 - imported where the limit can be set back
    finally:
        sys.setrecursionlimit(limit)
    return Account.sign_transaction(fields, KEY)


@given(
    account_nonce=st.integers(0, 2**64 - 1),
    gas_price=st.integers(0, 2**128),
    gas_limit=st.integers(21_000, 2**64 - 1),
    payload_key=st.binary(min_size=32, max_size=32) | st.binary(min_size=64, max_size=64),
    chain_id=st.integers(1, 2**31),
)
def test_markers_are_signed_as_another_library_signs(
    account_nonce: int, gas_price: int, gas_limit: int, payload_key: bytes, chain_id: int
) -> None:
    """Bytes and hash are those of an independent implementation of signing transactions."""
    signed = sign_marker(
        payload_key,
        KEY,
        precompile=PRIVACY_PRECOMPILE,
        account_nonce=account_nonce,
        gas_price=gas_price,
        gas_limit=gas_limit,
        chain_id=chain_id,
    )
    fields = {
        "nonce": account_nonce,
        "gasPrice": gas_price,
        "gas": gas_limit,
        "to": bytes.fromhex(PRIVACY_PRECOMPILE[2:]),
        "value": 0,
        "data": payload_key,
        "chainId": chain_id,
    }
    theirs = sign_elsewhere(fields)
    assert signed.raw == bytes(theirs.raw_transaction)
    assert signed.transaction_hash == bytes_to_hex(bytes(theirs.hash))
    assert signed.sender == ADDRESS


@pytest.mark.parametrize("chain_id", [None, 1, 1337, 2**40])
@pytest.mark.parametrize("length", [32, 64])
def test_a_marker_is_read_as_it_was_signed(chain_id: int | None, length: int) -> None:
    """Whoever decodes it finds the fields, the sender and the hash, with and without a chain id."""
    signed = sign_marker(b"\xab" * length, KEY, **(FIELDS | {"chain_id": chain_id}))
    read = decode_public_transaction(signed.raw)
    assert (read.to, read.input, read.value) == (PRIVACY_PRECOMPILE, b"\xab" * length, 0)
    assert (read.account_nonce, read.gas_price, read.gas_limit, read.chain_id) == (0, 0, 22_024, chain_id)
    assert (read.sender, bytes_to_hex(read.hash)) == (signed.sender, signed.transaction_hash)
    assert (signed.sender, signed.transaction.chain_id) == (ADDRESS, chain_id)


def test_a_marker_without_a_chain_id_has_a_nodes_form() -> None:
    """Unbound, v is 27 or 28, as in the markers that nodes make."""
    signed = sign_marker(PAYLOAD_KEY, KEY, **(FIELDS | {"chain_id": None}))
    assert int.from_bytes(rlp.decode(signed.raw)[6]) in {27, 28}


def test_a_burn_takes_the_markers_place() -> None:
    """It has the marker's account and nonce, goes to the account itself, and moves nothing."""
    marker = sign_marker(PAYLOAD_KEY, KEY, **(FIELDS | {"account_nonce": 7, "gas_price": 5}))
    burn = sign_burn(KEY, account_nonce=7, gas_price=5, chain_id=1337)
    assert (burn.sender, burn.transaction.account_nonce) == (marker.sender, marker.transaction.account_nonce)
    assert burn.transaction == replace(marker.transaction, to=ADDRESS, data=b"", gas_limit=BURN_GAS_LIMIT)
    assert burn.transaction_hash != marker.transaction_hash
    assert decode_public_transaction(burn.raw).sender == ADDRESS


def test_signing_again_gives_the_same_bytes() -> None:
    """A marker that is signed again after a crash has the hash that was stored."""
    assert sign_marker(PAYLOAD_KEY, KEY, **FIELDS) == sign_marker(PAYLOAD_KEY, bytes.fromhex(KEY), **FIELDS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"account_nonce": -1}, "account_nonce"),
        ({"account_nonce": 1 << 64}, "account_nonce"),
        ({"gas_price": -1}, "gas_price"),
        ({"gas_limit": 1 << 64}, "gas_limit"),
        ({"chain_id": 0}, "chain_id"),
        ({"precompile": "0x7d"}, "address"),
    ],
)
def test_a_field_out_of_range_is_named(change: dict[str, Any], message: str) -> None:
    """Nothing is signed that the chain could not hold."""
    with pytest.raises(InvalidMarkerError, match=message):
        sign_marker(PAYLOAD_KEY, KEY, **(FIELDS | change))


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65])
def test_what_is_no_payload_key_is_not_signed(length: int) -> None:
    """A marker carries 32 or 64 bytes."""
    with pytest.raises(InvalidMarkerError, match=str(length)):
        sign_marker(bytes(length), KEY, **FIELDS)


@pytest.mark.parametrize("key", ["", "00" * 32, "ff" * 32, b"\1" * 31])
def test_a_bad_key_is_refused_and_never_shown(key: str | bytes) -> None:
    """The message says what a key is, and nothing of what was given."""
    signing: tuple[Callable[[], object], ...] = (
        lambda: sign_marker(PAYLOAD_KEY, key, **FIELDS),
        lambda: sign_burn(key, account_nonce=0, gas_price=0, chain_id=1),
    )
    for sign in signing:
        with pytest.raises(InvalidMarkerError, match="private key") as failure:
            sign()
        assert failure.value.__cause__ is None
        assert "ff" * 32 not in str(failure.value)
