"""Web3Signer: signs over HTTP with keys in files, in HSMs or in clouds' vaults.

``POST /api/v1/eth1/sign/{public key}`` hashes ``data`` with Keccak-256 and answers r, s and v in hexadecimal; 404 means
that it has no such key. ``GET /api/v1/eth1/publicKeys`` lists its keys. Source: Web3Signer's published OpenAPI
description of its eth1 mode.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp

from orchestrator.besu.client.signer_ports import KeyService, SignerAwayError, SignerRefusedError, WrongSignatureError
from orchestrator.besu.codec.account_signatures import InvalidSignatureError, address_of_public_key
from orchestrator.besu.codec.identifiers import InvalidIdentifierError, hex_to_bytes
from orchestrator.besu.codec.json_rpc import bounded_json
from orchestrator.besu.credential_errors import CredentialError
from orchestrator.besu.errors import ProtocolError
from orchestrator.besu.key_services.certificates import CertificateFiles
from orchestrator.besu.transport.http_client import open_session
from orchestrator.besu.transport.token_files import TokenFile
from orchestrator.outside_text import presentable

_OK: Final = 200
_NOT_FOUND: Final = 404
_FIRST_ERROR_OF_SERVER: Final = 500
_COME_AGAIN: Final = frozenset({408, 425, 429})
_LONGEST_LIST_BYTES: Final = 1 << 20
_MOST_LISTED: Final = 8_000
"""So many public keys of 64 bytes have room in it; each is hashed to find the account's."""
_LONGEST_ANSWER_BYTES: Final = 4 << 10
_LONGEST_KEY_BYTES: Final = 65
_MOST_CHARACTERS: Final = 120


class Web3Signer:
    """One account's key at a Web3Signer (`orchestrator.besu.client.signer_ports.KeyService`).

    Args:
        session: From ``open_session``; this signer's own, so that nothing of a node's travels with it.
        url: "https://host:9000", with a path where something stands before it.
        address: The account's.
        public_key: Its key's name there, "0x…"; None to look for the account's among those that are listed.
        token: Bearer token for what stands before it; Web3Signer itself takes client certificates only.
        certificates: For "https".
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        address: str,
        public_key: str | None = None,
        *,
        token: TokenFile | None = None,
        certificates: CertificateFiles,
    ) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._address = address.lower()
        self._given = public_key
        self._found: str | None = None
        self._token = token
        self._certificates = certificates

    async def sign(self, message: bytes) -> bytes:
        """Return r, s and v; see ``KeyService.sign``."""
        public_key = self._given or self._found or await self._find()
        path = f"/api/v1/eth1/sign/{public_key}"
        status, text = await self._ask("POST", path, _LONGEST_ANSWER_BYTES, json={"data": "0x" + message.hex()})
        if status == _NOT_FOUND:
            self._found = None
            raise SignerRefusedError(
                f"{self._url} has no key {public_key[:20]}… of {self._address} (HTTP 404): load it there, then call "
                "its /reload"
            )
        self._require_ok(status, text)
        try:
            return hex_to_bytes(text.decode("ascii", "replace").strip().strip('"'), max_bytes=_LONGEST_KEY_BYTES)
        except InvalidIdentifierError:
            words = presentable(text.decode("utf-8", "replace"), _MOST_CHARACTERS)
            raise WrongSignatureError(
                f"{self._url} answers what is no signature ({words}); is it a Web3Signer?"
            ) from None

    async def _find(self) -> str:
        """Look for the account's key among those that are listed: nobody remembers a public key."""
        status, text = await self._ask("GET", "/api/v1/eth1/publicKeys", _LONGEST_LIST_BYTES)
        self._require_ok(status, text)
        try:
            listed = bounded_json(text, _MOST_LISTED)
        except ProtocolError:
            listed = None
        if not isinstance(listed, list):
            raise WrongSignatureError(f"{self._url} lists no public keys where it should; is it a Web3Signer?")
        for name in listed:
            if isinstance(name, str) and _is_of(name, self._address):
                self._found = name
                return name
        raise SignerRefusedError(
            f"{self._url} has no key of {self._address} among its {len(listed)}: load it there, then call its /reload"
        )

    def _require_ok(self, status: int, text: bytes) -> None:
        if status == _OK:
            return
        words = presentable(text.decode("utf-8", "replace"), _MOST_CHARACTERS).strip()
        said = f"{self._url} answered HTTP {status} ({words or 'nothing'}) for {self._address}"
        if status >= _FIRST_ERROR_OF_SERVER or status in _COME_AGAIN:
            raise SignerAwayError(f"{said}: it, or what is behind it, is not well; look at its log")
        raise SignerRefusedError(
            f"{said}: it does not sign; look at its address, its list of allowed hosts, and our token or certificate"
        )

    async def _ask(self, method: str, path: str, most_bytes: int, **body: Any) -> tuple[int, bytes]:
        try:
            headers: Mapping[str, str] = await self._token.headers() if self._token is not None else {}
        except CredentialError as error:
            raise SignerRefusedError(str(error)) from None
        try:
            try:
                return await self._exchange(method, path, headers, most_bytes, body)
            except aiohttp.ServerDisconnectedError:
                # A connection that was kept open ended with a restart; that the same is signed twice harms nobody.
                return await self._exchange(method, path, headers, most_bytes, body)
        except aiohttp.ClientConnectorCertificateError as error:
            raise SignerRefusedError(
                f"the certificate of {self._url} is not to be trusted ({type(error.certificate_error).__name__}): name "
                "the authority that signed it in ca_file"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            certificate = ", and does it take our certificate" if self._url.startswith("https:") else ""
            raise SignerAwayError(
                f"no connection to {self._url}: {_words(error)}; is it running{certificate}?"
            ) from error

    async def _exchange(
        self, method: str, path: str, headers: Mapping[str, str], most_bytes: int, body: Mapping[str, Any]
    ) -> tuple[int, bytes]:
        tls = self._certificates.context()
        async with self._session.request(
            method, self._url + path, headers=headers, ssl=tls or True, allow_redirects=False, **body
        ) as response:
            text = b""
            async for part in response.content.iter_chunked(1 << 16):
                text += part
                if len(text) > most_bytes:
                    raise WrongSignatureError(f"{self._url} answers more than {most_bytes} bytes; is it a Web3Signer?")
            return response.status, text


@asynccontextmanager
async def web3signer(
    url: str,
    address: str,
    public_key: str | None = None,
    *,
    token: TokenFile | None = None,
    certificates: CertificateFiles,
    at_once: int,
) -> AsyncIterator[KeyService]:
    """Use a Web3Signer while the context lasts; nothing is asked before the first signature.

    Args:
        url, address, public_key, token, certificates: See ``Web3Signer``.
        at_once: How many connections it gets.
    """
    async with open_session(max_connections=at_once) as session:
        yield Web3Signer(session, url, address, public_key, token=token, certificates=certificates)


def _is_of(name: str, address: str) -> bool:
    try:
        return address_of_public_key(hex_to_bytes(name, max_bytes=_LONGEST_KEY_BYTES)) == address
    except (InvalidIdentifierError, InvalidSignatureError):
        return False


def _words(error: Exception) -> str:
    cause = getattr(error, "os_error", error)
    return getattr(cause, "strerror", None) or type(cause).__name__
