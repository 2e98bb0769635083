"""What an account signs for a statement, and telling whose signature one is. Pure.

The digest is that of a personal message (EIP-191, version 0x45), so that no statement's signature is one of a
transaction.
"""

from typing import Final

from coincurve import PublicKey
from eth_hash.auto import keccak

SIGNATURE_BYTES: Final = 65
_FIRST_V: Final = 27


def statement_message(text: bytes) -> bytes:
    """Return the bytes whose Keccak-256 hash an account signs for a statement."""
    return b"\x19Ethereum Signed Message:\n" + str(len(text)).encode() + text


def signer_of(text: bytes, signature: bytes) -> str | None:
    """Return the account, "0x…" in lower case, that signed a statement; None when it is no signature.

    Any 65 bytes may be given; what is a signature of other bytes gives some other account.
    """
    if len(signature) != SIGNATURE_BYTES or signature[64] not in (_FIRST_V, _FIRST_V + 1):
        return None
    compact = signature[:64] + bytes([signature[64] - _FIRST_V])
    try:
        public_key = PublicKey.from_signature_and_message(compact, keccak(statement_message(text)), hasher=None)
    except Exception:  # noqa: BLE001 - coincurve raises a bare Exception for what is no signature
        return None
    return "0x" + keccak(public_key.format(compressed=False)[1:])[-20:].hex()
