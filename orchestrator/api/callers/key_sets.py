"""The keys that JSON Web Tokens are signed with: a JWKS document from a file or an address, read again as it changes.

A token names its key by an id, which is looked up among the keys of the document and nowhere else: it is never taken
for a path or an address, and neither are the addresses that a token may carry (``jku``, ``x5u``).
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import aiohttp
import jwt
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from orchestrator.access.tokens import SIGNING_ALGORITHMS

MOST_BYTES: Final = 256 * 1024
MOST_KEYS: Final = 64
LEAST_RSA_BITS: Final = 2048
FETCH_SECONDS: Final = 5.0
FRESH_SECONDS: Final = 300.0
"""How old the keys may be: one that was taken from the document counts no longer than this."""
AGAIN_SECONDS: Final = 10.0
"""Between two readings for keys that are not known: whoever makes tokens up can't have the document read more often."""

Key = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey

_log = structlog.get_logger(__name__)


class KeySetError(Exception):
    """The document can't be had or is none; the message says why."""


class KeySet:
    """The present keys of one document.

    Args:
        read: Reads the document's bytes; raises `KeySetError`.
        seconds: Returns seconds of a clock that never goes back.
    """

    def __init__(self, read: Callable[[], Awaitable[bytes]], seconds: Callable[[], float]) -> None:
        self._read = read
        self._seconds = seconds
        self._keys: dict[str, Key] = {}
        self._fresh_until = float("-inf")
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    async def key(self, key_id: str | None) -> Key | None:
        """Return a key by its id, or the only one for a token that names none; None when there is none.

        Raises:
            KeySetError: The document can't be had, and what is known of it is too old.
        """
        if self._seconds() >= self._fresh_until or self._chosen(key_id) is None:
            async with self._lock:
                await self._renewed(key_id)
        return self._chosen(key_id)

    async def _renewed(self, key_id: str | None) -> None:
        now = self._seconds()
        if now < self._fresh_until and self._chosen(key_id) is not None:
            return  # another caller had it read meanwhile
        if now - self._read_at < AGAIN_SECONDS:
            if now >= self._fresh_until:
                raise KeySetError("the keys could not be read a moment ago, and are read again in some seconds")
            return
        # Noted before it is read: a document that can't be had is not asked for more often either.
        self._read_at = now
        try:
            self._keys = keys_of(await self._read())
            self._fresh_until = now + FRESH_SECONDS
        except KeySetError as error:
            _log.warning("keys of JSON Web Tokens not read", reason=str(error))
            if now >= self._fresh_until:
                raise

    def _chosen(self, key_id: str | None) -> Key | None:
        if key_id is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)


def keys_of(document: bytes) -> dict[str, Key]:
    """Return the public signing keys of a JWKS document by their ids; what else is in it is left out.

    Raises:
        KeySetError: It is no such document.
    """
    try:
        listed = json.loads(document)["keys"]
        if not isinstance(listed, list) or len(listed) > MOST_KEYS:
            raise KeySetError(f"the JWKS document must have a list of at most {MOST_KEYS} keys")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeySetError("this is no JWKS document: an object with a list `keys`") from error
    found: dict[str, Key] = {}
    for number, entry in enumerate(listed):
        if isinstance(entry, dict) and entry.get("use", "sig") == "sig" and (key := _public_key(entry)) is not None:
            name = entry.get("kid")
            found[name if isinstance(name, str) else f" {number}"] = key  # a space first: no token can name it so
    return found


def _public_key(entry: dict[str, object]) -> Key | None:
    if entry.get("kty") not in ("RSA", "EC", "OKP"):
        return None  # a secret key (oct) would verify what anybody signed who read the document
    if "d" in entry or entry.get("alg") not in (None, *SIGNING_ALGORITHMS):
        # A private key is none that only the issuer has; and of an RSA key the library looks for the primes, which
        # takes a second for 8,192 bits and hours for as many as fit in.
        return None
    try:
        key = jwt.PyJWK.from_dict(entry).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, UnsupportedAlgorithm):
        return None
    if isinstance(key, rsa.RSAPublicKey):
        return key if key.key_size >= LEAST_RSA_BITS else None
    if isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return key
    return None


def reading_file(path: Path) -> Callable[[], Awaitable[bytes]]:
    """Return what reads a document from a file."""

    def read() -> bytes:
        try:
            with path.open("rb") as file:
                return _bounded(file.read(MOST_BYTES + 1))
        except OSError as error:
            raise KeySetError(f"{path}: can't be read: {error.strerror}") from error

    async def reading() -> bytes:
        return await asyncio.to_thread(read)

    return reading


def fetching(session: aiohttp.ClientSession, url: str) -> Callable[[], Awaitable[bytes]]:
    """Return what reads a document from an address; redirects are not followed."""

    async def fetch() -> bytes:
        timeout = aiohttp.ClientTimeout(total=FETCH_SECONDS)
        try:
            async with session.get(url, timeout=timeout, allow_redirects=False) as response:
                if response.status != 200:
                    raise KeySetError(f"{url}: answers {response.status}")
                document = b""
                async for chunk in response.content.iter_chunked(MOST_BYTES):
                    document = _bounded(document + chunk)
                return document
        except (aiohttp.ClientError, TimeoutError) as error:
            raise KeySetError(f"{url}: no answer ({type(error).__name__})") from error

    return fetch


def _bounded(document: bytes) -> bytes:
    if len(document) > MOST_BYTES:
        raise KeySetError(f"the JWKS document has more than {MOST_BYTES} bytes")
    return document
