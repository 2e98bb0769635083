"""JSON Web Tokens: which are taken, and every known way to make one up."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from orchestrator.access.callers import EVERYTHING, Door, Role
from orchestrator.api.callers.key_sets import AGAIN_SECONDS, FRESH_SECONDS, MOST_BYTES, KeySet, KeySetError, keys_of
from orchestrator.api.callers.web_tokens import RefusedTokenError, WebTokenRules, WebTokens
from tests.processor_time import assert_brief

MOST_SECONDS_ON_THE_LOOP = 0.1
NOW = datetime(2024, 11, 5, tzinfo=UTC)
GROUP = "kAbelwaVW7okoEn1+okO+AbA4Hhz/7DaCOWVQz9nx5M="
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
STRANGE_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CLAIMS = {
    "iss": "https://issuer.example.org",
    "aud": "membership",
    "sub": "org1",
    "exp": NOW.timestamp() + 60,
    "role": "operator",
}


def jwk(algorithm: type[Any], key: Any, key_id: str) -> dict[str, Any]:
    return {**algorithm.to_jwk(key.public_key(), as_dict=True), "kid": key_id, "use": "sig"}


KEYS = [
    jwk(jwt.algorithms.RSAAlgorithm, RSA_KEY, "rsa"),
    jwk(jwt.algorithms.ECAlgorithm, EC_KEY, "ec"),
    jwk(jwt.algorithms.OKPAlgorithm, ED_KEY, "ed"),
]


class Document:
    """A document of keys that can change, fail, and counts how often it is read."""

    def __init__(self, keys: list[dict[str, Any]]) -> None:
        self.keys = keys
        self.reads = 0
        self.failing = False
        self.seconds = 0.0

    async def read(self) -> bytes:
        self.reads += 1
        if self.failing:
            raise KeySetError("away")
        return json.dumps({"keys": self.keys}).encode()


@pytest.fixture
def document() -> Document:
    return Document(KEYS)


@pytest.fixture
def keys(document: Document) -> KeySet:
    return KeySet(document.read, lambda: document.seconds)


def the_rules(**changed: Any) -> WebTokenRules:
    return WebTokenRules(**{"issuer": CLAIMS["iss"], "audience": "membership", **changed})


def signed(key: Any = RSA_KEY, algorithm: str = "RS256", key_id: str | None = "rsa", **changed: Any) -> str:
    claims = {name: value for name, value in {**CLAIMS, **changed}.items() if value is not None}
    headers = {} if key_id is None else {"kid": key_id}
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)


def part(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("key", "algorithm", "key_id"),
    [(RSA_KEY, "RS256", "rsa"), (RSA_KEY, "PS512", "rsa"), (EC_KEY, "ES256", "ec"), (ED_KEY, "EdDSA", "ed")],
)
async def test_a_token_of_the_issuer_is_taken(keys: KeySet, key: Any, algorithm: str, key_id: str) -> None:
    """Who it names, and with which role, for each kind of key."""
    found = await WebTokens(the_rules(), keys).caller(signed(key, algorithm, key_id), Door.HTTP, NOW)
    assert (found.name, found.role, found.scope) == ("jwt:org1", Role.OPERATOR, EVERYTHING)


def by_secret(secret: bytes, algorithm: str = "HS256") -> str:
    text = f"{part({'alg': algorithm, 'kid': 'rsa', 'typ': 'JWT'})}.{part(CLAIMS)}"
    made = hmac.new(secret, text.encode(), hashlib.sha256).digest()
    return f"{text}.{base64.urlsafe_b64encode(made).decode().rstrip('=')}"


PEM = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
UNSIGNED = [f"{part({'alg': name, 'kid': 'rsa'})}.{part(CLAIMS)}." for name in ("none", "None", "NONE", "nOnE", "")]
FORGED: dict[str, Callable[[], str]] = {
    "HS256 with the public key": lambda: by_secret(PEM),
    "HS256 with the public key's text": lambda: by_secret(json.dumps(KEYS[0]).encode()),
    "HS256 with nothing": lambda: by_secret(b""),
    "RS256 said, HMAC made": lambda: by_secret(PEM, "RS256"),
    "a strange key": lambda: signed(STRANGE_KEY),
    "a key of another kind": lambda: signed(EC_KEY, "ES256", "rsa"),
    "a key id that is a path": lambda: signed(key_id="../../../../dev/null"),
    "a key id that is an address": lambda: signed(STRANGE_KEY, key_id="https://evil.example.org/keys"),
    "a key id that is SQL": lambda: signed(key_id="' OR 1=1 --"),
    "no key id, of several keys": lambda: signed(key_id=None),
    "an own key in the header": lambda: jwt.encode(
        CLAIMS,
        STRANGE_KEY,
        algorithm="RS256",
        headers={
            "kid": "own",
            "jwk": jwk(jwt.algorithms.RSAAlgorithm, STRANGE_KEY, "own"),
            "jku": "http://127.0.0.1:1/",
        },
    ),
    "an extension that must be understood": lambda: jwt.encode(
        CLAIMS, RSA_KEY, algorithm="RS256", headers={"kid": "rsa", "crit": ["exp"]}
    ),
    "another issuer": lambda: signed(iss="https://issuer.example.org/"),
    "no issuer": lambda: signed(iss=None),
    "another audience": lambda: signed(aud="other"),
    "no audience": lambda: signed(aud=None),
    "expired": lambda: signed(exp=NOW.timestamp() - 31),
    "no end": lambda: signed(exp=None),
    "an end beyond all calendars": lambda: signed(exp=1e300),
    "not begun": lambda: signed(nbf=NOW.timestamp() + 31),
    "nobody": lambda: signed(sub=None),
    "somebody unprintable": lambda: signed(sub="a\nb"),
    "no role": lambda: signed(role=None),
    "a role that there is not": lambda: signed(role=["root", "Admin", "admin "]),
    "another claim": lambda: part({"alg": "RS256", "kid": "rsa"}) + "." + part(CLAIMS) + "." + signed().split(".")[2],
    "too long": lambda: signed(padding="a" * 9000),
    "two parts": lambda: "a.b",
    "no text": lambda: "\x00",
}


@pytest.mark.parametrize("name", FORGED)
async def test_what_was_made_up_is_refused(keys: KeySet, name: str) -> None:
    """No algorithm, key, header or claim of the sender's own choice makes a token."""
    with pytest.raises(RefusedTokenError):
        await WebTokens(the_rules(), keys).caller(FORGED[name](), Door.HTTP, NOW)


@pytest.mark.parametrize("token", UNSIGNED)
async def test_an_unsigned_token_is_refused(keys: KeySet, token: str) -> None:
    """`none` in any case is no algorithm."""
    with pytest.raises(RefusedTokenError):
        await WebTokens(the_rules(), keys).caller(token, Door.HTTP, NOW)


async def test_a_secret_key_in_the_document_signs_nothing(document: Document) -> None:
    """A symmetric or short key that an issuer lists by mistake is left out."""
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - it is to be left out
    secret = {"kty": "oct", "k": base64.urlsafe_b64encode(b"secret").decode(), "kid": "oct"}
    encrypting = {**KEYS[0], "use": "enc", "kid": "enc"}
    short = jwk(jwt.algorithms.RSAAlgorithm, weak, "short")
    assert set(keys_of(json.dumps({"keys": [*KEYS, secret, encrypting, short, 1, {}]}).encode())) == {"rsa", "ec", "ed"}


def test_a_private_key_in_the_document_is_left_out_unread() -> None:
    """Nobody who writes the document can have the daemon look for the primes of a number for seconds."""
    digits = base64.urlsafe_b64encode(b"\xff" * 1_024).decode().rstrip("=")
    private = {"kty": "RSA", "kid": "private", "n": digits, "e": "AQAB", "d": digits}
    document = json.dumps({"keys": [*KEYS, private]}).encode()
    found: list[set[str]] = []
    assert_brief(lambda: found.append(set(keys_of(document))), MOST_SECONDS_ON_THE_LOOP)
    assert found[-1] == {"rsa", "ec", "ed"}


@pytest.mark.parametrize("algorithm", ["none", "HS256", "RSA-OAEP", "ES256K", 5, ["RS256"], {}])
def test_a_key_for_something_else_is_left_out(algorithm: Any) -> None:
    """What an entry says its key is for may be anything: the others' keys are read."""
    strange = [{**entry, "kid": f"strange {number}", "alg": algorithm} for number, entry in enumerate(KEYS)]
    assert set(keys_of(json.dumps({"keys": [*strange, *KEYS]}).encode())) == {"rsa", "ec", "ed"}


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"keys": 1}', b"\xff", b"[" * 100_000, json.dumps({"keys": [{}] * 65}).encode()]
)
def test_what_is_no_document_of_keys_is_told(text: bytes) -> None:
    """Whatever the address answers with, it is keys or an error."""
    with pytest.raises(KeySetError):
        keys_of(text)
    assert len(text) <= MOST_BYTES


async def test_the_roles_are_mapped_and_the_highest_counts(keys: KeySet) -> None:
    """The issuer's words are translated, and may stand deep in the token."""
    rules = the_rules(role_claim="realm_access.roles", roles={"membership-admin": Role.ADMIN})
    token = signed(role=None, realm_access={"roles": ["viewer", "membership-admin", "offline_access"]})
    assert (await WebTokens(rules, keys).caller(token, Door.HTTP, NOW)).role is Role.ADMIN


@pytest.mark.parametrize(
    ("said", "groups"),
    [
        (["trade", "*", GROUP.lower()], {GROUP}),
        ([GROUP], {GROUP}),
        ([], set()),
        (None, set()),
        ("*", set()),
        ({"a": 1}, set()),
    ],
)
async def test_groups_are_those_that_the_token_lists(keys: KeySet, said: object, groups: set[str]) -> None:
    """By id or name; nothing that is said, or nothing that is understood, is no group rather than every group."""
    rules = the_rules(groups_claim="groups", group_names={"trade": GROUP})
    found = await WebTokens(rules, keys).caller(signed(groups=said), Door.HTTP, NOW)
    assert found.scope.groups == frozenset(groups)


async def test_keys_rotate(keys: KeySet, document: Document) -> None:
    """A new key is found when a token names it; one that was taken out counts no longer than the document is fresh."""
    tokens = WebTokens(the_rules(), keys)
    await tokens.caller(signed(), Door.HTTP, NOW)
    document.keys = [jwk(jwt.algorithms.RSAAlgorithm, STRANGE_KEY, "new")]
    document.seconds += AGAIN_SECONDS
    assert (await tokens.caller(signed(STRANGE_KEY, key_id="new"), Door.HTTP, NOW)).name == "jwt:org1"
    with pytest.raises(RefusedTokenError):
        await tokens.caller(signed(), Door.HTTP, NOW)


async def test_made_up_key_ids_do_not_have_the_document_read(keys: KeySet, document: Document) -> None:
    """However many unknown ids come, the document is read once in a while."""
    tokens = WebTokens(the_rules(), keys)
    for number in range(50):
        with pytest.raises(RefusedTokenError):
            await tokens.caller(signed(key_id=f"k{number}"), Door.HTTP, NOW)
    assert document.reads == 1


async def test_keys_that_can_not_be_read_count_while_they_are_fresh(keys: KeySet, document: Document) -> None:
    """An issuer that is away stops nobody at once, and lets nobody in for ever."""
    tokens = WebTokens(the_rules(), keys)
    await tokens.caller(signed(), Door.HTTP, NOW)
    document.failing = True
    document.seconds = FRESH_SECONDS - 1
    await tokens.caller(signed(), Door.HTTP, NOW)
    document.seconds = FRESH_SECONDS
    for _ in range(2):
        with pytest.raises(KeySetError):
            await tokens.caller(signed(), Door.HTTP, NOW)
