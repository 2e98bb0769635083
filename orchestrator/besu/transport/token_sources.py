"""Where tokens of nodes come from: a program that prints one, or an address that issues them (OAuth 2.0)."""

import asyncio
import base64
import contextlib
import json
import os
import signal
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote_plus

import aiohttp
import jwt

from orchestrator.besu.credential_errors import CredentialError
from orchestrator.besu.transport.credentials import IssuedToken
from orchestrator.besu.transport.token_files import MAX_TOKEN_BYTES, SecretFile, checked_token

MAX_ANSWER_BYTES: Final = 64 << 10
PASSED_ON: Final = ("HOME", "LANG", "TZ", "CREDENTIALS_DIRECTORY")
"""What a program gets of our environment, beside a `PATH` of the system's: our secrets may be in the rest."""
_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
_LONGEST_SECONDS: Final = 366 * 24 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCommand:
    """A program that prints a token, and nothing else, on its standard output.

    Attributes:
        arguments: The program's path and what it is given; no shell reads them.
        timeout_seconds: How long it may take; then it is ended, with what it started.
        now: Returns the present time, seconds since 1970: when a JSON Web Token ends is in it.
    """

    arguments: Sequence[str]
    timeout_seconds: float
    now: Callable[[], float]

    async def issue(self) -> IssuedToken:
        """Run it.

        Raises:
            CredentialError: It can't be run, fails, takes too long, or prints something else.
        """
        whence = f"the command {self.arguments[0]}"
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {"PATH": _PATH}
        # A pipe of our own: whoever holds the other end open, this one can be closed.
        reading, writing = os.pipe()
        try:
            with os.fdopen(writing, "wb") as output:
                process = await asyncio.create_subprocess_exec(
                    *self.arguments,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=asyncio.subprocess.DEVNULL,  # it may hold what must not be logged
                    env=environment,
                    cwd="/",
                    start_new_session=True,
                )
        except OSError as error:
            os.close(reading)
            raise CredentialError(f"{whence} can't be run: {error.strerror}") from error
        except BaseException:
            os.close(reading)
            raise
        try:
            async with asyncio.timeout(self.timeout_seconds):
                printed = await _bounded(reading)
                code = await process.wait()
        except TimeoutError:
            raise CredentialError(f"{whence} took more than {self.timeout_seconds:g} s and was ended") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if len(printed) > MAX_TOKEN_BYTES:
            raise CredentialError(f"{whence} prints more than {MAX_TOKEN_BYTES} bytes; it must print one token")
        if code != 0:
            raise CredentialError(f"{whence} ended with code {code}; run it by hand, as the daemon's user")
        token = checked_token(printed.decode("utf-8", "replace"), whence)
        return IssuedToken(token, left_of(token, self.now()))


async def _bounded(reading: int) -> bytes:
    """Return what comes out of a pipe, a little more than a token may have at most, and close it."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(reading, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        printed = b""
        while len(printed) <= MAX_TOKEN_BYTES and (part := await reader.read(MAX_TOKEN_BYTES)):
            printed += part
        return printed
    finally:
        transport.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAddress:
    """An address that issues tokens for client credentials (RFC 6749, 4.4).

    Attributes:
        url: Where to post.
        client_id: Who we are there.
        secret_file: File with our secret.
        scope: What is asked for; empty for what the issuer gives by itself.
        audience: For whom the token is to be, where the issuer asks that; empty for nothing.
        shown: Whether id and secret go as a header (``basic``) or among the fields (``post``).
        tls: For "https"; None for the system's.
        timeout_seconds: How long it may take.
        now: Returns the present time, seconds since 1970.
    """

    url: str
    client_id: str
    secret_file: Path
    scope: str = ""
    audience: str = ""
    shown: Literal["basic", "post"] = "basic"
    tls: ssl.SSLContext | None = None
    timeout_seconds: float = 10.0
    now: Callable[[], float]

    async def issue(self) -> IssuedToken:
        """Post, and read the answer; redirects are not followed, since they would lead the secret elsewhere.

        Raises:
            CredentialError: There is no answer, or no token in it.
        """
        secret = SecretFile(self.secret_file, "client secret").text().strip()
        fields = {"grant_type": "client_credentials"}
        fields |= {name: said for name, said in (("scope", self.scope), ("audience", self.audience)) if said}
        headers = {"Accept": "application/json"}
        if self.shown == "post":
            fields |= {"client_id": self.client_id, "client_secret": secret}
        else:
            both = f"{quote_plus(self.client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = f"Basic {base64.b64encode(both.encode()).decode()}"
        status, answered = await self._posted(fields, headers)
        if status != 200:
            # What an issuer says of an error may repeat what it was sent.
            raise CredentialError(f"{self.url} answers {status} instead of a token; see the issuer's log")
        return self._read(answered)

    async def _posted(self, fields: dict[str, str], headers: dict[str, str]) -> tuple[int, bytes]:
        try:
            async with (
                asyncio.timeout(self.timeout_seconds),
                # A session for this post alone: it is made once in a token's life, and shares nothing with nodes.
                aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session,
                session.post(
                    self.url, data=fields, headers=headers, ssl=self.tls or True, allow_redirects=False
                ) as answer,
            ):
                body = b""
                async for part in answer.content.iter_chunked(MAX_ANSWER_BYTES):
                    body += part
                    if len(body) > MAX_ANSWER_BYTES:
                        raise CredentialError(f"{self.url} answers more than {MAX_ANSWER_BYTES} bytes")
                return answer.status, body
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise CredentialError(f"{self.url} issues no token now ({type(error).__name__})") from error

    def _read(self, answered: bytes) -> IssuedToken:
        try:
            document = json.loads(answered)
        except (ValueError, RecursionError):
            document = None
        text = document.get("access_token") if isinstance(document, dict) else None
        if not isinstance(document, dict) or not isinstance(text, str):
            raise CredentialError(f"{self.url} answers no access_token")
        if str(document.get("token_type", "bearer")).lower() != "bearer":
            raise CredentialError(f"{self.url} issues tokens of another type than bearer")
        token = checked_token(text, self.url)
        said = _seconds(document.get("expires_in"))
        return IssuedToken(token, said if said is not None else left_of(token, self.now()))


def left_of(token: str, now: float) -> float | None:
    """Return how many seconds a JSON Web Token is still good for; None where it is none, or does not say.

    It is read without being verified: it is not ours to believe, only to show.
    """
    try:
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False, "verify_exp": False})
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return None
    ends = claims.get("exp")
    if isinstance(ends, bool) or not isinstance(ends, int | float):
        return None
    return _seconds(ends - now)


def _seconds(said: object) -> float | None:
    """Return a time that is left, bounded; None for none. Some issuers write numbers as text."""
    try:
        seconds = float(said) if isinstance(said, int | float | str) and not isinstance(said, bool) else None
    except (ValueError, OverflowError):
        return None
    if seconds is None or seconds != seconds:  # noqa: PLR0124 - what is no number differs from itself
        return None
    return min(max(seconds, 0.0), _LONGEST_SECONDS)
