"""Files with secrets: read only when others can't read them, and never shown."""

import codecs
import os
import stat
from pathlib import Path
from typing import Final

from orchestrator.besu.client.signer_ports import SignerError
from orchestrator.secret_modes import is_too_open, lies_in

_MAX_FILE_BYTES: Final = 64 << 10
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_secret(path: Path, what: str) -> str:
    """Return a secret's text.

    Args:
        path: The file.
        what: What it is called in messages, such as "key file".

    Raises:
        SignerError: It can't be read, is readable by others, too large, or no text.
    """
    try:
        found = os.stat(path)
    except OSError as error:
        raise SignerError(f"the {what} {path} cannot be read: {error.strerror}") from None
    mode, handed_over = found.st_mode, lies_in(str(path), os.environ.get("CREDENTIALS_DIRECTORY", ""))
    if is_too_open(mode, owner=found.st_uid, reader=os.getuid(), handed_over=handed_over):
        raise SignerError(
            f"the {what} {path} has mode {stat.S_IMODE(mode):04o}: others can read it; run chmod 600 {path}, or "
            "have it handed over with mode 0400 or 0440 (docs/servers.md)"
        )
    return read_text(path, what)


def read_text(path: Path, what: str) -> str:
    """Return the text of a file that may be open to others; see `read_secret`."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SignerError(f"the {what} {path} cannot be read: {error.strerror}") from None
    if len(content) > _MAX_FILE_BYTES:
        raise SignerError(f"the {what} {path} is larger than {_MAX_FILE_BYTES} bytes")
    if content.startswith(_UTF_16):
        raise SignerError(f"the {what} {path} is written in UTF-16: write it again as UTF-8 (or plain ASCII)")
    try:
        return content.decode("utf-8-sig")  # some editors put a mark in front
    except UnicodeDecodeError:
        raise SignerError(f"the {what} {path} is no text") from None
