"""How the emulated nodes write numbers and bytes in JSON, and the bloom filter of logs. Pure."""

import base64
import binascii
import json
from collections.abc import Iterable, Sequence
from typing import Any, Final

from eth_hash.auto import keccak

BLOOM_BYTES: Final = 256
EMPTY_BLOOM: Final = "0x" + "00" * BLOOM_BYTES
_SHORT: Final = 55
_SINGLE_BYTES: Final = 0x80


def quantity(value: int) -> str:
    """Write an integer as JSON-RPC does: "0x", no leading zeros."""
    return hex(value)


def data(value: bytes) -> str:
    """Write bytes as "0x" and two digits a byte."""
    return "0x" + value.hex()


def from_base64(text: str) -> bytes | None:
    """Decode canonical base64; None when it is none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def to_base64(value: bytes) -> str:
    """Write bytes as base64."""
    return base64.b64encode(value).decode("ascii")


def minimal_bytes(value: int) -> bytes:
    """Write an integer as RLP wants it: big-endian without leading zeros, zero as nothing."""
    return value.to_bytes((value.bit_length() + 7) // 8)


def rlp_list(items: Sequence[bytes]) -> bytes:
    """Encode a flat list of byte strings as RLP; ten times as fast as the general library, which a history needs."""
    body = b"".join(
        item if len(item) == 1 and item[0] < _SINGLE_BYTES else _rlp_prefix(len(item), 0x80) + item for item in items
    )
    return _rlp_prefix(len(body), 0xC0) + body


def _rlp_prefix(length: int, offset: int) -> bytes:
    if length <= _SHORT:
        return bytes([offset + length])
    size = minimal_bytes(length)
    return bytes([offset + _SHORT + len(size)]) + size


def contract_address(sender: str, private_nonce: int, privacy_group_id: bytes) -> str:
    """Address of a contract that a private transaction creates: it depends on the group as well (transcripts)."""
    encoded = rlp_list([bytes.fromhex(sender[2:]), minimal_bytes(private_nonce), privacy_group_id])
    return data(keccak(encoded)[-20:])


def bloom(items: Iterable[bytes]) -> str:
    """Write the bloom filter of addresses and topics, "0x" and 512 digits."""
    bits = 0
    for item in items:
        digest = keccak(item)
        for at in (0, 2, 4):
            bits |= 1 << (int.from_bytes(digest[at : at + 2]) & 0x7FF)
    return data(bits.to_bytes(BLOOM_BYTES)) if bits else EMPTY_BLOOM


def to_json(value: Any) -> str:
    """Write JSON without spaces, as Besu does."""
    return json.dumps(value, separators=(",", ":"))
