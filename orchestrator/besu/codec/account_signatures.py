"""Signatures of accounts over the digests of transactions, on secp256k1. Pure.

v binds a signature to a chain (EIP-155): recovery id + 35 + 2·chain id; 27 or 28 without a chain id.
"""

from dataclasses import dataclass
from typing import Final

from coincurve import PrivateKey, PublicKey
from eth_hash.auto import keccak

from orchestrator.besu.codec.identifiers import bytes_to_hex, hex_to_bytes

ORDER: Final = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""Of secp256k1's group: r and s are below it, and the s of an Ethereum signature is at most half of it (EIP-2)."""

_UNBOUND: Final = 27
_BOUND: Final = 35
_HALVES_BYTES: Final = 64
_RECOVERABLE_BYTES: Final = 65
_LONGEST_DER: Final = 72
_SEQUENCE: Final = 0x30


class InvalidSignatureError(ValueError):
    """It is no private key or no signature. The message never shows a key."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature as Ethereum wants it.

    Attributes:
        r, s: From 1 to ``ORDER`` - 1, s at most half of it.
        recovery_id: 0 or 1: which of two public keys it is of.
    """

    r: int
    s: int
    recovery_id: int

    def v(self, chain_id: int | None) -> int:
        """Return v for the chain that was signed for; None when it was for none."""
        return self.recovery_id + (_UNBOUND if chain_id is None else _BOUND + 2 * chain_id)

    def statement_bytes(self) -> bytes:
        """Return r, s and v without a chain: 65 bytes."""
        return self.r.to_bytes(32) + self.s.to_bytes(32) + bytes([self.v(None)])


def sign_digest(digest: bytes, private_key: bytes | str) -> Signature:
    """Return the signature; the same digest and key give the same one.

    Args:
        digest: 32 bytes.
        private_key: 32 bytes, or hexadecimal text.

    Raises:
        InvalidSignatureError: it is no private key.
    """
    signed = _read_private_key(private_key).sign_recoverable(digest, hasher=None)
    return Signature(int.from_bytes(signed[:32]), int.from_bytes(signed[32:64]), signed[64])


def read_halves(text: bytes) -> tuple[int, int]:
    """Return r and s of a signature as key services write them: 65 bytes (r, s, v), 64 (r, s), or DER.

    v is not looked at: services write it in several ways, and the signature tells its account without.

    Raises:
        InvalidSignatureError: it is none of them.
    """
    if len(text) in (_HALVES_BYTES, _RECOVERABLE_BYTES):
        return int.from_bytes(text[:32]), int.from_bytes(text[32:64])
    if 2 < len(text) <= _LONGEST_DER and text[0] == _SEQUENCE and text[1] == len(text) - 2:
        r, rest = _der_integer(text[2:])
        s, rest = _der_integer(rest)
        if not rest:
            return r, s
    raise InvalidSignatureError(f"{len(text)} bytes are no signature: 65 (r, s, v), 64 (r, s) or DER are read")


def signature_by(account: str, digest: bytes, r: int, s: int) -> Signature:
    """Complete r and s of some service to an account's signature: the lower s, and the recovery id.

    Args:
        account: "0x…" in lower case.
        digest: what was signed, 32 bytes.
        r, s: as the service answered them.

    Raises:
        InvalidSignatureError: they are no signature, or one of another account or digest.
    """
    if not (0 < r < ORDER and 0 < s < ORDER):
        raise InvalidSignatureError("r and s must be from 1 to the order of secp256k1 - 1")
    s = min(s, ORDER - s)
    signers = []
    for recovery_id in (0, 1):
        try:
            signers.append(recovered_address(digest, recovery_id + _UNBOUND, r, s))
        except InvalidSignatureError:
            continue
        if signers[-1] == account:
            return Signature(r, s, recovery_id)
    others = " or ".join(signers) or "nobody"
    raise InvalidSignatureError(f"it is the signature of {others} over this, not of {account}")


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


def address_of_public_key(public_key: bytes) -> str:
    """Return the account of a public key, "0x…" in lower case.

    Args:
        public_key: 64 bytes, or 65 or 33 with the leading byte that tells its form.

    Raises:
        InvalidSignatureError: it is no public key of secp256k1.
    """
    try:
        return _address_of(PublicKey(b"\x04" + public_key if len(public_key) == _HALVES_BYTES else public_key))
    except ValueError as error:
        raise InvalidSignatureError("it is no public key of secp256k1: 64 bytes, or 65 or 33 with a prefix") from error


def integer_bytes(value: int) -> bytes:
    """Return an integer as RLP carries it: big-endian without leading zeros; 0 is empty."""
    return value.to_bytes((value.bit_length() + 7) // 8)


def call_items(nonce: int, gas_price: int, gas_limit: int, to: bytes, value: int, data: bytes) -> list[bytes]:
    """Return the RLP items that a public and a private transaction begin with.

    Args:
        nonce: The account's, public or in the group.
        gas_price: In wei.
        gas_limit: In gas.
        to: The 20 bytes of an address; none to create a contract.
        value: In wei.
        data: The call.
    """
    return [integer_bytes(nonce), integer_bytes(gas_price), integer_bytes(gas_limit), to, integer_bytes(value), data]


def _address_of(public_key: PublicKey) -> str:
    return bytes_to_hex(keccak(public_key.format(compressed=False)[1:])[-20:])


def _der_integer(text: bytes) -> tuple[int, bytes]:
    length = text[1] if len(text) > 1 else 0
    content, rest = text[2 : 2 + length], text[2 + length :]
    if text[:1] != b"\x02" or not content or len(content) != length or content[0] & 0x80:
        raise InvalidSignatureError("it begins like a signature in DER and is none")
    return int.from_bytes(content), rest


def _read_private_key(private_key: bytes | str) -> PrivateKey:
    # The messages say nothing about the key, and the cause is dropped: it could show the key.
    try:
        secret = hex_to_bytes(private_key, max_bytes=32) if isinstance(private_key, str) else bytes(private_key)
        if len(secret) == 32:
            return PrivateKey(secret)
    except ValueError:
        pass
    raise InvalidSignatureError("the private key is not 32 bytes between 1 and the order of secp256k1")
