import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.besu.codec.identifiers import (
    InvalidIdentifierError,
    bytes_to_hex,
    enclave_key_from_bytes,
    enclave_key_to_bytes,
    hex_to_bytes,
    normal_address,
    normal_hash,
    privacy_group_id_from_bytes,
    privacy_group_id_to_bytes,
)

KEY = "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo="


@given(st.one_of(st.binary(min_size=32, max_size=32), st.binary(min_size=91, max_size=91)))
def test_enclave_keys_survive_the_way_to_text_and_back(key: bytes) -> None:
    """An enclave key of 32 or 91 bytes is the same after base64."""
    assert enclave_key_to_bytes(enclave_key_from_bytes(key)) == key


@given(st.binary(min_size=32, max_size=32))
def test_group_ids_survive_the_way_to_text_and_back(group: bytes) -> None:
    """A group id is the same after base64."""
    assert privacy_group_id_to_bytes(privacy_group_id_from_bytes(group)) == group


@pytest.mark.parametrize(
    "text",
    [
        "",
        "short",
        KEY[:-1],
        KEY + "A",
        KEY.replace("/", "_"),
        KEY + "\n",
        KEY[:-2] + "p=",
        base64.b64encode(bytes(33)).decode(),
        "A" * 10_000,
        "Bü" + KEY[2:],
    ],
)
def test_what_is_no_enclave_key_is_refused(text: str) -> None:
    """A key of another length, alphabet or spelling is refused with a message that does not flood the reader."""
    with pytest.raises(InvalidIdentifierError) as refusal:
        enclave_key_to_bytes(text)
    assert len(str(refusal.value)) < 300


@pytest.mark.parametrize("size", [0, 31, 33, 90, 92])
def test_keys_and_ids_of_another_length_are_not_written(size: int) -> None:
    """Only 32 and 91 bytes are an enclave key, only 32 a group id."""
    with pytest.raises(InvalidIdentifierError):
        enclave_key_from_bytes(bytes(size))
    with pytest.raises(InvalidIdentifierError):
        privacy_group_id_from_bytes(bytes(size))


def test_a_group_id_has_32_bytes() -> None:
    """An EC key of 91 bytes is no group id."""
    with pytest.raises(InvalidIdentifierError, match="32 bytes"):
        privacy_group_id_to_bytes(base64.b64encode(bytes(91)).decode())


def test_addresses_and_hashes_are_compared_in_lower_case() -> None:
    """Checksum spelling is accepted and made lower case."""
    assert normal_address("0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73") == "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
    assert normal_hash("0x" + "AB" * 32) == "0x" + "ab" * 32


@pytest.mark.parametrize("text", ["", "0x", "0x12", "fe3b557e8fb62b89f4916b721be55ceb828dbd73", "0x" + "g" * 40])
def test_what_is_no_address_or_hash_is_refused(text: str) -> None:
    """Texts of another length, without 0x or with other letters are refused."""
    with pytest.raises(InvalidIdentifierError):
        normal_address(text)
    with pytest.raises(InvalidIdentifierError):
        normal_hash(text)


@given(st.binary(max_size=200))
def test_bytes_survive_the_way_to_hex_and_back(data: bytes) -> None:
    """Bytes are the same after hexadecimal, with 0x or without."""
    assert hex_to_bytes(bytes_to_hex(data), max_bytes=200) == data
    assert hex_to_bytes(data.hex(), max_bytes=200) == data


@pytest.mark.parametrize("text", ["0x1", "zz", "0x0x00", "é", "0x" + "00" * 11])
def test_what_is_no_bounded_hex_is_refused(text: str) -> None:
    """An odd number of digits, other letters and more bytes than allowed are refused."""
    with pytest.raises(InvalidIdentifierError):
        hex_to_bytes(text, max_bytes=10)
