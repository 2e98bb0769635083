"""Signatures of accounts over the digests of transactions, on secp256k1. Pure.

v binds a signature to a chain (EIP-155): recovery id + 35 + 2·chain id; 27 or 28 without a chain id.
"""

from typing import Final

from coincurve import PrivateKey, PublicKey
from eth_hash.auto import keccak

from orchestrator.besu.identifiers import bytes_to_hex, hex_to_bytes

_UNBOUND: Final = 27
_BOUND: Final = 35


class InvalidSignatureError(ValueError):
    """It is no private key or no signature. The message never shows a key."""


def sign_digest(digest: bytes, private_key: bytes | str, chain_id: int | None) -> tuple[int, int, int]:
    """Return v, r and s; the same digest and key give the same signature.

    Args:
        digest: 32 bytes.
        private_key: 32 bytes, or hexadecimal text.
        chain_id: the chain that the digest was made for; None when it was made for none.

    Raises:
        InvalidSignatureError: it is no private key.
    """
    signature = _read_private_key(private_key).sign_recoverable(digest, hasher=None)
    first = _UNBOUND if chain_id is None else _BOUND + 2 * chain_id
    return signature[64] + first, int.from_bytes(signature[:32]), int.from_bytes(signature[32:64])


def chain_id_of(v: int) -> int | None:
    """Return the chain that a signature is bound to; None when it is bound to none.

    Raises:
        InvalidSignatureError: v is none that a signature has.
    """
    if v in {_UNBOUND, _UNBOUND + 1}:
        return None
    if v < _BOUND:
        raise InvalidSignatureError(f"v is {v}; it must be recovery id + 35 + 2·chain id, or 27 or 28")
    return (v - _BOUND) // 2


def recovered_address(digest: bytes, v: int, r: int, s: int) -> str:
    """Return the account that signed a digest, "0x…" in lower case.

    Raises:
        InvalidSignatureError: the signature belongs to no account.
    """
    chain_id = chain_id_of(v)
    recovery_id = v - _UNBOUND if chain_id is None else v - _BOUND - 2 * chain_id
    if max(r, s) >= 1 << 256:
        raise InvalidSignatureError("r and s have 256 bits at most")
    signature = r.to_bytes(32) + s.to_bytes(32) + bytes([recovery_id])
    try:
        return _address_of(PublicKey.from_signature_and_message(signature, digest, hasher=None))
    except ValueError as error:
        raise InvalidSignatureError("the signature belongs to no account") from error


def address_of_key(private_key: bytes | str) -> str:
    """Return the account of a private key, "0x…" in lower case.

    Raises:
        InvalidSignatureError: it is no private key.
    """
    return _address_of(_read_private_key(private_key).public_key)


def integer_bytes(value: int) -> bytes:
    """Return an integer as RLP carries it: big-endian without leading zeros; 0 is empty."""
    return value.to_bytes((value.bit_length() + 7) // 8)


def _address_of(public_key: PublicKey) -> str:
    return bytes_to_hex(keccak(public_key.format(compressed=False)[1:])[-20:])


def _read_private_key(private_key: bytes | str) -> PrivateKey:
    # The messages say nothing about the key, and the cause is dropped: it could show the key.
    try:
        secret = hex_to_bytes(private_key, max_bytes=32) if isinstance(private_key, str) else bytes(private_key)
        if len(secret) == 32:
            return PrivateKey(secret)
    except ValueError:
        pass
    raise InvalidSignatureError("the private key is not 32 bytes between 1 and the order of secp256k1")
