import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import rlp
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.besu.codec.identifiers import enclave_key_from_bytes, privacy_group_id_from_bytes
from orchestrator.besu.codec.private_transaction import (
    MAX_RAW_BYTES,
    InvalidPrivateTransactionError,
    PrivateTransaction,
    address_of_private_key,
    decode_private_transaction,
    join_signature,
    private_transaction_from_fields,
    sign_private_transaction,
    signature_of,
)

GOLDEN = json.loads((Path(__file__).parents[3] / "contract/golden/private-transactions.json").read_text())
# A well-known development key: everybody has it.
KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
ADDRESS = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
FIELDS: dict[str, Any] = GOLDEN[0]["fields"]

keys = st.one_of(st.binary(min_size=32, max_size=32), st.binary(min_size=91, max_size=91)).map(enclave_key_from_bytes)
groups = st.binary(min_size=32, max_size=32).map(privacy_group_id_from_bytes)
addresses = st.binary(min_size=20, max_size=20).map(lambda address: "0x" + address.hex())


@st.composite
def transactions(draw: st.DrawFn) -> PrivateTransaction:
    in_group = draw(st.booleans())
    return PrivateTransaction(
        private_nonce=draw(st.integers(0, 2**64 - 1)),
        private_from=draw(keys),
        to=draw(st.none() | addresses),
        data=draw(st.binary(max_size=300)),
        privacy_group_id=draw(groups) if in_group else None,
        private_for=() if in_group else tuple(draw(st.lists(keys, min_size=1, max_size=3))),
        chain_id=draw(st.integers(1, 2**64)),
        gas_limit=draw(st.integers(0, 2**64 - 1)),
        gas_price=draw(st.integers(0, 2**256 - 1)),
        value=draw(st.integers(0, 2**256 - 1)),
        restriction=draw(st.sampled_from(["restricted", "unrestricted"])),
    )


@pytest.mark.parametrize("vector", GOLDEN, ids=[vector["name"] for vector in GOLDEN])
def test_signing_gives_the_bytes_that_an_existing_client_gives(vector: dict[str, Any]) -> None:
    """Each recorded transaction is signed to exactly the recorded bytes."""
    assert "0x" + sign_private_transaction(vector["fields"], vector["privateKey"]).hex() == vector["raw"]


@pytest.mark.parametrize("vector", GOLDEN, ids=[vector["name"] for vector in GOLDEN])
def test_decoding_gives_back_fields_and_sender(vector: dict[str, Any]) -> None:
    """A recorded raw transaction is read back to its fields, and its sender is recovered."""
    signed = decode_private_transaction(vector["raw"])
    assert signed.transaction == private_transaction_from_fields(vector["fields"])
    assert signed.sender == ADDRESS
    assert "0x" + signed.raw.hex() == vector["raw"]


@given(transactions())
def test_what_is_signed_is_read_back(transaction: PrivateTransaction) -> None:
    """Any transaction survives signing and decoding, and its sender is the key's account."""
    raw = sign_private_transaction(transaction, KEY)
    signed = decode_private_transaction(raw)
    assert signed.transaction == transaction
    assert signed.sender == ADDRESS == address_of_private_key(KEY)
    assert join_signature(transaction, signed.v, signed.r, signed.s).raw == raw


@given(st.binary(max_size=400))
def test_hostile_bytes_are_refused(raw: bytes) -> None:
    """Bytes that are no transaction raise the one error for it, never another."""
    with pytest.raises(InvalidPrivateTransactionError):
        decode_private_transaction(raw)


@given(st.data())
def test_a_changed_byte_is_refused_or_changes_what_is_read(data: st.DataObject) -> None:
    """No byte of a transaction can be changed without being noticed."""
    raw = bytearray(bytes.fromhex(GOLDEN[0]["raw"][2:]))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        signed = decode_private_transaction(bytes(raw))
    except InvalidPrivateTransactionError:
        return
    original = decode_private_transaction(GOLDEN[0]["raw"])
    assert (signed.transaction, signed.sender) != (original.transaction, original.sender)


def test_nested_lists_do_not_exhaust_the_stack() -> None:
    """A million nested lists are refused like any other bytes."""
    with pytest.raises(InvalidPrivateTransactionError):
        decode_private_transaction(b"\xc1" * 200_000)


def test_more_bytes_than_a_transaction_has_are_not_read() -> None:
    """A raw transaction over the limit is refused before it is parsed, as bytes and as text."""
    with pytest.raises(InvalidPrivateTransactionError, match="too many"):
        decode_private_transaction(bytes(MAX_RAW_BYTES + 1))
    with pytest.raises(InvalidPrivateTransactionError, match="unreadable"):
        decode_private_transaction("0x" + "00" * (MAX_RAW_BYTES + 1))


@pytest.mark.parametrize(
    ("position", "item", "message"),
    [
        (0, b"\x00", "nonce has leading zeros"),
        (0, [b""], "nonce must be an integer"),
        (0, b"\x01" * 9, "nonce must be an integer of at most 64 bits"),
        (3, b"\x01" * 19, "to has 19 bytes"),
        (5, [], "data and restriction"),
        (6, b"\x1a", "v is 26"),
        (7, b"\xff" * 32, "the signature belongs to no account"),
        (9, b"\x01" * 31, "privateFrom"),
        (10, b"\x01" * 31, "privacyGroupId"),
        (10, [], "privateFor"),
        (10, [[b"x"]], "privateFor"),
        (11, b"secret", "restriction"),
    ],
)
def test_a_field_of_the_wrong_shape_is_named(position: int, item: object, message: str) -> None:
    """Each field is checked on its own, and the message names it."""
    items = list(rlp.decode(bytes.fromhex(GOLDEN[0]["raw"][2:])))
    items[position] = item
    with pytest.raises(InvalidPrivateTransactionError, match=message):
        decode_private_transaction(rlp.encode(items))


def test_a_transaction_without_a_chain_id_is_read() -> None:
    """Others may sign without a chain id, with v 27 or 28; it is read, and never signed here."""
    signed = decode_private_transaction(GOLDEN[0]["raw"])
    unbound = join_signature(signed.transaction, 27, signed.r, signed.s)
    assert unbound.transaction.chain_id is None
    assert decode_private_transaction(unbound.raw) == unbound
    with pytest.raises(InvalidPrivateTransactionError, match="chainId is missing"):
        sign_private_transaction(unbound.transaction, KEY)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nonce": -1}, "private_nonce"),
        ({"nonce": 2**64}, "private_nonce"),
        ({"nonce": None}, "nonce is missing"),
        ({"chainId": None}, "chainId is missing"),
        ({"privateFrom": None}, "privateFrom is missing"),
        ({"privateFrom": "AAAA"}, "enclave key"),
        ({"privacyGroupId": None}, "either privacyGroupId or privateFor"),
        ({"privateFor": [FIELDS["privateFrom"]]}, "either privacyGroupId or privateFor"),
        ({"privacyGroupId": "AAAA"}, "privacy group id"),
        ({"to": "0x12"}, "address"),
        ({"restriction": "open"}, "restriction"),
        ({"gasprice": 1}, "unknown field 'gasprice'"),
    ],
)
def test_fields_that_are_wrong_are_named(changes: dict[str, Any], message: str) -> None:
    """A missing, unknown or impossible field is refused before signing, by name."""
    with pytest.raises(InvalidPrivateTransactionError, match=message):
        sign_private_transaction({**FIELDS, **changes}, KEY)


@pytest.mark.parametrize("key", ["", "00", "0" * 64, "f" * 64, "z" * 64, b"short", KEY + "00"])
def test_what_is_no_private_key_is_refused_without_being_shown(key: bytes | str) -> None:
    """A wrong key is refused, and neither the message nor its cause shows it."""
    with pytest.raises(InvalidPrivateTransactionError) as refusal:
        sign_private_transaction(FIELDS, key)
    assert not key or str(key) not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_keys_are_taken_as_bytes_and_as_text() -> None:
    """A private key as bytes, as hexadecimal text and with 0x signs the same."""
    raw = sign_private_transaction(FIELDS, KEY)
    assert raw == sign_private_transaction(FIELDS, "0x" + KEY) == sign_private_transaction(FIELDS, bytes.fromhex(KEY))


def test_fields_and_values_sign_the_same() -> None:
    """A mapping of fields and a PrivateTransaction of the same content give the same bytes."""
    transaction = private_transaction_from_fields(FIELDS)
    assert sign_private_transaction(transaction, KEY) == sign_private_transaction(FIELDS, KEY)
    assert sign_private_transaction(replace(transaction, private_nonce=1), KEY) != sign_private_transaction(FIELDS, KEY)


@given(transactions())
def test_a_signature_is_read_alone(transaction: PrivateTransaction) -> None:
    """r and s that are read off the bytes are those of the whole transaction."""
    signed = decode_private_transaction(sign_private_transaction(transaction, KEY))
    assert signature_of(signed.raw) == (signed.r, signed.s)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_transaction_have_no_signature(raw: bytes) -> None:
    """Whatever the bytes are, reading a signature off them says that there is none, or reads one."""
    found = signature_of(raw)
    assert found is None or len(found) == 2
