"""Bearer tokens (JWT) of nodes, read from a file and read anew when it changes."""

import os
from pathlib import Path
from typing import Final

_MAX_TOKEN_BYTES: Final = 16 << 10


class TokenError(ValueError):
    """The token file cannot be read or holds no token. The message never shows what it holds."""


class TokenFile:
    """A token that something else renews: the file is looked at before each use and read when it has changed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._token = ""

    def __repr__(self) -> str:
        return f"TokenFile({str(self._path)!r})"

    def headers(self) -> dict[str, str]:
        """Return the HTTP header that carries the token.

        Raises:
            TokenError: the file is missing, empty, too large or holds more than one line.
        """
        try:
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                self._token = self._read(status.st_size)
                self._seen = seen
        except OSError as error:
            raise TokenError(f"the token file {self._path} cannot be read: {error.strerror}") from error
        return {"Authorization": f"Bearer {self._token}"}

    def _read(self, size: int) -> str:
        if size > _MAX_TOKEN_BYTES:
            raise TokenError(f"the token file {self._path} has {size} bytes; a token has at most {_MAX_TOKEN_BYTES}")
        token = self._path.read_text("utf-8-sig", "replace").strip()
        if not token.isascii() or not token.isprintable() or len(token.split()) != 1:
            raise TokenError(f"the token file {self._path} must hold one token and nothing else")
        return token
