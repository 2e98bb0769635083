"""Public keys by which senders sign their requests: a JWKS document, or one key in PEM. Pure."""

import json
from typing import Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_public_key

MOST_KEYS: Final = 16
MOST_BYTES: Final = 64 << 10
LONGEST_NAME: Final = 256

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_CURVES: Final = {"secp256r1": "ES256", "secp256k1": "ES256K"}


class SigningKeyError(ValueError):
    """A document holds no keys that requests may be signed by; the message says why and shows nothing of it."""


def algorithm_of(key: object) -> str | None:
    """Return the one algorithm (RFC 7518, 8037, 8812) that a key signs by; None for a kind that is not taken.

    The key alone says so, never what is signed: who chooses the algorithm could choose a weak one.
    """
    if isinstance(key, ed25519.Ed25519PublicKey | ed25519.Ed25519PrivateKey):
        return "EdDSA"
    if isinstance(key, ec.EllipticCurvePublicKey | ec.EllipticCurvePrivateKey):
        return _CURVES.get(key.curve.name)
    return None


def public_keys(document: bytes, name: str) -> dict[str, PublicKey]:
    """Return the keys of a document by their ids.

    Args:
        document: A JWKS document, or one public key in PEM.
        name: The id of a key that has none of its own.

    Raises:
        SigningKeyError: It is neither, or holds a key of another kind than Ed25519, P-256 and secp256k1.
    """
    if len(document) > MOST_BYTES:
        raise SigningKeyError(f"has more than {MOST_BYTES} bytes")
    if document.lstrip().startswith(b"-----BEGIN"):
        try:
            return {name: _checked(load_pem_public_key(document))}
        except (ValueError, UnsupportedAlgorithm) as error:
            raise SigningKeyError("is no public key in PEM (-----BEGIN PUBLIC KEY-----)") from error
    try:
        listed = json.loads(document)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SigningKeyError("is neither a JWKS document (an object with a list `keys`) nor PEM") from error
    if not isinstance(listed, list) or not 1 <= len(listed) <= MOST_KEYS:
        raise SigningKeyError(f"must list 1 to {MOST_KEYS} keys")
    found: dict[str, PublicKey] = {}
    for number, entry in enumerate(listed):
        key_id, key = _read(entry, name, f"key {number}")
        # Whichever came last would win: a sender could be locked out by a key that was put behind its own.
        if key_id in found:
            raise SigningKeyError(f"has two keys of one id (key {number})")
        found[key_id] = key
    return found


def _read(entry: object, name: str, which: str) -> tuple[str, PublicKey]:
    if not isinstance(entry, dict) or "d" in entry:
        raise SigningKeyError(f"{which} is no public key: give out the public part alone")
    key_id = entry.get("kid", name)
    if not isinstance(key_id, str) or not 0 < len(key_id) <= LONGEST_NAME:
        raise SigningKeyError(f"{which} has an id (kid) that is no text of at most {LONGEST_NAME} characters")
    try:
        # Without what the document says of the algorithm: the key's own kind decides it, see `algorithm_of`.
        return key_id, _checked(jwt.PyJWK.from_dict({**entry, "alg": None}).key)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:
        raise SigningKeyError(f"{which} can't be read") from error


def _checked(key: object) -> PublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) or algorithm_of(key) is None:
        raise SigningKeyError("holds a key that is neither Ed25519 nor on the curve P-256 or secp256k1")
    return key
