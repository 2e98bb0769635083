"""Credentials of nodes from files: a bearer token (JWT), or a user's password. Read anew when a file changes."""

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from orchestrator.besu.credential_errors import CredentialError

MAX_TOKEN_BYTES: Final = 16 << 10


def checked_token(text: str, whence: str) -> str:
    """Return a token that can be a header's value, without what is around it.

    Args:
        text: What is to be one.
        whence: Where it comes from, for the message.

    Raises:
        CredentialError: It is none; the message does not show it.
    """
    token = text.strip()
    if len(token) > MAX_TOKEN_BYTES:
        raise CredentialError(f"{whence} gives {len(token)} characters; a token has at most {MAX_TOKEN_BYTES}")
    if not token.isascii() or not token.isprintable() or len(token.split()) != 1:
        raise CredentialError(f"{whence} must give one token and nothing else")
    return token


class SecretFile:
    """A file with a secret that something else renews: looked at before each use and read when it has changed."""

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        self._what = what
        self._seen: tuple[int, int, int] | None = None
        self._text = ""

    @property
    def whence(self) -> str:
        """What it is and where, for messages."""
        return f"the {self._what} file {self._path}"

    def text(self) -> str:
        """Return what the file holds.

        Raises:
            CredentialError: It is missing, can't be read, or is too large.
        """
        try:
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                if status.st_size > MAX_TOKEN_BYTES:
                    raise CredentialError(f"{self.whence} has {status.st_size} bytes; at most {MAX_TOKEN_BYTES}")
                self._text = self._path.read_text("utf-8-sig", "replace")
                self._seen = seen
        except OSError as error:
            raise CredentialError(f"{self.whence} cannot be read: {error.strerror}") from error
        return self._text


class TokenFile:
    """A bearer token in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = SecretFile(path, "token")

    def __repr__(self) -> str:
        return f"TokenFile({str(self._path)!r})"

    async def headers(self) -> dict[str, str]:
        """See `orchestrator.besu.transport.credentials.Credential`."""
        return {"Authorization": f"Bearer {checked_token(self._file.text(), self._file.whence)}"}

    async def renewed(self, refused: Mapping[str, str]) -> bool:
        """See `orchestrator.besu.transport.credentials.Credential`."""
        return await self.headers() != refused


class BasicCredential:
    """A user and a password (RFC 7617), which a file holds.

    Args:
        user: Without a colon.
        password_file: Its first line is the password.
    """

    def __init__(self, user: str, password_file: Path) -> None:
        self._user = user
        self._file = SecretFile(password_file, "password")

    def __repr__(self) -> str:
        return f"BasicCredential({self._user!r})"

    async def headers(self) -> dict[str, str]:
        """See `orchestrator.besu.transport.credentials.Credential`."""
        password = self._file.text().rstrip("\r\n")
        if not password or not password.isprintable():
            raise CredentialError(f"{self._file.whence} must hold one password in one line")
        encoded = base64.b64encode(f"{self._user}:{password}".encode()).decode()
        return {"Authorization": f"Basic {encoded}"}

    async def renewed(self, refused: Mapping[str, str]) -> bool:
        """See `orchestrator.besu.transport.credentials.Credential`."""
        return await self.headers() != refused
