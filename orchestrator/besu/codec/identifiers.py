"""Enclave keys, privacy group ids, addresses and hex: parsing what others wrote, strictly and bounded. Pure."""

import base64
import binascii
import re
from functools import lru_cache
from typing import Final

PRIVACY_GROUP_ID_BYTES: Final = 32
NACL_KEY_BYTES: Final = 32
EC_KEY_BYTES: Final = 91
ENCLAVE_KEY_BYTES: Final = frozenset({NACL_KEY_BYTES, EC_KEY_BYTES})

_LONGEST_SHOWN = 80
_REMEMBERED = 8192
"""Texts whose bytes are remembered, some 3 MB: nodes list the same groups and keys again and again. A text never means
other bytes, and one that is refused, or is long, is not remembered."""
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}\Z")
_HASH = re.compile(r"0x[0-9a-fA-F]{64}\Z")


class InvalidIdentifierError(ValueError):
    """A text is not the enclave key, privacy group id, address or hex that it should be."""


def enclave_key_to_bytes(enclave_key: str) -> bytes:
    """Decode an enclave public key: base64 of 32 bytes (NaCl) or 91 bytes (EC, DER).

    Raises:
        InvalidIdentifierError: the text is not canonical base64, or has another length.
    """
    decoded = _base64_to_bytes(enclave_key, "enclave key")
    if len(decoded) not in ENCLAVE_KEY_BYTES:
        raise InvalidIdentifierError(
            f"enclave key {_shown(enclave_key)} holds {len(decoded)} bytes; "
            "it must be base64 of 32 bytes (NaCl) or of 91 bytes (EC)"
        )
    return decoded


def enclave_key_from_bytes(key: bytes) -> str:
    """Write an enclave public key of 32 or 91 bytes as base64.

    Raises:
        InvalidIdentifierError: the key has another length.
    """
    if len(key) not in ENCLAVE_KEY_BYTES:
        raise InvalidIdentifierError(f"an enclave key has 32 bytes (NaCl) or 91 bytes (EC), not {len(key)}")
    return base64.b64encode(key).decode("ascii")


def privacy_group_id_to_bytes(privacy_group_id: str) -> bytes:
    """Decode a privacy group id: base64 of 32 bytes.

    Raises:
        InvalidIdentifierError: the text is not canonical base64, or not of 32 bytes.
    """
    decoded = _base64_to_bytes(privacy_group_id, "privacy group id")
    if len(decoded) != PRIVACY_GROUP_ID_BYTES:
        raise InvalidIdentifierError(
            f"privacy group id {_shown(privacy_group_id)} holds {len(decoded)} bytes; it must be base64 of 32 bytes"
        )
    return decoded


def privacy_group_id_from_bytes(group: bytes) -> str:
    """Write the 32 bytes of a privacy group id as base64.

    Raises:
        InvalidIdentifierError: there are not 32 bytes.
    """
    if len(group) != PRIVACY_GROUP_ID_BYTES:
        raise InvalidIdentifierError(f"a privacy group id has 32 bytes, not {len(group)}")
    return base64.b64encode(group).decode("ascii")


def normal_address(address: str) -> str:
    """Return an account or contract address in lower case, "0x" and 40 digits.

    Raises:
        InvalidIdentifierError: the text is no address.
    """
    if not _ADDRESS.match(address):
        raise InvalidIdentifierError(f"{_shown(address)} is no address; an address is 0x and 40 hexadecimal digits")
    return address.lower()


def normal_hash(text: str) -> str:
    """Return a 32-byte hash in lower case, "0x" and 64 digits.

    Raises:
        InvalidIdentifierError: the text is no such hash.
    """
    if not _HASH.match(text):
        raise InvalidIdentifierError(f"{_shown(text)} is no hash; a hash is 0x and 64 hexadecimal digits")
    return text.lower()


def hex_to_bytes(text: str, *, max_bytes: int) -> bytes:
    """Decode hexadecimal text, with or without "0x".

    Raises:
        InvalidIdentifierError: no hexadecimal, an odd number of digits, or more than ``max_bytes`` bytes.
    """
    digits = text[2:] if text[:2] in {"0x", "0X"} else text
    if len(digits) > 2 * max_bytes:
        raise InvalidIdentifierError(
            f"{len(digits) // 2} bytes of hexadecimal text; at most {max_bytes} are allowed here"
        )
    try:
        return binascii.unhexlify(digits)
    except (binascii.Error, ValueError) as error:
        raise InvalidIdentifierError(f"{_shown(text)} is no hexadecimal text: {error}") from error


def bytes_to_hex(data: bytes) -> str:
    """Write bytes as "0x" and lower-case digits."""
    return "0x" + data.hex()


@lru_cache(maxsize=_REMEMBERED)
def _base64_to_bytes(text: str, what: str) -> bytes:
    if len(text) > 2 * EC_KEY_BYTES:
        raise InvalidIdentifierError(f"{what} of {len(text)} characters is too long")
    try:
        decoded = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidIdentifierError(f"{what} {_shown(text)} is no base64: {error}") from error
    if base64.b64encode(decoded).decode("ascii") != text:
        # Two spellings of one key would be two members to everything that compares text.
        raise InvalidIdentifierError(f"{what} {_shown(text)} is not canonical base64")
    return decoded


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…")
