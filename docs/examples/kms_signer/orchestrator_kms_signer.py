"""An account whose key (ECC_SECG_P256K1) is in a key management service that signs digests, as AWS KMS does.

Settings: ``url``, ``key_id``, and ``token_file`` with a bearer token. AWS itself wants requests signed by its own
scheme (SigV4): there, let its library (aiobotocore) send the same request.
"""

import base64
import binascii
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from eth_hash.auto import keccak

from orchestrator.besu import CredentialError, SignerAwayError, SignerRefusedError, TokenFile

REFUSALS = ("AccessDenied", "Disabled", "InvalidKeyUsage", "KMSInvalidState", "NotFound", "UnrecognizedClient")
"""Beginnings of the errors by which it says that it does not sign; after all others it may sign later."""


@asynccontextmanager
async def open_kms(_address: str, settings: Mapping[str, Any]) -> AsyncIterator["KmsKey"]:
    """Use a key while the context lasts; nothing is asked before the first signature."""
    missing = {"url", "key_id", "token_file"} - set(settings)
    if missing:
        raise ValueError(f"settings lack {', '.join(sorted(missing))}")
    async with aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield KmsKey(session, settings["url"], settings["key_id"], TokenFile(Path(settings["token_file"])))


class KmsKey:
    """One key of the service: a ``orchestrator.besu.KeyService``."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key_id: str, token: TokenFile) -> None:
        self._session, self._url, self._key_id, self._token = session, url, key_id, token

    async def sign(self, message: bytes) -> bytes:
        """Return the signature in DER, as the service makes it: the daemon finds s and v."""
        body = {
            "KeyId": self._key_id,
            "Message": base64.b64encode(keccak(message)).decode(),
            "MessageType": "DIGEST",
            "SigningAlgorithm": "ECDSA_SHA_256",  # the name of the curve's algorithm; the digest is signed as it is
        }
        try:
            headers = {"X-Amz-Target": "TrentService.Sign", **await self._token.headers()}
            async with self._session.post(self._url, json=body, headers=headers, allow_redirects=False) as response:
                answer = await response.json(content_type=None)
        except CredentialError as error:
            raise SignerRefusedError(str(error)) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SignerAwayError(f"no answer from {self._url}: {type(error).__name__}") from error
        if response.status != 200:
            what = str(answer.get("__type", response.status))[:80] if isinstance(answer, dict) else response.status
            refused = str(what).startswith(REFUSALS)
            raise (SignerRefusedError if refused else SignerAwayError)(f"{self._url} does not sign ({what})")
        try:
            return base64.b64decode(answer["Signature"], validate=True)
        except (KeyError, TypeError, binascii.Error) as error:
            raise SignerAwayError(f"{self._url} answers no signature") from error
