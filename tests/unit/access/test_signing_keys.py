import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from orchestrator.access.signing_keys import SigningKeyError, algorithm_of, public_keys

ED25519 = ed25519.Ed25519PrivateKey.generate()
P256 = ec.generate_private_key(ec.SECP256R1())
SECP256K1 = ec.generate_private_key(ec.SECP256K1())


def pem(key: Any) -> bytes:
    found: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return found


def jwk(key: Any, **more: Any) -> dict[str, Any]:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return {**jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key(), as_dict=True), **more}
    return {**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True), **more}


@pytest.mark.parametrize(("key", "algorithm"), [(ED25519, "EdDSA"), (P256, "ES256"), (SECP256K1, "ES256K")])
def test_a_key_is_read_as_pem_and_from_a_jwks_document(key: Any, algorithm: str) -> None:
    """Three kinds of keys are taken, each for its one algorithm; a key without an id has the file's name."""
    assert {name: algorithm_of(found) for name, found in public_keys(pem(key), "org1").items()} == {"org1": algorithm}
    document = json.dumps({"keys": [jwk(key), jwk(key, kid="other", alg="none", use="enc")]}).encode()
    found = public_keys(document, "org1")
    assert {name: algorithm_of(one) for name, one in found.items()} == {"org1": algorithm, "other": algorithm}


def test_private_and_weak_keys_are_refused() -> None:
    """A private key has been given away with the file, and keys of other kinds are not what requests are signed by."""
    private = ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    documents = [
        private,
        pem(rsa_key),
        pem(ed448.Ed448PrivateKey.generate()),
        pem(ec.generate_private_key(ec.SECP384R1())),
        json.dumps({"keys": [jwk(P256, d="AAAA")]}).encode(),
        json.dumps({"keys": [{"kty": "oct", "k": "AAAA", "kid": "a"}]}).encode(),
        json.dumps({"keys": [jwk(P256, kid="a"), jwk(SECP256K1, kid="a")]}).encode(),
        json.dumps({"keys": [jwk(P256, kid="x" * 300)]}).encode(),
        json.dumps({"keys": [jwk(P256, kid=str(number)) for number in range(17)]}).encode(),
        b'{"keys": []}',
        b'{"keys": [7]}',
        b"[" * 50_000,
        b"-----BEGIN nothing",
        b" " * 70_000,
        b"",
    ]
    for document in documents:
        with pytest.raises(SigningKeyError) as refusal:
            public_keys(document, "org1")
        assert len(str(refusal.value)) < 200
