"""Asking an enclave whether it is up, before a group is locked for a send that needs it.

A node sends through its enclave to those of all members; when one can't be reached the send fails after 5 s, and a
group that was locked for it stays locked (docs/besu.md#replay-measured, #errors-at-submission). Besu has no method that
tells; Orion and Tessera answer ``GET /upcheck`` on their port for clients.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Final

import aiohttp

from orchestrator.besu.codec.json_rpc import bounded_json
from orchestrator.besu.errors import ProtocolError

SECONDS: Final = 3.0
"""How long an enclave may take; Besu itself waits 5 s (docs/besu.md#errors-at-submission)."""

MAX_KEYS_BYTES: Final = 1024 * 1024
MOST_LISTED: Final = 40_000
"""Values of the list: so many keys of 32 bytes, each in an object, as have room in it."""
_OK: Final = 200

AGE_SECONDS: Final = 1.0
"""How old an answer may be: the lanes that look before the same block ask once."""


async def upcheck(session: aiohttp.ClientSession, url: str, tls: ssl.SSLContext | None, seconds: float) -> int:
    """Return the HTTP status with which an enclave says how it is; 200 when it is up.

    Args:
        session: An HTTP session.
        url: The enclave's address for clients.
        tls: For "https"; None for the system's authorities.
        seconds: How long it may take.

    Raises:
        aiohttp.ClientError, OSError, TimeoutError: It does not answer.
    """
    limit = aiohttp.ClientTimeout(total=seconds)
    async with session.get(
        f"{url.rstrip('/')}/upcheck", timeout=limit, ssl=tls or True, allow_redirects=False
    ) as response:
        return response.status


async def party_keys(session: aiohttp.ClientSession, url: str, tls: ssl.SSLContext | None) -> frozenset[str] | None:
    """Return the keys that an enclave knows a host of, itself included; None when it does not tell.

    Tessera's server for third parties tells (docs/besu.md#tessera, 2); Orion doesn't.

    Args:
        session: An HTTP session.
        url: The enclave's address.
        tls: For "https"; None for the system's authorities.
    """
    limit = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with session.get(
            f"{url.rstrip('/')}/partyinfo/keys", timeout=limit, ssl=tls or True, allow_redirects=False
        ) as response:
            body = b""
            async for part in response.content.iter_chunked(MAX_KEYS_BYTES):
                body += part
                if len(body) > MAX_KEYS_BYTES:
                    return None
    except (aiohttp.ClientError, OSError, TimeoutError):
        return None
    if response.status != _OK:
        return None
    try:
        listed = bounded_json(body, MOST_LISTED)["keys"]
        return frozenset(item["key"] for item in listed if isinstance(item["key"], str)) or None
    except (ProtocolError, TypeError, KeyError):
        return None


class EnclaveProbe:
    """Tells whether one enclave is up; those who ask at the same time get one answer.

    Args:
        session: An HTTP session.
        url: The enclave's address for clients.
        tls: For "https"; None for the system's authorities.
        now: Seconds of a clock that never goes back.
        parties_url: Where it lists the keys that it knows; None for the same address.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        tls: ssl.SSLContext | None = None,
        now: Callable[[], float] = time.monotonic,
        *,
        parties_url: str | None = None,
    ) -> None:
        self._session = session
        self._url = url
        self._tls = tls
        self._parties_url = url if parties_url is None else parties_url
        self._now = now
        self._one = asyncio.Lock()
        self._asked_at: float | None = None
        self._found: str | None = None
        self._listed_at: float | None = None
        self._listed: frozenset[str] | None = None

    async def trouble(self) -> str | None:
        """Return what is wrong with the enclave, for a person; None when it is up."""
        async with self._one:
            if self._asked_at is None or self._now() - self._asked_at > AGE_SECONDS:
                self._found = await self._ask()
                self._asked_at = self._now()
            return self._found

    async def known_keys(self) -> frozenset[str] | None:
        """Return the keys that the enclave knows a host of; None when it does not tell."""
        async with self._one:
            if self._listed_at is None or self._now() - self._listed_at > AGE_SECONDS:
                self._listed = await party_keys(self._session, self._parties_url, self._tls)
                self._listed_at = self._now()
            return self._listed

    async def _ask(self) -> str | None:
        try:
            status = await upcheck(self._session, self._url, self._tls, SECONDS)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return f"its enclave at {self._url} does not answer ({type(error).__name__})"
        return None if status == 200 else f"its enclave at {self._url} answers with HTTP status {status}"
