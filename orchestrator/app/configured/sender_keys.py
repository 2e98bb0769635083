"""The public keys of those who sign what they send, from files that are read anew when they change."""

import os
from collections.abc import Mapping
from pathlib import Path

from orchestrator.access.signing_keys import MOST_BYTES, PublicKey, SigningKeyError, public_keys
from orchestrator.engine.intake.senders import KeysAwayError


class SenderKeys:
    """The keys in one file: a JWKS document, or one key in PEM.

    A file that can't be read any more counts for nothing: a key that was taken out of it must not do any longer.

    Args:
        path: The file.
        name: The id of a key that has none of its own.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._seen: tuple[int, int, int] | None = None
        self._keys: Mapping[str, PublicKey] = {}

    def present(self) -> Mapping[str, PublicKey]:
        """Return them by their ids.

        Raises:
            KeysAwayError: The file can't be read, or holds none.
        """
        try:
            status = os.stat(self._path)
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                with self._path.open("rb") as file:
                    self._keys = public_keys(file.read(MOST_BYTES + 1), self._name)
                # Only when keys were read: a file that is being written is looked at again with the next message.
                self._seen = seen
        except OSError as error:
            raise KeysAwayError(f"{self._path} can't be read: {error.strerror}") from error
        except SigningKeyError as error:
            raise KeysAwayError(f"{self._path} {error}") from error
        return self._keys
