"""The token by which the command line proves to the daemon who uses it."""

import os
import stat
from pathlib import Path
from typing import Final

from orchestrator.secret_modes import is_too_open

TOKEN_VARIABLE: Final = "ORCHESTRATOR_TOKEN"  # noqa: S105 - where the token is found, not the token
FILE_VARIABLE: Final = "ORCHESTRATOR_TOKEN_FILE"
_LONGEST: Final = 16 * 1024


class CredentialError(Exception):
    """The token can't be had; the message names the file and shows nothing of it."""


def token() -> str | None:
    """Return the token of the environment, be it there itself or in a file that is named there; None for none.

    Raises:
        CredentialError: The file can't be read, others can read it too, or it holds no token.
    """
    given = os.environ.get(TOKEN_VARIABLE, "").strip()
    if given:
        return _checked(given, TOKEN_VARIABLE)
    named = os.environ.get(FILE_VARIABLE, "")
    return token_in(Path(named)) if named else None


def token_in(path: Path) -> str:
    """Return the token in a file; raises as `token` does."""
    try:
        with path.open(encoding="utf-8") as file:
            # Of the file that is open: the path may lead to another one by now.
            found = os.fstat(file.fileno())
            text = file.read(_LONGEST + 1).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialError(
            f"{path}: the token can't be read: {getattr(error, 'strerror', 'it is no text')}"
        ) from None
    if is_too_open(stat.S_IMODE(found.st_mode), owner=found.st_uid, reader=os.getuid(), handed_over=False):
        raise CredentialError(f"{path}: others can read the token; run: chmod 600 {path}")
    return _checked(text, str(path))


def _checked(text: str, where: str) -> str:
    if not text or len(text) > _LONGEST or not text.isascii() or not text.isprintable() or " " in text:
        raise CredentialError(f"{where}: holds no token: one word on one line")
    return text
